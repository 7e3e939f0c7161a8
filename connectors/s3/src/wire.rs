//! Answers on their way to the library: those that say that all went well, and then that it did not.

use async_trait::async_trait;
use http::{Method, StatusCode};
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpResponseBody,
    HttpService,
};
use towpath_objects::{Refusal, Service};

/// Sends what the library asks for.
#[derive(Debug, Clone)]
pub(crate) struct Wire(pub(crate) Service);

#[async_trait]
impl HttpService for Wire {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let removes = *request.method() == Method::POST && request.uri().query() == Some("delete");
        let response = self.0.call(request).await?;
        if !removes {
            return Ok(response);
        }
        let (head, body) = response.into_parts();
        let said = body.bytes().await?;
        match refused(&said) {
            Some(refusal) => Err(HttpError::new(HttpErrorKind::Unknown, refusal)),
            None => Ok(HttpResponse::from_parts(head, HttpResponseBody::from(said))),
        }
    }
}

impl HttpConnector for Wire {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(self.clone()))
    }
}

/// The first object of many that was not removed. The library tells of it by a text alone.
/// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_DeleteObjects.html>
fn refused(said: &[u8]) -> Option<Refusal> {
    let text = String::from_utf8_lossy(said);
    let (_, error) = text.split_once("<Error>")?;
    // It has no status of its own; what else is refused says by its code what it means.
    let status = if error.contains("<Code>AccessDenied</Code>") {
        StatusCode::FORBIDDEN
    } else {
        StatusCode::BAD_REQUEST
    };
    Some(Refusal::new(status, &http::HeaderMap::new(), error.as_bytes()))
}

#[cfg(test)]
mod tests {
    use towpath_core::ErrorKind;

    use super::*;

    #[test]
    fn an_object_that_was_not_removed_is_a_refusal() {
        let answer = |code: &str| {
            format!(
                "<DeleteResult><Deleted><Key>a</Key></Deleted><Error><Key>b</Key><Code>{code}</Code><Message>No</Message>\
                 </Error></DeleteResult>"
            )
        };
        let kind = |code: &str| refused(answer(code).as_bytes()).map(|refusal| refusal.kind());
        assert_eq!(kind("AccessDenied"), Some(ErrorKind::PermissionDenied));
        assert_eq!(kind("SlowDown"), Some(ErrorKind::RateLimited));
        assert_eq!(kind("InternalError"), Some(ErrorKind::Unavailable));
        assert_eq!(refused(b"<DeleteResult><Deleted><Key>a</Key></Deleted></DeleteResult>"), None);
    }
}
