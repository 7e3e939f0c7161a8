//! URLs and texts without their secrets, for messages, names of splits and logs.

use std::collections::BTreeSet;

use data_encoding::BASE64;
use reqwest::header::{
    ACCEPT, ACCEPT_ENCODING, ACCEPT_LANGUAGE, CONTENT_TYPE, HeaderName, HeaderValue, IF_MATCH,
    IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE, RANGE, USER_AGENT,
};
use towpath_core::{Json, Outside};
use url::Url;

use crate::config::RequestBody;

/// What stands where a secret stood.
pub(crate) const HIDDEN: &str = "***";

/// Query parameters that hold secrets under these names in most APIs.
const SECRET_NAMES: [&str; 16] = [
    "access_key",
    "access_token",
    "api_key",
    "api_token",
    "apikey",
    "appid",
    "auth",
    "auth_token",
    "client_secret",
    "key",
    "password",
    "secret",
    "sig",
    "signature",
    "token",
    "x-amz-signature",
];

/// What the names of other secrets hold.
const SECRET_WORDS: [&str; 6] = ["apikey", "api_key", "credential", "passw", "private_key", "secret"];

/// Secrets shorter than this are not looked for in texts: they would hide half of every message.
const SHORTEST_SECRET: usize = 4;

/// Whether a header is no credential, whoever has set it.
pub(crate) fn is_harmless(name: &HeaderName) -> bool {
    const HARMLESS: [HeaderName; 11] = [
        ACCEPT,
        ACCEPT_ENCODING,
        ACCEPT_LANGUAGE,
        CONTENT_TYPE,
        IF_MATCH,
        IF_MODIFIED_SINCE,
        IF_NONE_MATCH,
        IF_RANGE,
        IF_UNMODIFIED_SINCE,
        RANGE,
        USER_AGENT,
    ];
    HARMLESS.contains(name) || name == "prefer" || name.as_str().ends_with("-version")
}

/// Knows what must not be shown.
#[derive(Clone, Default)]
pub(crate) struct Redactor {
    names: BTreeSet<String>,
    values: Vec<String>,
    /// What came from outside the pipeline file.
    outside: Outside,
}

impl Redactor {
    /// Hides the query parameter of this name as well.
    pub(crate) fn hide_parameter(&mut self, name: &str) {
        self.names.insert(name.to_ascii_lowercase());
    }

    /// Hides this value wherever it stands in a text.
    pub(crate) fn hide_value(&mut self, value: &str) {
        if value.len() >= SHORTEST_SECRET {
            self.values.push(value.to_owned());
        }
    }

    /// Hides what was filled into the pipeline file from outside: in texts, and in the values of query parameters. Where a URL
    /// leads stays to be seen, because a message has to tell it.
    pub(crate) fn hide_outside(&mut self, outside: &Outside) {
        self.outside = outside.clone();
    }

    /// Hides the credentials in an `Authorization: Basic`, which are as good as the password.
    pub(crate) fn hide_basic(&mut self, header: &HeaderValue) {
        if let Some(credentials) = header.to_str().ok().and_then(|value| value.strip_prefix("Basic ")) {
            self.hide_value(credentials);
            let decoded = BASE64.decode(credentials.as_bytes()).unwrap_or_default();
            if let Some((_, password)) = String::from_utf8_lossy(&decoded).split_once(':') {
                self.hide_value(password);
            }
        }
    }

    /// Hides what stands under names of secrets in the body of requests.
    pub(crate) fn hide_body(&mut self, body: &RequestBody) {
        match body {
            RequestBody::Json(json) => self.hide_fields(json),
            RequestBody::Form(form) => {
                for (name, values) in form {
                    self.hide_named(name, &values.0);
                }
            }
            RequestBody::Multipart(form) => {
                for (name, field) in form {
                    self.hide_named(name, field.texts());
                }
            }
            RequestBody::Graphql(graphql) => {
                for (name, value) in &graphql.variables {
                    // As a document, so that the name counts.
                    self.hide_fields(&serde_json::json!({ name: value }));
                }
            }
        }
    }

    /// Hides the values of a field or parameter that we send, if it has the name of a secret.
    pub(crate) fn hide_named<'a>(&mut self, name: &str, values: impl IntoIterator<Item = &'a String>) {
        if self.is_secret(name) {
            values.into_iter().for_each(|text| self.hide_field(text));
        }
    }

    fn hide_fields(&mut self, json: &Json) {
        match json {
            Json::Object(fields) => {
                for (name, value) in fields {
                    match value {
                        Json::String(text) if self.is_secret(name) => self.hide_field(text),
                        Json::Number(number) if self.is_secret(name) => self.hide_value(&number.to_string()),
                        value => self.hide_fields(value),
                    }
                }
            }
            Json::Array(values) => values.iter().for_each(|value| self.hide_fields(value)),
            Json::String(_) | Json::Number(_) | Json::Bool(_) | Json::Null => {}
        }
    }

    /// What is filled in from parameters is no secret of ours.
    fn hide_field(&mut self, text: &str) {
        if !text.contains('{') {
            self.hide_value(text);
        }
    }

    /// A URL without user, password, secret parameters and fragment.
    pub(crate) fn url(&self, url: &Url) -> String {
        let has_secret_parameter = url
            .query()
            .is_some_and(|_| url.query_pairs().any(|(name, value)| self.is_secret_parameter(&name, &value)));
        if url.username().is_empty()
            && url.password().is_none()
            && url.fragment().is_none()
            && !has_secret_parameter
        {
            return url.as_str().to_owned();
        }
        let mut shown = url.clone();
        shown.set_fragment(None);
        // Only URLs that cannot have users refuse these, and they have none.
        let _ = shown.set_username("");
        let _ = shown.set_password(None);
        if has_secret_parameter {
            let query = url.query().unwrap_or_default();
            let parts: Vec<String> = query.split('&').map(|part| self.parameter(part)).collect();
            shown.set_query(Some(&parts.join("&")));
        }
        shown.into()
    }

    /// A text, such as the beginning of a body, without the secrets that were configured.
    pub(crate) fn text(&self, text: &str) -> String {
        let mut secrets: Vec<&str> = self.values().chain(self.outside().map(|(_, value)| value)).collect();
        // One may be a part of another.
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        secrets.iter().fold(text.to_owned(), |text, secret| text.replace(secret, HIDDEN))
    }

    fn parameter(&self, part: &str) -> String {
        let secret = url::form_urlencoded::parse(part.as_bytes())
            .next()
            .is_some_and(|(name, value)| self.is_secret_parameter(&name, &value));
        match part.split_once('=') {
            Some((name, _)) if secret => format!("{name}={HIDDEN}"),
            _ => part.to_owned(),
        }
    }

    /// The values that are hidden.
    pub(crate) fn values(&self) -> impl Iterator<Item = &str> {
        self.values.iter().map(String::as_str)
    }

    /// What came from outside and is looked for in texts, with its names.
    pub(crate) fn outside(&self) -> impl Iterator<Item = (&str, &str)> {
        let all = self.outside.iter().map(|(name, value)| (name, value.expose().as_str()));
        all.filter(|(_, value)| value.len() >= SHORTEST_SECRET && !is_word(value))
    }

    fn is_secret_parameter(&self, name: &str, value: &str) -> bool {
        self.is_secret(name) || self.outside().any(|(_, secret)| value.contains(secret))
    }

    /// Whether a query parameter of this name is hidden.
    pub(crate) fn is_secret(&self, name: &str) -> bool {
        let name = name.to_ascii_lowercase();
        SECRET_NAMES.contains(&name.as_str())
            || SECRET_WORDS.iter().any(|word| name.contains(word))
            || self.names.contains(&name)
    }
}

/// Whether it is a word of JSON, which hides nothing.
pub(crate) fn is_word(text: &str) -> bool {
    matches!(text, "true" | "false" | "null")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(redactor: &Redactor, url: &str) -> String {
        redactor.url(&Url::parse(url).unwrap())
    }

    #[test]
    fn a_url_is_shown_without_its_secrets() {
        let mut redactor = Redactor::default();
        redactor.hide_parameter("Passkey");
        assert_eq!(
            shown(&redactor, "https://ann:pw@a.example/x?page=2&passkey=1&API_KEY=2&token=3&q=a%20b#top"),
            "https://a.example/x?page=2&passkey=***&API_KEY=***&token=***&q=a%20b"
        );
    }

    #[test]
    fn a_url_without_secrets_is_shown_as_it_is() {
        let url = "https://a.example/x?page=2&q=a+b&empty";
        assert_eq!(shown(&Redactor::default(), url), url);
    }

    #[test]
    fn what_is_sent_under_the_name_of_a_secret_is_hidden() {
        let mut redactor = Redactor::default();
        redactor.hide_fields(&serde_json::json!({
            "user": "annabel",
            "login": [{"userPassword": "hush-1", "pin": {"client_secret": 123_456}}],
            "token": "{from_params}",
        }));
        assert_eq!(redactor.text("annabel hush-1 123456 {from_params}"), "annabel *** *** {from_params}");
    }

    #[test]
    fn a_secret_that_a_server_echoes_is_hidden() {
        let mut redactor = Redactor::default();
        redactor.hide_value("hush-hush");
        redactor.hide_value("a");
        assert_eq!(redactor.text("bad token hush-hush at"), "bad token *** at");
    }

    #[test]
    fn what_came_from_outside_is_hidden_whatever_it_is_called() {
        let mut redactor = Redactor::default();
        let given =
            [("TENANT", "acme 4711"), ("SHORT", "eu"), ("FLAG", "true"), ("HOST", "https://a.example")];
        redactor.hide_outside(&Outside::new(given.map(|(name, value)| (name.to_owned(), value.to_owned()))));
        redactor.hide_value("acme");
        assert_eq!(redactor.text("acme 4711, acme, eu, true"), "***, ***, eu, true");
        assert_eq!(
            shown(&redactor, "https://a.example/x?of=acme+4711&region=eu&all=true"),
            "https://a.example/x?of=***&region=eu&all=true"
        );
    }
}
