//! How we say who we are, as pipeline files write it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;
use towpath_core::{HumanDuration, Json, Rate, Secret};
use towpath_formats::json::JsonPath;

use super::signing::{Digest, SecretForm, SignatureForm, TimestampForm, TokenAlgorithm};

/// How we say who we are.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum Auth {
    /// `Authorization: Bearer TOKEN`.
    Bearer {
        /// The token.
        #[serde(default)]
        token: Option<Secret>,
        /// Several tokens instead, in rotation. One whose limit is used up rests, by what the server says. One that the
        /// server refuses where it takes another is not used any more, and the report says so.
        #[serde(default)]
        tokens: Vec<Secret>,
        /// How many requests each of `tokens` may make, such as `5000/h`.
        #[serde(default)]
        rate_limit: Option<Rate>,
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
        #[serde(default)]
        value: Option<Secret>,
        /// Several keys instead, in rotation, as `tokens` of `bearer`.
        #[serde(default)]
        values: Vec<Secret>,
        /// Where it goes.
        #[serde(default, rename = "in")]
        place: KeyPlace,
        /// How many requests each of `values` may make, such as `5000/h`.
        #[serde(default)]
        rate_limit: Option<Rate>,
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
    /// token with an access token, that one is used for the rest of the run, and in the next one if there is a `token_file`.
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
        /// The file in which the last refresh token is kept for the next run, for servers that give each one once. It is
        /// replaced at once and only its owner can read it. A new `refresh_token` here counts more than what it holds. Several
        /// runs may share it, on a file system with locks: one at a time fetches a token, under a lock on a file beside it
        /// (`NAME.lock`), and those that have waited use that one as long as the server says that it is good.
        #[serde(default)]
        token_file: Option<PathBuf>,
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
    /// `OAuth2` by a token that we sign: access tokens for a JSON Web Token with our private key (RFC 7523), as Google's
    /// service accounts have it. It is fetched once for all streams, again before it expires, and once more when the server
    /// refuses it with 401.
    #[serde(rename = "oauth2_jwt_bearer")]
    JwtBearer {
        /// The key file of a service account, as Google gives it. It says `issuer`, `token_url`, key and `key_id`.
        #[serde(default)]
        service_account_file: Option<PathBuf>,
        /// The URL that gives tokens.
        #[serde(default)]
        token_url: Option<String>,
        /// Who we are, the `iss` of the signed token.
        #[serde(default)]
        issuer: Option<String>,
        /// On whose behalf, its `sub`; nobody by default.
        #[serde(default)]
        subject: Option<String>,
        /// Who it is for, its `aud`; `token_url` by default.
        #[serde(default)]
        audience: Option<String>,
        /// The scopes to ask for, its `scope`.
        #[serde(default)]
        scopes: Vec<String>,
        /// What else it says. `iat`, `exp` and `jti` are added.
        #[serde(default)]
        claims: BTreeMap<String, Json>,
        /// Our private key, as PEM.
        #[serde(default)]
        private_key: Option<Secret>,
        /// A PEM file with our private key.
        #[serde(default)]
        private_key_file: Option<PathBuf>,
        /// The `kid` of its head, by which the server finds our public key.
        #[serde(default)]
        key_id: Option<String>,
        /// How it is signed; RS256 by default.
        #[serde(default)]
        algorithm: Option<TokenAlgorithm>,
        /// How long the signed token is good; 5m by default.
        #[serde(default = "five_minutes")]
        expires_in: HumanDuration,
        /// Further parameters of the request for a token. They count as secrets.
        #[serde(default)]
        params: BTreeMap<String, Secret>,
    },
    /// A JSON Web Token that we sign ourselves.
    Jwt {
        /// The secret to sign with, for HS256 and its like.
        #[serde(default)]
        secret: Option<Secret>,
        /// How the secret is written.
        #[serde(default)]
        secret_in: SecretForm,
        /// The private key to sign with, as PEM, for RS256, ES256 and their like.
        #[serde(default)]
        private_key: Option<Secret>,
        /// A PEM file with the private key.
        #[serde(default)]
        private_key_file: Option<PathBuf>,
        /// How it is signed; by default HS256 with a secret, and RS256 with a private key.
        #[serde(default)]
        algorithm: Option<TokenAlgorithm>,
        /// What the token says, such as `iss`, `sub` and `aud`. `iat` and `exp` are added.
        #[serde(default)]
        claims: BTreeMap<String, Json>,
        /// The `kid` of its head, by which the server finds the secret or our public key.
        #[serde(default)]
        key_id: Option<String>,
        /// How long a token is good; 5m by default.
        #[serde(default = "five_minutes")]
        expires_in: HumanDuration,
        /// Where the token goes; `Authorization: Bearer TOKEN` by default.
        #[serde(default)]
        send: Option<TokenPlace>,
    },
    /// A signature of each request, with HMAC, in headers or in the query.
    Hmac {
        /// The secret to sign with.
        secret: Secret,
        /// How the secret is written.
        #[serde(default)]
        secret_in: SecretForm,
        /// The digest of the signature; SHA-256 by default.
        #[serde(default)]
        digest: Digest,
        /// What is signed: text with `{timestamp}`, `{nonce}`, `{method}`, `{host}`, `{path}`, `{query}` (without `?`),
        /// `{target}` (path and query as they are sent), `{body}` and `{body_sha256}` (in hexadecimal digits);
        /// `{timestamp}{method}{target}{body}` by default.
        #[serde(default = "signed_message")]
        message: String,
        /// Headers to set, with `{signature}` for the signature and all that `message` may hold, such as
        /// `{ X-Signature: "{signature}", X-Timestamp: "{timestamp}" }`. They count as secrets.
        #[serde(default)]
        headers: BTreeMap<String, Secret>,
        /// Query parameters to set, likewise. Those without `{signature}` are set before the request is signed.
        #[serde(default)]
        query: BTreeMap<String, Secret>,
        /// How the signature is written.
        #[serde(default)]
        signature_in: SignatureForm,
        /// How the timestamp is written.
        #[serde(default)]
        timestamp_in: TimestampForm,
    },
    /// A signature of each request as AWS wants it (Signature Version 4).
    AwsSigv4 {
        /// The region, such as `eu-central-1`.
        region: String,
        /// The service, such as `execute-api`, `es` or `s3`.
        service: String,
        /// The id of the access key.
        access_key_id: String,
        /// The access key.
        secret_access_key: Secret,
        /// The token of temporary credentials.
        #[serde(default)]
        session_token: Option<Secret>,
    },
}

fn five_minutes() -> HumanDuration {
    Duration::from_mins(5).into()
}

fn signed_message() -> String {
    "{timestamp}{method}{target}{body}".to_owned()
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
