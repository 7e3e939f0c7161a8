//! Signature Version 4 of AWS.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::SystemTime;

use chrono::{DateTime, Utc};
use data_encoding::HEXLOWER;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, percent_encode};
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderMap, HeaderName};
use ring::hmac;
use towpath_core::{Error, Result, Secret};
use url::{Position, Url};

use super::carrier::secret_value;
use super::signature::sha256;

const ALGORITHM: &str = "AWS4-HMAC-SHA256";
const DATE: HeaderName = HeaderName::from_static("x-amz-date");
const CONTENT_DIGEST: HeaderName = HeaderName::from_static("x-amz-content-sha256");
const TOKEN: HeaderName = HeaderName::from_static("x-amz-security-token");

const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Signs requests to AWS.
pub(super) struct Signer {
    region: String,
    service: String,
    access_key_id: String,
    secret_access_key: Secret,
    session_token: Option<Secret>,
}

impl Signer {
    pub(super) fn new(
        (region, service): (&str, &str),
        access_key_id: &str,
        secret_access_key: &Secret,
        session_token: Option<&Secret>,
    ) -> Result<Self> {
        for (name, value) in [("region", region), ("service", service), ("access_key_id", access_key_id)] {
            if value.is_empty() || value.contains(['/', ',', ' ']) {
                return Err(Error::config(format!("`auth.{name}` is empty, or holds `/`, `,` or spaces")));
            }
        }
        Ok(Self {
            region: region.to_owned(),
            service: service.to_owned(),
            access_key_id: access_key_id.to_owned(),
            secret_access_key: secret_access_key.clone(),
            session_token: session_token.cloned(),
        })
    }

    /// Signs a request. Its query is written as AWS reads it: a `+` would be a plus there, and a space here.
    pub(super) fn sign(
        &self,
        (method, url, body): (&str, &mut Url, &[u8]),
        headers: &mut HeaderMap,
        now: SystemTime,
    ) -> Result<()> {
        if url.query().is_some() {
            let pairs: Vec<_> =
                pairs(url).into_iter().map(|(name, value)| format!("{name}={value}")).collect();
            url.set_query((!pairs.is_empty()).then(|| pairs.join("&")).as_deref());
        }
        let time = DateTime::<Utc>::from(now).format("%Y%m%dT%H%M%SZ").to_string();
        let digest = sha256(body);
        headers.insert(DATE, secret_value(DATE.as_str(), &time)?);
        headers.insert(CONTENT_DIGEST, secret_value(CONTENT_DIGEST.as_str(), &digest)?);
        if let Some(token) = &self.session_token {
            headers.insert(TOKEN, secret_value(TOKEN.as_str(), token.expose())?);
        }
        let is_signed = |name: &HeaderName| *name == CONTENT_TYPE || name.as_str().starts_with("x-amz-");
        let mut signed: BTreeMap<String, String> = BTreeMap::new();
        for (name, value) in headers.iter().filter(|(name, _)| is_signed(name)) {
            let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
            let known = signed.entry(name.as_str().to_owned()).or_default();
            *known = if known.is_empty() { value } else { format!("{known},{value}") };
        }
        let host = url[Position::BeforeHost..Position::AfterPort].to_owned();
        signed.insert(HOST.as_str().to_owned(), host);
        let value = self.authorization((method, url), &signed, &digest, &time);
        headers.insert(AUTHORIZATION, secret_value(AUTHORIZATION.as_str(), &value)?);
        Ok(())
    }

    fn authorization(
        &self,
        (method, url): (&str, &Url),
        headers: &BTreeMap<String, String>,
        digest: &str,
        time: &str,
    ) -> String {
        let names = headers.keys().map(String::as_str).collect::<Vec<_>>().join(";");
        let mut lines = String::new();
        for (name, value) in headers {
            let value = value.split_ascii_whitespace().collect::<Vec<_>>().join(" ");
            writeln!(lines, "{name}:{value}").expect("a text can be written to");
        }
        let path = self.path(url);
        let request = format!("{method}\n{path}\n{}\n{lines}\n{names}\n{digest}", query(url));
        let date = &time[..8];
        let scope = format!("{date}/{}/{}/aws4_request", self.region, self.service);
        let message = format!("{ALGORITHM}\n{time}\n{scope}\n{}", sha256(request.as_bytes()));
        let first = format!("AWS4{}", self.secret_access_key.expose()).into_bytes();
        let key = [date, &self.region, &self.service, "aws4_request"]
            .into_iter()
            .fold(first, |key, part| sign(&key, part));
        let signature = HEXLOWER.encode(&sign(&key, &message));
        format!(
            "{ALGORITHM} Credential={}/{scope}, SignedHeaders={names}, Signature={signature}",
            self.access_key_id
        )
    }

    /// The path as it is signed. S3 takes names as they are; all others encode what is encoded already.
    fn path(&self, url: &Url) -> String {
        if self.service.starts_with("s3") {
            let segments = url.path().split('/').map(|segment| encode(&decode(segment)));
            return segments.collect::<Vec<_>>().join("/");
        }
        let mut path = String::new();
        for segment in url.path().split('/').filter(|segment| !segment.is_empty()) {
            path.push('/');
            path.push_str(&encode(segment.as_bytes()));
        }
        if path.is_empty() || url.path().ends_with('/') {
            path.push('/');
        }
        path
    }
}

fn sign(key: &[u8], text: &str) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes()).as_ref().to_vec()
}

/// The query as it is signed.
fn query(url: &Url) -> String {
    let mut pairs = pairs(url);
    pairs.sort_unstable();
    pairs.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&")
}

/// Query parameters, encoded.
fn pairs(url: &Url) -> Vec<(String, String)> {
    url.query_pairs().map(|(name, value)| (encode(name.as_bytes()), encode(value.as_bytes()))).collect()
}

/// All but unreserved characters as `%XX`.
fn encode(bytes: &[u8]) -> String {
    percent_encode(bytes, RESERVED).to_string()
}

/// The bytes of a part of a path.
fn decode(segment: &str) -> Vec<u8> {
    percent_decode_str(segment).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, UNIX_EPOCH};

    fn signer(service: &str, region: &str, token: Option<&str>) -> Signer {
        let secret = Secret::new("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY".to_owned());
        let token = token.map(|token| Secret::new(token.to_owned()));
        Signer::new((region, service), "AKIDEXAMPLE", &secret, token.as_ref()).unwrap()
    }

    /// The signature of a request of AWS's own test suite, where all headers are signed.
    fn published(method: &str, target: &str, more: &[(&str, &str)], body: &str) -> String {
        let url = Url::parse(&format!("https://example.amazonaws.com{target}")).unwrap();
        let mut headers: BTreeMap<String, String> =
            more.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        headers.insert("host".to_owned(), "example.amazonaws.com".to_owned());
        headers.insert("x-amz-date".to_owned(), "20150830T123600Z".to_owned());
        let signer = signer("service", "us-east-1", None);
        let value =
            signer.authorization((method, &url), &headers, &sha256(body.as_bytes()), "20150830T123600Z");
        value.rsplit_once("Signature=").unwrap().1.to_owned()
    }

    #[test]
    fn signatures_are_those_that_aws_publishes() {
        for (target, expected) in [
            ("/", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
            ("/example1/example2/../..", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
            ("/./example", "ef75d96142cf21edca26f06005da7988e4f8dc83a165a80865db7089db637ec5"),
            ("//example//", "9a624bd73a37c9a373b5312afbebe7a714a789de108f0bdfe846570885f57e84"),
            (
                "/?Param-3=Value3&Param=Value2&%E1%88%B4=Value1",
                "371d3713e185cc334048618a97f809c9ffe339c62934c032af5a0e595648fcac",
            ),
            (
                "/?Param2=value2&Param1=value1",
                "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
            ),
            ("/?ሴ=bar", "2cdec8eed098649ff3a119c94853b13c643bcf08f8b0a1d91e12c9027818dd04"),
        ] {
            assert_eq!(published("GET", target, &[], ""), expected, "{target}");
        }
        for (headers, body, expected) in [
            (&[][..], "", "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"),
            (
                &[("my-header1", "VALUE1")],
                "",
                "cdbc9802e29d2942e5e10b5bccfdd67c5f22c7c4e8ae67b53629efa58b974b7d",
            ),
            (
                &[
                    ("content-type", "application/x-www-form-urlencoded; charset=utf-8"),
                    ("content-length", "13"),
                    (
                        "x-amz-content-sha256",
                        "9095672bbd1f56dfc5b65f3e153adc8731a4a654192329106275f4c7b24d0b6e",
                    ),
                ],
                "Param1=value1",
                "328d1b9eaadca9f5818ef05e8392801e091653bafec24fcab71e7344e7f51422",
            ),
        ] {
            assert_eq!(published("POST", "/", headers, body), expected);
        }
        let trimmed = [("my-header1", " value1"), ("my-header2", "\"a   b   c\"")];
        assert_eq!(
            published("GET", "/", &trimmed, ""),
            "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736"
        );
    }

    /// A signed request of 2026-11-27 08:00:00 UTC: its URL, and the value of its header.
    fn signed(signer: &Signer, method: &str, url: &str, body: &str) -> (String, String) {
        let mut url = Url::parse(url).unwrap();
        let mut headers = HeaderMap::new();
        if !body.is_empty() {
            headers.insert(CONTENT_TYPE, "application/json".parse().unwrap());
        }
        headers.insert("accept-encoding", "gzip".parse().unwrap());
        let now = UNIX_EPOCH + Duration::from_hours(498_824);
        signer.sign((method, &mut url, body.as_bytes()), &mut headers, now).unwrap();
        (url.into(), headers[AUTHORIZATION].to_str().unwrap().to_owned())
    }

    /// The expected values are botocore's.
    #[test]
    fn requests_are_signed_as_the_python_library_does() {
        let api = signer("execute-api", "eu-central-1", Some("a/session+token="));
        let url = "https://api.example.com/v1/a%20b/(x)?q=a+b&z=%C3%A9&q=1";
        let (sent, value) = signed(&api, "POST", url, "{\"a\":1}");
        assert_eq!(sent, "https://api.example.com/v1/a%20b/(x)?q=a%20b&z=%C3%A9&q=1");
        assert_eq!(
            value,
            "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20261127/eu-central-1/execute-api/aws4_request, \
             SignedHeaders=content-type;host;x-amz-content-sha256;x-amz-date;x-amz-security-token, \
             Signature=4e70db40fe187316da7536d7774ca390709da57a4449b5e2afae7e898429dd61"
        );
        let s3 = signer("s3", "eu-central-1", None);
        let (_, value) = signed(&s3, "GET", "https://bucket.s3.example.com/a//b%20c/(x).csv", "");
        let expected = "1031348c16dae88e545664b993448ec6b5dd5681fe54cb21951ea0b373322885";
        assert!(value.ends_with(expected), "{value}");
    }
}
