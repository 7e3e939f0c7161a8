//! Where requests go: region, endpoint, and how a bucket stands in a URL.

use aws_config::SdkConfig;
use aws_config::environment::EnvironmentVariableRegionProvider;
use aws_config::meta::region::RegionProviderChain;
use aws_config::profile::ProfileFileRegionProvider;
use reqwest::{Method, Request};
use towpath_core::{Context, Error, Result};
use towpath_objects::{Service, retry};
use url::Url;

use crate::config::ConnectionOptions;

/// Where most requests of old went, and where a server that is not AWS believes to be.
const DEFAULT_REGION: &str = "us-east-1";

/// Where the requests for a bucket go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) region: String,
    /// Set for a server that is not AWS.
    custom: Option<String>,
    pub(crate) path_style: bool,
}

impl Place {
    /// Finds out where a bucket is.
    ///
    /// # Errors
    /// `Unavailable` when it has to be asked for its region, and nobody answers.
    pub(crate) async fn find(
        cx: &Context,
        options: &ConnectionOptions,
        environment: &SdkConfig,
        known: Option<&str>,
        bucket: Option<&str>,
        service: &Service,
    ) -> Result<Self> {
        let custom = options.endpoint.clone().or_else(|| endpoint_of(environment));
        let has_dots = bucket.is_some_and(|bucket| bucket.contains('.'));
        let path_style = options.path_style.unwrap_or(custom.is_some() || has_dots);
        let known = || known.unwrap_or(DEFAULT_REGION).to_owned();
        let region = match (&options.region, &custom, bucket) {
            (Some(region), _, _) => region.clone(),
            (None, None, Some(bucket)) => {
                let found = retry(cx, || region_of(bucket, service)).await?;
                found.unwrap_or_else(known)
            }
            _ => known(),
        };
        Ok(Self { region, custom, path_style })
    }

    /// Whether it is AWS, which lists keys in the order of their bytes. Not all others do.
    pub(crate) fn is_aws(&self) -> bool {
        self.custom.is_none()
    }

    /// The server, without a bucket.
    pub(crate) fn endpoint(&self) -> String {
        match &self.custom {
            Some(custom) => custom.trim_end_matches('/').to_owned(),
            None => format!("https://s3.{}.{}", self.region, domain(&self.region)),
        }
    }

    /// The URL of a bucket.
    pub(crate) fn bucket_url(&self, bucket: &str) -> Result<String> {
        let endpoint = self.endpoint();
        if self.path_style {
            return Ok(format!("{endpoint}/{bucket}"));
        }
        let mut url = Url::parse(&endpoint).map_err(|error| {
            Error::config("`endpoint` is no URL").detail("endpoint", &endpoint).source(error)
        })?;
        let host = format!("{bucket}.{}", url.host_str().unwrap_or_default());
        url.set_host(Some(&host)).map_err(|error| {
            Error::config("the bucket's name cannot stand in a host's name")
                .detail("bucket", bucket)
                .source(error)
                .help("set `path_style: true`")
        })?;
        Ok(url.as_str().trim_end_matches('/').to_owned())
    }
}

/// Where AWS's servers for a region are called.
fn domain(region: &str) -> &'static str {
    if region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" }
}

/// The endpoint that the environment or the profile gives for S3, or for all of AWS.
fn endpoint_of(environment: &SdkConfig) -> Option<String> {
    let of_service = std::env::var("AWS_ENDPOINT_URL_S3").ok().filter(|url| !url.is_empty());
    of_service.or_else(|| environment.endpoint_url().map(str::to_owned))
}

/// The region as option, environment or profile give it. Instances are not asked: where a bucket is, the bucket knows.
pub(crate) async fn configured_region(options: &ConnectionOptions) -> Option<aws_config::Region> {
    let option = options.region.clone().map(aws_config::Region::new);
    let mut profile = ProfileFileRegionProvider::builder();
    if let Some(name) = &options.profile {
        profile = profile.profile_name(name);
    }
    RegionProviderChain::first_try(option)
        .or_else(EnvironmentVariableRegionProvider::new())
        .or_else(profile.build())
        .region()
        .await
}

/// Asks a bucket of AWS where it is. It answers whoever asks, even with a refusal.
async fn region_of(bucket: &str, service: &Service) -> Result<Option<String>> {
    let url = format!("https://s3.{DEFAULT_REGION}.{}/{bucket}", domain(DEFAULT_REGION));
    let url = Url::parse(&url).map_err(|error| {
        Error::config("this is no name of a bucket").detail("bucket", bucket).source(error)
    })?;
    let answer = service.send(Request::new(Method::HEAD, url)).await?;
    let region = answer.headers.get("x-amz-bucket-region").and_then(|region| region.to_str().ok());
    match (region, answer.refusal.map(|refusal| refusal.error())) {
        (Some(region), _) => Ok(Some(region.to_owned())),
        (None, Some(error)) if error.is_retryable() => {
            let error = error.operation("find the region").detail("bucket", bucket);
            Err(error.help("run again, or set `region`"))
        }
        _ => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(region: &str, custom: Option<&str>, path_style: bool) -> String {
        let custom = custom.map(str::to_owned);
        Place { region: region.to_owned(), custom, path_style }.bucket_url("landing").unwrap()
    }

    #[test]
    fn a_bucket_stands_in_the_host_or_in_the_path() {
        assert_eq!(url("eu-west-1", None, false), "https://landing.s3.eu-west-1.amazonaws.com");
        assert_eq!(url("eu-west-1", None, true), "https://s3.eu-west-1.amazonaws.com/landing");
        assert_eq!(url("cn-north-1", None, false), "https://landing.s3.cn-north-1.amazonaws.com.cn");
        assert_eq!(url("x", Some("http://minio:9000/"), true), "http://minio:9000/landing");
        assert_eq!(url("x", Some("https://minio.example"), false), "https://landing.minio.example");
    }
}
