//! Where a bucket is: asked of AWS, told by an option, or told by a refusal.
//!
//! AWS is a server in this process, reached by a proxy that leads every name to it.

use std::sync::{Arc, Mutex};

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use towpath_core::{ErrorKind, Json};
use towpath_testkit::context;
use towpath_testkit::http::{Request, Response, TestServer};
use towpath_testkit::objects::{ObjectSite, ObjectSiteTools, error, scan};

use crate::credentials::{is_inside, run};
use crate::support::Prefix;

/// Where the bucket is.
const REGION: &str = "eu-west-3";

/// The names of AWS's servers that are asked.
const NAMES: [&str; 2] = ["s3.us-east-1.amazonaws.com", "landing.s3.eu-west-3.amazonaws.com"];

/// AWS, and the way to it.
struct Aws {
    server: TestServer,
    /// Where the proxy was asked to connect to.
    asked: Arc<Mutex<Vec<String>>>,
    proxy: String,
    authority: tempfile::NamedTempFile,
}

impl Aws {
    /// Answers by this whoever asks for the bucket in the wrong region.
    async fn start(elsewhere: fn(usize) -> Response) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let server = TestServer::start(move |request| async move { answer(&request, elsewhere) }).await;
        let key = rcgen::KeyPair::generate().unwrap();
        let names = NAMES.map(str::to_owned).to_vec();
        let certificate = rcgen::CertificateParams::new(names).unwrap().self_signed(&key).unwrap();
        let authority = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(authority.path(), certificate.pem()).unwrap();
        let chain = vec![CertificateDer::from_pem_slice(certificate.pem().as_bytes()).unwrap()];
        let key = PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes()).unwrap();
        let config = ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxy = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (acceptor, address, heard) =
            (TlsAcceptor::from(Arc::new(config)), server.address(), asked.clone());
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let (acceptor, heard) = (acceptor.clone(), heard.clone());
                tokio::spawn(async move {
                    let (target, socket) = connected(socket).await;
                    heard.lock().unwrap().push(target);
                    let mut inside = acceptor.accept(socket).await.unwrap();
                    let mut server = TcpStream::connect(address).await.unwrap();
                    let _ = copy_bidirectional(&mut inside, &mut server).await;
                });
            }
        });
        Self { server, asked, proxy, authority }
    }

    /// The rows of the one object, as somebody reads them who tells no endpoint.
    async fn read(&self, more: &Json) -> towpath_core::Result<Vec<Json>> {
        let mut options = json!({
            "bucket": "landing", "path": "a.csv", "access_key_id": "towpath", "secret_access_key": "hush",
            "proxy": self.proxy, "ca_certificate": self.authority.path(),
        });
        options.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let found = scan(Prefix::CONNECTOR, &context(), options, &towpath_core::ScanRequest::default()).await;
        found.map(|found| found.rows())
    }
}

/// Lets a client through that asks for a connection, and tells whereto.
async fn connected(mut socket: TcpStream) -> (String, TcpStream) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(socket.read_u8().await.unwrap());
    }
    socket.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
    let head = String::from_utf8(head).unwrap();
    (head.split(' ').nth(1).unwrap().to_owned(), socket)
}

/// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_HeadBucket.html>
fn answer(request: &Request, elsewhere: fn(usize) -> Response) -> Response {
    let signed = request.header("authorization").unwrap_or_default();
    match (request.method.as_str(), request.header("host").unwrap_or_default()) {
        ("HEAD", "s3.us-east-1.amazonaws.com") if request.path == "/landing" => elsewhere(request.attempt),
        (method, "landing.s3.eu-west-3.amazonaws.com") if signed.contains("/eu-west-3/s3/aws4_request") => {
            let object = Response::text("n\n1\n").header("etag", "\"x\"");
            let object = object.header("last-modified", "Sat, 28 Nov 2026 00:00:00 GMT");
            match (method, request.header("range")) {
                ("GET", Some(_)) => object.with_status(206).header("content-range", "bytes 0-3/4"),
                _ => object,
            }
        }
        _ => Response::status(400),
    }
}

/// An answer to `HEAD`, which has no body.
fn told(status: u16) -> Response {
    Response::status(status).header("x-amz-bucket-region", REGION)
}

#[tokio::test]
async fn a_bucket_tells_where_it_is_whatever_the_environment_says_and_however_it_refuses() {
    let name = "region::a_bucket_tells_where_it_is_whatever_the_environment_says_and_however_it_refuses";
    if !is_inside() {
        return run(name, vec![("AWS_REGION", "ap-south-1".to_owned())]).await;
    }
    for elsewhere in [|_| told(301), |_| told(400), |_| told(403), |_| told(200)] {
        let aws = Aws::start(elsewhere).await;
        assert_eq!(aws.read(&json!({})).await.unwrap(), [json!({"n": 1})]);
        let asked = aws.asked.lock().unwrap().clone();
        assert_eq!(asked[0], "s3.us-east-1.amazonaws.com:443");
        let heads = aws.server.requests();
        let heads = heads.iter().filter(|asked| asked.request.path == "/landing").count();
        assert_eq!(heads, 1, "it is asked once");
    }
}

#[tokio::test]
async fn a_server_that_cannot_tell_now_is_asked_again() {
    let aws = Aws::start(|attempt| if attempt < 3 { Response::status(503) } else { told(301) }).await;
    assert_eq!(aws.read(&json!({})).await.unwrap(), [json!({"n": 1})]);
    let away = Aws::start(|_| Response::status(503)).await;
    let refused = error(away.read(&json!({})).await);
    assert_eq!(refused.kind(), ErrorKind::Unavailable);
    assert!(refused.to_string().contains("set `region`"), "{refused}");
}

#[tokio::test]
async fn a_region_of_the_options_is_not_asked_for() {
    let aws = Aws::start(|_| Response::status(500)).await;
    assert_eq!(aws.read(&json!({"region": REGION})).await.unwrap(), [json!({"n": 1})]);
}

#[tokio::test]
async fn a_wrong_region_of_the_options_is_an_error_that_names_the_right_one() {
    // <https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html>
    let moved = "<Error><Code>PermanentRedirect</Code><Message>The bucket you are attempting to access must be addressed \
                 using the specified endpoint.</Message></Error>";
    let malformed = "<Error><Code>AuthorizationHeaderMalformed</Code><Message>The authorization header is malformed; the \
                     region 'us-west-2' is wrong; expecting 'eu-west-3'</Message><Region>eu-west-3</Region></Error>";
    let prefix = Prefix::new().await;
    // The answer to `HEAD`, which a key without wildcards asks for, has no body.
    for (path, answer) in [
        ("*.csv", told(301).body(moved)),
        ("a.csv", told(301).body(moved)),
        ("*.csv", Response::status(400).body(malformed)),
        ("a.csv", told(400).body(malformed)),
    ] {
        let server = TestServer::start(move |_| {
            let answer = answer.clone();
            async move { answer }
        })
        .await;
        let options = json!({"endpoint": server.url(""), "region": "us-west-2"});
        let refused = error(prefix.read(path, &options).await);
        assert_eq!(refused.kind(), ErrorKind::Config);
        assert!(refused.to_string().contains("set `region: eu-west-3`"), "{refused}");
    }
}
