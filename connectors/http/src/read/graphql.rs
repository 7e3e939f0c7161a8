//! Errors in a GraphQL answer, which come with a 200.

use serde::Deserialize;
use towpath_core::{Error, ErrorKind, Json, Result, Retry};

use crate::errors::excerpt;

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    errors: Option<Vec<Json>>,
}

/// Refuses an answer with errors, even when it has some data as well: rows would be missing.
///
/// # Errors
/// What the server says, with a kind that its code stands for.
pub(super) fn refuse_errors(body: &[u8]) -> Result<()> {
    let Ok(Answer { errors: Some(errors) }) = serde_json::from_slice::<Answer>(body) else { return Ok(()) };
    let Some(first) = errors.first() else { return Ok(()) };
    let text = |pointer: &str| first.pointer(pointer).and_then(Json::as_str);
    let code = text("/extensions/code").or_else(|| text("/type")).or_else(|| text("/extensions/type"));
    let upper = code.unwrap_or_default().to_ascii_uppercase();
    let (kind, retry) = match upper.as_str() {
        "THROTTLED" | "RATE_LIMITED" | "RATELIMITED" | "TOO_MANY_REQUESTS" => {
            (ErrorKind::RateLimited, Retry::Transient)
        }
        "INTERNAL_SERVER_ERROR" | "SERVICE_UNAVAILABLE" | "TIMEOUT" => {
            (ErrorKind::Unavailable, Retry::Transient)
        }
        "UNAUTHENTICATED" | "AUTHENTICATION_ERROR" => (ErrorKind::Unauthenticated, Retry::Never),
        "FORBIDDEN" | "ACCESS_DENIED" => (ErrorKind::PermissionDenied, Retry::Never),
        _ => (ErrorKind::Config, Retry::Never),
    };
    let said = text("/message").and_then(excerpt);
    let said = said.or_else(|| excerpt(&first.to_string())).unwrap_or_default();
    let mut error = Error::new(kind, format!("the GraphQL answer has errors: {said}")).retry(retry);
    if let Some(code) = code {
        error = error.detail("code", code);
    }
    if let Some(path) = first.get("path") {
        error = error.detail("path", path);
    }
    if errors.len() > 1 {
        error = error.detail("errors", errors.len());
    }
    Err(if kind == ErrorKind::Config {
        error.help("check `query` and `variables` of `body.graphql`")
    } else {
        error
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_code_of_an_error_tells_its_kind() {
        let kind = |error: Json| {
            let error = refuse_errors(json!({"errors": [error]}).to_string().as_bytes()).unwrap_err();
            (error.kind(), error.is_retryable())
        };
        assert_eq!(kind(json!({"message": "no field `x`"})), (ErrorKind::Config, false));
        assert_eq!(kind(json!({"extensions": {"code": "THROTTLED"}})), (ErrorKind::RateLimited, true));
        assert_eq!(kind(json!({"type": "RATE_LIMITED"})), (ErrorKind::RateLimited, true));
        assert_eq!(
            kind(json!({"extensions": {"code": "UNAUTHENTICATED"}})),
            (ErrorKind::Unauthenticated, false)
        );
        assert!(refuse_errors(br#"{"data": {}, "errors": []}"#).is_ok());
        assert!(refuse_errors(b"[1]").is_ok());
    }
}
