//! Where an account is, and how it is signed in to: out of the options, a connection string and the environment.

use std::env;

use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
use towpath_core::{Error, Result, Secret};
use url::Url;

use crate::config::ConnectionOptions;

/// The account and the URL of its blob service.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(crate) account: String,
    /// Without a `/` at its end.
    pub(crate) endpoint: Url,
}

/// A connection string, of which nothing is ever shown.
#[derive(Default)]
struct ConnectionString {
    account: Option<String>,
    access_key: Option<String>,
    sas_token: Option<String>,
    endpoint: Option<String>,
}

/// Where the account is, and a builder that holds its credentials.
pub(crate) fn find(options: &ConnectionOptions) -> Result<(Place, MicrosoftAzureBuilder)> {
    let environment = MicrosoftAzureBuilder::from_env();
    let mut builder = if options.credentials().is_empty() {
        // An emulator is an endpoint like any other.
        environment.clone().with_use_emulator(false)
    } else {
        MicrosoftAzureBuilder::new()
    };
    let in_environment = |name: &str| env::var(name).ok().filter(|value| !value.is_empty());
    let of_environment = || {
        let text = in_environment("AZURE_STORAGE_CONNECTION_STRING")?;
        options.credentials().is_empty().then_some(Secret::new(text))
    };
    let text = options.connection_string.clone().or_else(of_environment);
    let said = text.map(|text| ConnectionString::parse(text.expose())).transpose()?.unwrap_or_default();
    builder = with_credentials(builder, options, &said)?;

    let account = options.account.clone().or(said.account);
    let account = account.or_else(|| environment.get_config_value(&AzureConfigKey::AccountName));
    let account = account.or_else(|| in_environment("AZURE_STORAGE_ACCOUNT")).ok_or_else(|| {
        Error::config("which storage account?")
            .help("set `account`, or write `path` as abfss://container@account.dfs.core.windows.net/key")
    })?;
    if account.is_empty()
        || !account.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-.".contains(&byte))
    {
        return Err(Error::config("`account` is no name of a storage account").detail("account", account));
    }
    let endpoint = options.endpoint.clone().or(said.endpoint);
    let endpoint = endpoint.or_else(|| environment.get_config_value(&AzureConfigKey::Endpoint));
    let endpoint = endpoint.unwrap_or_else(|| format!("https://{account}.blob.core.windows.net"));
    Ok((Place { account, endpoint: checked(&endpoint)? }, builder))
}

/// The URL of a blob service.
fn checked(endpoint: &str) -> Result<Url> {
    let url = Url::parse(endpoint.trim_end_matches('/')).ok();
    url.filter(|url| url.has_host() && matches!(url.scheme(), "http" | "https") && url.query().is_none())
        .ok_or_else(|| {
            Error::config("`endpoint` is no URL of a server").detail("endpoint", endpoint).help(
                "write https://account.blob.core.windows.net, or http://host:port/account for an emulator",
            )
        })
}

/// Adds the credentials of the options, or of a connection string.
fn with_credentials(
    mut builder: MicrosoftAzureBuilder,
    options: &ConnectionOptions,
    said: &ConnectionString,
) -> Result<MicrosoftAzureBuilder> {
    if let Some(key) = options.access_key.as_ref().map(Secret::expose).or(said.access_key.as_ref()) {
        if data_encoding::BASE64.decode(key.as_bytes()).is_err() {
            return Err(Error::config("`access_key` is no key: keys are Base64, and end with `==`"));
        }
        builder = builder.with_access_key(key).with_credential_type("access_key");
    } else if let Some(token) = options.sas_token.as_ref().map(Secret::expose).or(said.sas_token.as_ref()) {
        let pairs = url::form_urlencoded::parse(token.trim_start_matches('?').as_bytes()).into_owned();
        let pairs: Vec<(String, String)> = pairs.collect();
        if !pairs.iter().any(|(name, _)| name == "sig") {
            return Err(Error::config("`sas_token` is no shared access signature: it has no `sig`")
                .help("give all that stands behind the `?` of the URL that was signed"));
        }
        builder = builder.with_sas_authorization(pairs).with_credential_type("sas_token");
    }
    for (key, value) in [
        (AzureConfigKey::ClientId, options.client_id.as_ref()),
        (AzureConfigKey::AuthorityId, options.tenant_id.as_ref()),
        (AzureConfigKey::ClientSecret, options.client_secret.as_ref().map(Secret::expose)),
    ] {
        if let Some(value) = value {
            builder = builder.with_config(key, value);
        }
    }
    if let Some(file) = &options.federated_token_file {
        let file = file.to_str().ok_or_else(|| Error::config("`federated_token_file` is no text"))?;
        builder = builder.with_federated_token_file(file);
    }
    let authority = options.authority.clone();
    let authority =
        authority.or_else(|| env::var("AZURE_AUTHORITY_HOST").ok().filter(|host| !host.is_empty()));
    if let Some(authority) = authority {
        builder = builder.with_authority_host(authority.trim_end_matches('/'));
    }
    if options.managed_identity {
        builder = builder.with_credential_type("managed_identity");
        if let Ok(endpoint) = env::var("IDENTITY_ENDPOINT") {
            builder = builder.with_msi_endpoint(endpoint);
        }
    }
    if options.azure_cli {
        builder = builder.with_credential_type("azure_cli");
    }
    Ok(builder)
}

impl ConnectionString {
    fn parse(text: &str) -> Result<Self> {
        let wrong = |why: &str| {
            Error::config(format!("`connection_string` is none: {why}")).help(
                "copy it from the portal: DefaultEndpointsProtocol=https;AccountName=...;AccountKey=...;EndpointSuffix=core.windows.net",
            )
        };
        let mut said = Self::default();
        let (mut protocol, mut suffix) = ("https".to_owned(), "core.windows.net".to_owned());
        for part in text.split(';').map(str::trim).filter(|part| !part.is_empty()) {
            let (name, value) = part.split_once('=').ok_or_else(|| wrong("a part has no `=`"))?;
            let value = value.to_owned();
            match name.to_ascii_lowercase().as_str() {
                "accountname" => said.account = Some(value),
                "accountkey" => said.access_key = Some(value),
                "sharedaccesssignature" => said.sas_token = Some(value),
                "blobendpoint" => said.endpoint = Some(value),
                "defaultendpointsprotocol" => protocol = value,
                "endpointsuffix" => suffix = value,
                // Of queues, tables and the like.
                _ => {}
            }
        }
        if said.access_key.is_none() && said.sas_token.is_none() {
            return Err(wrong("it holds neither AccountKey nor SharedAccessSignature"));
        }
        match (&said.account, &said.endpoint) {
            (Some(account), None) => said.endpoint = Some(format!("{protocol}://{account}.blob.{suffix}")),
            (None, Some(endpoint)) => {
                let url = checked(endpoint)?;
                said.account = url.host_str().and_then(|host| host.split('.').next()).map(str::to_owned);
            }
            (None, None) => return Err(wrong("it names neither AccountName nor BlobEndpoint")),
            _ => {}
        }
        Ok(said)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use towpath_core::Secret;

    fn place(text: &str) -> Result<Place> {
        let options =
            ConnectionOptions { connection_string: Some(Secret::new(text.to_owned())), ..Default::default() };
        find(&options).map(|(place, _)| place)
    }

    #[test]
    fn a_connection_string_tells_the_account_and_where_it_is() {
        for (text, account, endpoint) in [
            (
                "DefaultEndpointsProtocol=https;AccountName=lake;AccountKey=aHVzaA==;EndpointSuffix=core.chinacloudapi.cn",
                "lake",
                "https://lake.blob.core.chinacloudapi.cn/",
            ),
            (
                "AccountName=lake;AccountKey=aHVzaA==;BlobEndpoint=http://127.0.0.1:10000/lake;",
                "lake",
                "http://127.0.0.1:10000/lake",
            ),
            (
                "BlobEndpoint=https://sea.blob.core.windows.net/;SharedAccessSignature=sv=1&sig=hush",
                "sea",
                "https://sea.blob.core.windows.net/",
            ),
        ] {
            let found = place(text).unwrap();
            assert_eq!((found.account.as_str(), found.endpoint.as_str()), (account, endpoint));
        }
    }

    #[test]
    fn one_that_is_none_says_why_and_shows_nothing() {
        for (text, why) in [
            ("hush", "no `=`"),
            ("AccountName=lake;Key=hush", "AccountKey"),
            ("AccountKey=aHVzaA==", "AccountName"),
            ("AccountName=lake;AccountKey=hush!", "Base64"),
            ("AccountName=lake;SharedAccessSignature=hush", "`sig`"),
        ] {
            let error = place(text).unwrap_err().to_string();
            assert!(error.contains(why) && !error.contains("hush"), "{error}");
        }
    }

    #[test]
    fn an_account_and_an_endpoint_are_what_they_are_called() {
        let with = |account: &str, endpoint: Option<&str>| {
            let options = ConnectionOptions {
                account: Some(account.to_owned()),
                endpoint: endpoint.map(str::to_owned),
                anonymous: true,
                ..Default::default()
            };
            find(&options).map_or_else(|error| error.to_string(), |(place, _)| place.endpoint.to_string())
        };
        assert_eq!(with("lake", None), "https://lake.blob.core.windows.net/");
        assert!(with("la/ke", None).contains("`account`"));
        assert!(with("lake", Some("localhost:10000")).contains("`endpoint`"));
    }
}
