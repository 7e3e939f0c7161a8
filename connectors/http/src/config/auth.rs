//! How we say who we are, as pipeline files write it.

use std::collections::BTreeMap;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;
use towpath_core::{HumanDuration, Json, Secret};
use towpath_formats::json::JsonPath;

/// How we say who we are.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum Auth {
    /// `Authorization: Bearer TOKEN`.
    Bearer {
        /// The token.
        token: Secret,
    },
    /// `Authorization: Basic`, a name and a password.
    Basic {
        /// The name.
        username: String,
        /// The password; empty by default.
        #[serde(default = "empty")]
        password: Secret,
    },
    /// A key in a header, in the query or in a cookie.
    ApiKey {
        /// The name of the header, parameter or cookie.
        name: String,
        /// The key.
        value: Secret,
        /// Where it goes.
        #[serde(default, rename = "in")]
        place: KeyPlace,
    },
    /// `OAuth2` between machines: a token for an id and a secret. It is fetched once for all streams, again before it
    /// expires, and once more when the server refuses it with 401.
    #[serde(rename = "oauth2_client_credentials")]
    ClientCredentials {
        /// The URL that gives tokens.
        token_url: String,
        /// The id of the client.
        client_id: String,
        /// Its secret.
        client_secret: Secret,
        /// The scopes to ask for.
        #[serde(default)]
        scopes: Vec<String>,
        /// Further parameters of the request for a token, such as `audience`. They count as secrets.
        #[serde(default)]
        params: BTreeMap<String, Secret>,
        /// Where id and secret go.
        #[serde(default)]
        credentials_in: CredentialsPlace,
    },
    /// `OAuth2` on behalf of a user who has agreed: access tokens for a refresh token. When the server gives a new refresh
    /// token with an access token, that one is used for the rest of the run.
    #[serde(rename = "oauth2_refresh_token")]
    RefreshToken {
        /// The URL that gives tokens.
        token_url: String,
        /// The id of the client.
        client_id: String,
        /// Its secret, if it has one.
        #[serde(default)]
        client_secret: Option<Secret>,
        /// The refresh token.
        refresh_token: Secret,
        /// The scopes to ask for; by default all that were agreed to.
        #[serde(default)]
        scopes: Vec<String>,
        /// Further parameters of the request for a token. They count as secrets.
        #[serde(default)]
        params: BTreeMap<String, Secret>,
        /// Where id and secret go.
        #[serde(default)]
        credentials_in: CredentialsPlace,
    },
    /// A log-in request, whose answer holds a token for all others. It is sent once for all streams, and once more when the
    /// server refuses the token with 401.
    Session {
        /// The URL to log in at.
        #[serde(default)]
        url: Option<String>,
        /// The path to log in at, behind `base_url`.
        #[serde(default)]
        path: Option<String>,
        /// The method.
        #[serde(default)]
        method: LoginMethod,
        /// Headers of the log-in request. They count as secrets.
        #[serde(default)]
        headers: BTreeMap<String, Secret>,
        /// Its body as JSON.
        #[serde(default)]
        json: Option<Secret<Json>>,
        /// Its body as a form.
        #[serde(default)]
        form: BTreeMap<String, Secret>,
        /// Where the answer holds the token.
        token: TokenSource,
        /// Where the token goes; `Authorization: Bearer TOKEN` by default, and back into its cookie if it comes in one.
        #[serde(default)]
        send: Option<TokenPlace>,
        /// How long a token is good; by default until the server refuses it.
        #[serde(default)]
        expires_in: Option<HumanDuration>,
    },
    /// A JSON Web Token that we sign ourselves, with HS256.
    Jwt {
        /// The secret to sign with.
        secret: Secret,
        /// How the secret is written.
        #[serde(default)]
        secret_in: SecretForm,
        /// What the token says, such as `iss`, `sub` and `aud`. `iat` and `exp` are added.
        #[serde(default)]
        claims: BTreeMap<String, Json>,
        /// The `kid` of its head, by which the server finds the secret.
        #[serde(default)]
        key_id: Option<String>,
        /// How long a token is good; 5m by default.
        #[serde(default = "five_minutes")]
        expires_in: HumanDuration,
        /// Where the token goes; `Authorization: Bearer TOKEN` by default.
        #[serde(default)]
        send: Option<TokenPlace>,
    },
    /// A signature of each request, with HMAC-SHA256, in a header.
    Hmac {
        /// The secret to sign with.
        secret: Secret,
        /// How the secret is written.
        #[serde(default)]
        secret_in: SecretForm,
        /// What is signed: text with `{timestamp}`, `{method}`, `{host}`, `{path}`, `{query}` (without `?`), `{target}`
        /// (path and query as they are sent) and `{body}`; `{timestamp}{method}{target}{body}` by default.
        #[serde(default = "signed_message")]
        message: String,
        /// The header for the signature.
        header: String,
        /// What stands there, with `{signature}` for the signature, which stands there alone by default.
        #[serde(default = "signature_alone")]
        value: String,
        /// How the signature is written.
        #[serde(default)]
        signature_in: SignatureForm,
        /// The header for the timestamp, if the server wants to know it.
        #[serde(default)]
        timestamp_header: Option<String>,
        /// What the timestamp counts since 1970.
        #[serde(default)]
        timestamp_in: TimestampUnit,
    },
}

fn five_minutes() -> HumanDuration {
    Duration::from_mins(5).into()
}

fn signed_message() -> String {
    "{timestamp}{method}{target}{body}".to_owned()
}

fn signature_alone() -> String {
    "{signature}".to_owned()
}

/// How a secret is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SecretForm {
    /// As it is.
    #[default]
    Text,
    /// Its bytes in hexadecimal digits.
    Hex,
    /// Its bytes in Base64.
    Base64,
}

/// How a signature is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SignatureForm {
    /// In hexadecimal digits.
    #[default]
    Hex,
    /// In Base64.
    Base64,
}

/// What a timestamp counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TimestampUnit {
    /// Seconds.
    #[default]
    Seconds,
    /// Milliseconds.
    Milliseconds,
}

fn empty() -> Secret {
    Secret::new(String::new())
}

/// Where an API key goes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum KeyPlace {
    /// A header.
    #[default]
    Header,
    /// A query parameter.
    Query,
    /// A cookie.
    Cookie,
}

/// Where id and secret of an `OAuth2` client go.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CredentialsPlace {
    /// Into the form.
    #[default]
    Body,
    /// Into `Authorization: Basic`.
    Basic,
}

/// The method of a log-in request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum LoginMethod {
    /// POST.
    #[default]
    Post,
    /// GET.
    Get,
    /// PUT.
    Put,
}

/// Where the answer to a log-in holds the token.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TokenSource {
    /// `JSONPath` into its body, such as `$.token`.
    Json(JsonPath),
    /// The name of a header.
    Header(String),
    /// The name of a cookie.
    Cookie(String),
}

/// Where the token of a session goes.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TokenPlace {
    /// The name of the header, parameter or cookie.
    pub name: String,
    /// A header, the query or a cookie.
    #[serde(default, rename = "in")]
    pub place: KeyPlace,
    /// What stands there, with `{token}` for the token, such as `Bearer {token}`; the token alone by default.
    #[serde(default = "token_alone")]
    pub value: String,
}

fn token_alone() -> String {
    "{token}".to_owned()
}
