//! What a store says when it refuses, and what that means for a person.

use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use towpath_core::{Error, ErrorKind, Outcome, Retry};

/// How many characters of a message are shown.
const EXCERPT: usize = 300;

/// An answer that is no success.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The status.
    pub status: StatusCode,
    /// What the store calls it, such as `SlowDown`.
    pub code: Option<String>,
    /// What the store says about it.
    pub message: Option<String>,
    /// Where the bucket is, if that is what was wrong.
    pub region: Option<String>,
    retry_after: Option<Duration>,
}

/// A refusal in JSON.
#[derive(Deserialize)]
#[serde(untagged)]
enum InJson {
    /// As Google's API has it.
    Api { error: JsonError },
    /// As those who give tokens have it.
    Token { error: String, error_description: Option<String> },
}

#[derive(Deserialize)]
struct JsonError {
    message: Option<String>,
    #[serde(default)]
    errors: Vec<JsonReason>,
}

#[derive(Deserialize)]
struct JsonReason {
    reason: Option<String>,
}

impl Refusal {
    /// Reads what the store said, in XML or JSON.
    pub fn new(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Self {
        let text = String::from_utf8_lossy(body);
        let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let (code, message) = match serde_json::from_slice(body) {
            Ok(InJson::Api { error }) => {
                (error.errors.into_iter().find_map(|error| error.reason), error.message)
            }
            Ok(InJson::Token { error, error_description }) => (Some(error), error_description),
            Err(_) => (element(&text, "Code"), in_detail(&text)),
        };
        Self {
            status,
            // An answer to HEAD has no body.
            code: code.or_else(|| header("x-ms-error-code")),
            message,
            region: header("x-amz-bucket-region").or_else(|| element(&text, "Region")),
            retry_after: None,
        }
    }

    /// When the store wants to be asked again.
    pub fn retry_after(mut self, wait: Option<Duration>) -> Self {
        self.retry_after = wait;
        self
    }

    /// What it means for the limits of the connection.
    pub fn outcome(&self) -> Outcome {
        match self.kind() {
            ErrorKind::RateLimited if self.status == StatusCode::TOO_MANY_REQUESTS => {
                Outcome::RateLimited(self.retry_after)
            }
            ErrorKind::RateLimited => Outcome::Overloaded(self.retry_after),
            ErrorKind::Unavailable if self.status == StatusCode::SERVICE_UNAVAILABLE => {
                Outcome::Overloaded(self.retry_after)
            }
            ErrorKind::Unavailable if self.is_timeout() => Outcome::TimedOut,
            ErrorKind::Unavailable => Outcome::Failed,
            // A refusal is an answer: the store is well.
            _ => Outcome::Success,
        }
    }

    /// Whether the credentials were good once.
    pub fn is_expired(&self) -> bool {
        matches!(
            self.code.as_deref(),
            Some("ExpiredToken" | "ExpiredTokenException" | "TokenRefreshRequired")
        )
    }

    /// Whether a code says that it is the bucket that is not there.
    pub(crate) fn is_of_bucket(code: Option<&str>) -> bool {
        matches!(code, Some("NoSuchBucket" | "ContainerNotFound"))
    }

    fn is_timeout(&self) -> bool {
        matches!(self.status, StatusCode::GATEWAY_TIMEOUT | StatusCode::REQUEST_TIMEOUT)
            || matches!(self.code.as_deref(), Some("RequestTimeout" | "OperationTimedOut"))
    }

    /// What kind of failure it is.
    pub fn kind(&self) -> ErrorKind {
        let by_code = self.code.as_deref().and_then(kind_of_code);
        by_code.unwrap_or_else(|| match self.status.as_u16() {
            429 => ErrorKind::RateLimited,
            401 | 407 => ErrorKind::Unauthenticated,
            403 => ErrorKind::PermissionDenied,
            404 | 410 => ErrorKind::NotFound,
            409 | 412 => ErrorKind::Conflict,
            408 | 500 | 502..=504 => ErrorKind::Unavailable,
            405 | 501 | 505..=599 => ErrorKind::Unsupported,
            416 => ErrorKind::DataInvalid,
            _ => ErrorKind::Config,
        })
    }

    /// The error.
    pub fn error(&self) -> Error {
        let kind = self.kind();
        let mut error = Error::new(kind, self.says()).retry(self.retry(kind));
        if let Some(code) = &self.code {
            error = error.detail("code", code);
        }
        match self.help() {
            Some(help) => error.help(help),
            None => error,
        }
    }

    fn says(&self) -> String {
        match &self.message {
            Some(message) => excerpt(message),
            None => format!("the store answered {}", self.status),
        }
    }

    fn retry(&self, kind: ErrorKind) -> Retry {
        match (kind, self.retry_after) {
            (ErrorKind::RateLimited | ErrorKind::Unavailable, _) if self.is_archived() => Retry::Never,
            (ErrorKind::RateLimited | ErrorKind::Unavailable, Some(wait)) => Retry::After(wait),
            (ErrorKind::RateLimited | ErrorKind::Unavailable, None) => Retry::Transient,
            _ => Retry::Never,
        }
    }

    /// An answer to `HEAD` to a wrong region, which has neither code nor body.
    fn is_of_other_region(&self) -> bool {
        self.status == StatusCode::BAD_REQUEST && self.code.is_none() && self.region.is_some()
    }

    fn is_archived(&self) -> bool {
        matches!(self.code.as_deref(), Some("InvalidObjectState" | "BlobArchived"))
    }

    fn help(&self) -> Option<String> {
        let elsewhere = matches!(
            self.code.as_deref(),
            Some(
                "PermanentRedirect"
                    | "TemporaryRedirect"
                    | "AuthorizationHeaderMalformed"
                    | "IllegalLocationConstraintException"
            )
        ) || self.status.is_redirection()
            || self.is_of_other_region();
        if elsewhere {
            return Some(match &self.region {
                Some(region) => format!("set `region: {region}`"),
                None => "check `region` and `endpoint`".to_owned(),
            });
        }
        let help = match self.code.as_deref() {
            Some("RequestTimeTooSkewed") => "set the clock of this machine",
            Some("SignatureDoesNotMatch") => "check `secret_access_key`",
            Some("InvalidAccessKeyId") => "check `access_key_id`",
            Some(_) if self.is_expired() => "get new credentials",
            Some("NoSuchBucket") => "check `bucket` and `endpoint`",
            Some("UserProjectMissing") => "set `user_project` to the project that pays for the requests",
            Some("ContainerNotFound") => "check `container`, `account` and `endpoint`",
            Some("AuthenticationFailed" | "InvalidAuthenticationInfo") => {
                "check `access_key` or `sas_token`, `account`, and the clock of this machine"
            }
            Some("NoAuthenticationInformation" | "PublicAccessNotPermitted") => {
                "it is not public: give credentials in place of `anonymous`"
            }
            Some("LeaseIdMissing") => "somebody holds a lease on it: break the lease",
            Some("InvalidBlobOrBlock") => {
                "another program began an upload there and did not finish it: Azure forgets it within a week, or write to \
                 another path"
            }
            Some(_) if self.is_archived() => "restore it from the archive first",
            _ => return None,
        };
        Some(help.to_owned())
    }
}

/// What the codes mean that do not mean what their status says.
fn kind_of_code(code: &str) -> Option<ErrorKind> {
    Some(match code {
        "SlowDown"
        | "ServerBusy"
        | "Throttling"
        | "ThrottlingException"
        | "RequestLimitExceeded"
        | "TooManyRequests"
        | "TooManyRequestsException"
        | "rateLimitExceeded"
        | "userRateLimitExceeded" => ErrorKind::RateLimited,
        "RequestTimeout"
        | "OperationTimedOut"
        | "OperationAborted"
        | "InternalError"
        | "InvalidObjectState"
        | "BlobArchived"
        | "ContainerBeingDeleted" => ErrorKind::Unavailable,
        "PublicAccessNotPermitted" | "BlobImmutableDueToPolicy" => ErrorKind::PermissionDenied,
        "InvalidBlockList" => ErrorKind::NotFound,
        "InvalidBlobOrBlock" => ErrorKind::Conflict,
        "InvalidAccessKeyId"
        | "SignatureDoesNotMatch"
        | "ExpiredToken"
        | "ExpiredTokenException"
        | "InvalidToken"
        | "TokenRefreshRequired"
        | "RequestTimeTooSkewed"
        | "AuthenticationFailed"
        | "InvalidAuthenticationInfo"
        | "NoAuthenticationInformation"
        | "invalid_client"
        | "invalid_grant"
        | "unauthorized_client"
        | "InvalidSecurity" => ErrorKind::Unauthenticated,
        "AuthorizationHeaderMalformed" | "PermanentRedirect" | "TemporaryRedirect" | "LeaseIdMissing" => {
            ErrorKind::Config
        }
        "NotImplemented" | "MethodNotAllowed" => ErrorKind::Unsupported,
        _ => return None,
    })
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.says())
    }
}

impl StdError for Refusal {}

/// An error that was told already, out of a chain that owns it.
pub fn told(error: &Error) -> Error {
    let message = match StdError::source(error) {
        Some(source) => format!("{}: {source}", error.message()),
        None => error.message().to_owned(),
    };
    let copy = Error::new(error.kind(), message).retry(error.retry_policy());
    match error.help_text() {
        Some(help) => copy.help(help),
        None => copy,
    }
}

/// The text of the first element of this name. What stores send is too small, and sometimes too broken, for a parser.
fn element(xml: &str, name: &str) -> Option<String> {
    let (open, close) = (format!("<{name}>"), format!("</{name}>"));
    let text = xml.split_once(&open)?.1.split_once(&close)?.0;
    let text =
        [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&apos;", "'"), ("&#39;", "'"), ("&amp;", "&")]
            .into_iter()
            .fold(text.to_owned(), |text, (entity, character)| text.replace(entity, character));
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

/// What an answer says, with the details that Google puts apart.
fn in_detail(xml: &str) -> Option<String> {
    match (element(xml, "Message"), element(xml, "Details")) {
        (Some(message), Some(details)) => {
            Some(format!("{}: {details}", message.trim_end_matches(['.', ':'])))
        }
        (message, details) => message.or(details),
    }
}

/// The beginning of a text on one line.
fn excerpt(text: &str) -> String {
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut shown: String = words.chars().filter(|character| !character.is_control()).take(EXCERPT).collect();
    if words.chars().count() > EXCERPT {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(status: u16, body: &str) -> Refusal {
        Refusal::new(StatusCode::from_u16(status).unwrap(), &HeaderMap::new(), body.as_bytes())
    }

    fn coded(status: u16, code: &str) -> Refusal {
        refusal(status, &format!("<Error><Code>{code}</Code><Message>it &lt;says&gt; so</Message></Error>"))
    }

    #[test]
    fn a_refusal_is_read_from_xml_and_json() {
        let xml = coded(403, "AccessDenied");
        assert_eq!(
            (xml.code.as_deref(), xml.message.as_deref()),
            (Some("AccessDenied"), Some("it <says> so"))
        );
        let json = refusal(
            404,
            r#"{"error": {"code": 404, "message": "No such object", "errors": [{"reason": "notFound"}]}}"#,
        );
        assert_eq!(
            (json.code.as_deref(), json.message.as_deref()),
            (Some("notFound"), Some("No such object"))
        );
        let token = refusal(400, r#"{"error": "invalid_grant", "error_description": "It was revoked."}"#);
        assert_eq!(
            (token.code.as_deref(), token.message.as_deref()),
            (Some("invalid_grant"), Some("It was revoked."))
        );
        let detailed = refusal(
            403,
            "<Error><Code>AccessDenied</Code><Message>Access denied.</Message><Details>Ann may not.</Details></Error>",
        );
        assert_eq!(detailed.to_string(), "Access denied: Ann may not.");
        assert_eq!(refusal(404, "").to_string(), "the store answered 404 Not Found");
        assert_eq!(
            refusal(401, r#"{"error": "invalid_client", "error_description": "no"}"#).kind(),
            ErrorKind::Unauthenticated
        );
    }

    #[test]
    fn an_answer_to_head_is_read_from_its_headers() {
        let mut headers = HeaderMap::new();
        headers.insert("x-ms-error-code", "AuthenticationFailed".parse().unwrap());
        let error = Refusal::new(StatusCode::FORBIDDEN, &headers, b"").error();
        assert_eq!(error.kind(), ErrorKind::Unauthenticated);
    }

    #[test]
    fn codes_and_statuses_have_their_kinds() {
        use ErrorKind::{Conflict, NotFound, PermissionDenied, RateLimited, Unauthenticated, Unavailable};
        for (status, code, kind, retryable) in [
            (503, "SlowDown", RateLimited, true),
            (503, "ServiceUnavailable", Unavailable, true),
            (429, "", RateLimited, true),
            (429, "SlowDown", RateLimited, true),
            (500, "InternalError", Unavailable, true),
            (400, "RequestTimeout", Unavailable, true),
            (403, "InvalidObjectState", Unavailable, false),
            (403, "AccessDenied", PermissionDenied, false),
            (403, "SignatureDoesNotMatch", Unauthenticated, false),
            (400, "ExpiredToken", Unauthenticated, false),
            (404, "NoSuchKey", NotFound, false),
            (409, "OperationAborted", Unavailable, true),
            (409, "ConditionalRequestConflict", Conflict, false),
            (412, "PreconditionFailed", Conflict, false),
            (401, "AuthenticationRequired", Unauthenticated, false),
            (400, "UserProjectMissing", ErrorKind::Config, false),
            (301, "PermanentRedirect", ErrorKind::Config, false),
            (503, "ServerBusy", RateLimited, true),
            (500, "OperationTimedOut", Unavailable, true),
            (403, "AuthorizationPermissionMismatch", PermissionDenied, false),
            (409, "PublicAccessNotPermitted", PermissionDenied, false),
            (401, "NoAuthenticationInformation", Unauthenticated, false),
            (404, "ContainerNotFound", NotFound, false),
            (404, "BlobNotFound", NotFound, false),
            (409, "ContainerBeingDeleted", Unavailable, true),
            (412, "ConditionNotMet", Conflict, false),
            (409, "BlobAlreadyExists", Conflict, false),
            (412, "LeaseIdMissing", ErrorKind::Config, false),
            (400, "InvalidBlobOrBlock", Conflict, false),
            (400, "InvalidBlockList", NotFound, false),
        ] {
            let error = coded(status, code).error();
            assert_eq!((error.kind(), error.is_retryable()), (kind, retryable), "{status} {code}");
        }
    }

    #[test]
    fn a_store_that_says_when_is_asked_again_then() {
        let wait = Some(Duration::from_secs(3));
        let refusal = coded(503, "SlowDown").retry_after(wait);
        assert_eq!(refusal.error().retry_policy(), Retry::After(Duration::from_secs(3)));
        assert_eq!(refusal.outcome(), Outcome::Overloaded(wait));
    }

    #[test]
    fn a_bucket_elsewhere_names_its_region() {
        let mut headers = HeaderMap::new();
        headers.insert("x-amz-bucket-region", "eu-west-1".parse().unwrap());
        let error = Refusal::new(StatusCode::MOVED_PERMANENTLY, &headers, b"").error();
        assert_eq!(error.help_text(), Some("set `region: eu-west-1`"));
    }
}
