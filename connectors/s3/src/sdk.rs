//! The client of the SDK, which sends through ours.

use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{
    BehaviorVersion, IdentityCache, Region, RequestChecksumCalculation, ResponseChecksumValidation,
    StalledStreamProtectionConfig,
};
use aws_sdk_s3::error::SdkError;
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use http::HeaderMap;
use towpath_core::{Error, Retry};
use towpath_objects::{Refusal, Service};

use crate::credentials::Keys;
use crate::place::Place;

/// A client for the control plane of S3. It neither retries nor waits: that is done around it.
pub(crate) fn client(service: Service, keys: Option<&Keys>, place: &Place) -> aws_sdk_s3::Client {
    let mut config = aws_sdk_s3::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .http_client(Sender(service))
        .region(Region::new(place.region.clone()))
        .endpoint_url(place.endpoint())
        .force_path_style(place.path_style)
        // Ours are cached already.
        .identity_cache(IdentityCache::no_cache())
        .retry_config(RetryConfig::disabled())
        .timeout_config(TimeoutConfig::disabled())
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
        .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
        .response_checksum_validation(ResponseChecksumValidation::WhenRequired);
    config = match keys {
        Some(keys) => config.credentials_provider(keys.clone()),
        None => config.allow_no_auth(),
    };
    aws_sdk_s3::Client::from_conf(config.build())
}

/// Sends the requests of the SDK.
#[derive(Debug, Clone)]
pub(crate) struct Sender(pub(crate) Service);

impl HttpClient for Sender {
    fn http_connector(&self, _: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

impl HttpConnector for Sender {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let service = self.0.clone();
        HttpConnectorFuture::new(async move {
            let request = to_reqwest(request).map_err(|error| ConnectorError::user(error.into()))?;
            let answer =
                service.send(request).await.map_err(|error| ConnectorError::other(error.into(), None))?;
            let mut response = http::Response::new(SdkBody::from_body_1_x(answer.body));
            *response.status_mut() = answer.status;
            *response.headers_mut() = answer.headers;
            HttpResponse::try_from(response).map_err(|error| ConnectorError::other(error.into(), None))
        })
    }
}

fn to_reqwest(request: HttpRequest) -> Result<reqwest::Request, Error> {
    let wrong = |error: Box<dyn std::error::Error + Send + Sync>| {
        Error::config("the request cannot be made").source(error).help("check `endpoint`")
    };
    let (head, body) = request.try_into_http1x().map_err(|error| wrong(error.into()))?.into_parts();
    let url = head.uri.to_string().parse().map_err(|error: url::ParseError| wrong(error.into()))?;
    let mut sent = reqwest::Request::new(head.method, url);
    *sent.headers_mut() = head.headers;
    *sent.body_mut() = match body.bytes() {
        Some([]) => None,
        Some(bytes) => Some(bytes.to_vec().into()),
        None => Some(reqwest::Body::wrap(body)),
    };
    Ok(sent)
}

/// An error of the SDK: what the store said, or what was said of a request without an answer.
pub(crate) fn error<E>(error: SdkError<E, HttpResponse>) -> Error
where
    E: std::error::Error + Send + Sync + 'static,
{
    let refused = match &error {
        SdkError::ServiceError(refused) => Some(refused.raw()),
        SdkError::ResponseError(refused) => Some(refused.raw()),
        _ => None,
    };
    if let Some(answer) = refused
        && let Ok(status) = http::StatusCode::from_u16(answer.status().as_u16())
        && !status.is_success()
    {
        let headers: HeaderMap = answer
            .headers()
            .iter()
            .filter_map(|(name, value)| Some((name.parse().ok()?, value.parse().ok()?)))
            .collect();
        return Refusal::new(status, &headers, answer.body().bytes().unwrap_or_default()).error();
    }
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(&error);
    while let Some(inner) = cause {
        if let Some(ours) = inner.downcast_ref::<Error>() {
            return towpath_objects::told(ours);
        }
        if inner.is::<aws_credential_types::provider::error::CredentialsError>() {
            return crate::credentials::failed(inner);
        }
        cause = inner.source();
    }
    let broke = matches!(error, SdkError::DispatchFailure(_) | SdkError::TimeoutError(_));
    let retry = if broke { Retry::Transient } else { Retry::Never };
    Error::unexpected("the request failed").retry(retry).source(error)
}
