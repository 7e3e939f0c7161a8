//! Servers in front of the real one.

use std::sync::Arc;

use super::ObjectSite;
use crate::http::{Request, Response, TestServer};

/// The real server behind one that answers some requests itself.
pub async fn behind(
    site: &impl ObjectSite,
    answer: impl Fn(&Request) -> Option<Response> + Send + Sync + 'static,
) -> TestServer {
    let answer = Arc::new(answer);
    let (client, origin) = (site.client(), site.origin());
    TestServer::start(move |request| {
        let (answer, client, origin) = (answer.clone(), client.clone(), origin.clone());
        async move {
            match answer(&request) {
                Some(response) => response,
                None => forward(&client, &origin, &request).await,
            }
        }
    })
    .await
}

/// The real server, whose answers are changed on their way.
pub async fn through(
    site: &impl ObjectSite,
    change: impl Fn(&Request, Response) -> Response + Send + Sync + 'static,
) -> TestServer {
    let change = Arc::new(change);
    let (client, origin) = (site.client(), site.origin());
    TestServer::start(move |request| {
        let (change, client, origin) = (change.clone(), client.clone(), origin.clone());
        async move {
            let answer = forward(&client, &origin, &request).await;
            change(&request, answer)
        }
    })
    .await
}

/// Hands a request on to the server with this origin.
///
/// # Panics
/// When it does not answer.
pub async fn forward(client: &reqwest::Client, origin: &str, request: &Request) -> Response {
    let query = if request.query.is_empty() { String::new() } else { format!("?{}", request.query) };
    let url = format!("{origin}{}{query}", request.path);
    let mut sent = client.request(request.method.parse().unwrap(), url).body(request.body.clone());
    for (name, value) in &request.headers {
        sent = sent.header(name, value);
    }
    let got = sent.send().await.unwrap();
    let mut response = Response::status(got.status().as_u16());
    // How a body was framed is between the two servers.
    for (name, value) in got.headers().iter().filter(|(name, _)| *name != "transfer-encoding") {
        response = response.header(name.as_str(), value.to_str().unwrap());
    }
    response.body(got.bytes().await.unwrap())
}
