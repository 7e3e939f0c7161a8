//! A server of small JSON documents, at once or after a while.

use std::convert::Infallible;
use std::time::Duration;

use anyhow::Result;
use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};

/// Serves until the standard input ends.
pub(crate) async fn serve() -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?);
    let mut input = tokio::io::stdin();
    let mut ignored = [0; 64];
    loop {
        tokio::select! {
            accepted = listener.accept() => drop(tokio::spawn(connection(accepted?.0))),
            read = input.read(&mut ignored) => if read? == 0 { return Ok(()) },
        }
    }
}

async fn connection(stream: TcpStream) -> Result<()> {
    stream.set_nodelay(true)?;
    let service = service_fn(async |request: hyper::Request<hyper::body::Incoming>| {
        Ok::<_, Infallible>(answer(request.uri().path()).await)
    });
    Ok(http1::Builder::new().serve_connection(TokioIo::new(stream), service).await?)
}

/// `/items/ID` answers at once, `/delay/MILLISECONDS/ID` after a while.
async fn answer(path: &str) -> Response<Full<Bytes>> {
    let mut segments = path.split('/').skip(1);
    let document = match (segments.next(), segments.next(), segments.next()) {
        (Some("items"), Some(id), None) => document(id),
        (Some("delay"), Some(milliseconds), Some(id)) => {
            let delay = milliseconds.parse().map(Duration::from_millis);
            if let Ok(delay) = delay {
                tokio::time::sleep(delay).await;
            }
            delay.ok().and_then(|_| document(id))
        }
        _ => None,
    };
    let Some(document) = document else {
        let mut response = Response::new(Full::default());
        *response.status_mut() = StatusCode::NOT_FOUND;
        return response;
    };
    let mut response = Response::new(Full::new(document.into()));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn document(id: &str) -> Option<String> {
    let id: u64 = id.parse().ok()?;
    let (price, stock) = (id * 37 % 10_000, id * 7919 % 1000);
    Some(format!(
        r#"{{"id":{id},"name":"item number {id}","category":"group {}","price":{}.{:02},"stock":{stock},"active":{},"updated_at":"2026-03-{:02}T12:00:00Z","note":"a small document, as many APIs give"}}"#,
        id % 12,
        price / 100,
        price % 100,
        id.is_multiple_of(2),
        id % 28 + 1
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn known_paths_get_a_document_and_others_an_error() {
        for path in ["/items/7", "/delay/0/7"] {
            assert_eq!(answer(path).await.status(), StatusCode::OK, "{path}");
        }
        for path in ["/", "/items", "/items/seven", "/delay/soon/7", "/delay/0"] {
            assert_eq!(answer(path).await.status(), StatusCode::NOT_FOUND, "{path}");
        }
    }
}
