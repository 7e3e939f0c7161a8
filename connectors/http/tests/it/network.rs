//! How servers are reached: proxies, versions of HTTP, networks that are refused.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use data_encoding::BASE64;
use futures::future::BoxFuture;
use http_body_util::Full;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use towpath_core::{ErrorKind, Json};
use towpath_testkit::http::{Request, Response, TestServer};

use crate::auth::text;
use crate::support::{always, context, error, ids, install_tls, open_with, read, with};
use crate::tls;

/// A server that takes each connection for itself.
async fn listen(serve: impl Fn(TcpStream) -> BoxFuture<'static, ()> + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            tokio::spawn(serve(socket));
        }
    });
    address
}

/// A proxy as they are in companies: everything through CONNECT, for those who say who they are.
async fn tunnel(credentials: Option<&'static str>) -> (String, Arc<Mutex<Vec<String>>>) {
    let heads = Arc::new(Mutex::new(Vec::new()));
    let seen = heads.clone();
    let address = listen(move |mut socket| {
        let heads = seen.clone();
        Box::pin(async move {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(socket.read_u8().await.unwrap());
            }
            let head = String::from_utf8(head).unwrap();
            heads.lock().unwrap().push(head.clone());
            let target = head.split(' ').nth(1).unwrap().to_owned();
            let expected = credentials.map(|known| format!("Basic {}", BASE64.encode(known.as_bytes())));
            if expected.is_some_and(|expected| !head.contains(&expected)) {
                let answer = "HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n";
                return socket.write_all(answer.as_bytes()).await.unwrap();
            }
            let Ok(mut server) = TcpStream::connect(target).await else { return };
            socket.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
            let _ = copy_bidirectional(&mut socket, &mut server).await;
        })
    })
    .await;
    (address, heads)
}

/// A proxy for everything, with name and password. It says where it was asked to go, and goes to the server.
async fn socks(server: String) -> (String, Arc<Mutex<Vec<String>>>) {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let seen = asked.clone();
    let address = listen(move |mut socket| {
        let (server, asked) = (server.clone(), seen.clone());
        Box::pin(async move {
            let mut greeting = vec![0; 2];
            socket.read_exact(&mut greeting).await.unwrap();
            let mut methods = vec![0; greeting[1].into()];
            socket.read_exact(&mut methods).await.unwrap();
            socket.write_all(&[5, if methods.contains(&2) { 2 } else { 0xff }]).await.unwrap();
            let _version = socket.read_u8().await.unwrap();
            let mut login = Vec::new();
            for _ in 0..2 {
                let mut part = vec![0; socket.read_u8().await.unwrap().into()];
                socket.read_exact(&mut part).await.unwrap();
                login.push(String::from_utf8(part).unwrap());
            }
            let good = login == ["ann", "hush pw"];
            socket.write_all(&[1, u8::from(!good)]).await.unwrap();
            if !good {
                return;
            }
            let mut request = vec![0; 4];
            socket.read_exact(&mut request).await.unwrap();
            assert_eq!(request[3], 3, "names are looked up by the proxy");
            let mut host = vec![0; socket.read_u8().await.unwrap().into()];
            socket.read_exact(&mut host).await.unwrap();
            let port = socket.read_u16().await.unwrap();
            asked.lock().unwrap().push(format!("{}:{port}", String::from_utf8(host).unwrap()));
            let mut server = TcpStream::connect(server).await.unwrap();
            socket.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]).await.unwrap();
            let _ = copy_bidirectional(&mut socket, &mut server).await;
        })
    })
    .await;
    (address, asked)
}

async fn rows() -> TestServer {
    always(Response::json(&json!([{"id": 0}]))).await
}

#[tokio::test]
async fn a_proxy_gets_requests_with_its_credentials_and_the_server_none_of_them() {
    let proxy = rows().await;
    let url = proxy.url("").replace("http://", "http://ann:hush%20pw@");
    let options = json!({"proxy": url, "auth": {"type": "bearer", "token": "t0ken"}});
    assert_eq!(read(with("http://api.invalid/items?a=1", options)).await.unwrap(), ids(0..1));
    let request = proxy.requests().remove(0).request;
    assert_eq!((request.path.as_str(), request.header("host")), ("/items", Some("api.invalid")));
    let expected = format!("Basic {}", BASE64.encode(b"ann:hush pw"));
    assert_eq!(request.header("proxy-authorization"), Some(expected.as_str()));
    assert_eq!(request.header("authorization"), Some("Bearer t0ken"));
    let server = rows().await;
    read(with(server.url("/"), json!({"proxy": "none"}))).await.unwrap();
    assert_eq!(server.requests()[0].request.header("proxy-authorization"), None);
}

#[tokio::test]
async fn tls_goes_through_a_tunnel() {
    let url = tls::server().await;
    let (proxy, heads) = tunnel(Some("ann:hush pw")).await;
    let trust = format!("{}/authority.pem", tls::FOLDER);
    let options = |proxy: String| with(url.clone(), json!({"proxy": proxy, "ca_certificate": trust}));
    assert_eq!(read(options(format!("http://ann:hush%20pw@{proxy}"))).await.unwrap(), [json!({"id": 1})]);
    let expected = url.replace("https://", "CONNECT ").replace('/', " HTTP/1.1\r\n");
    assert!(heads.lock().unwrap()[0].starts_with(&expected), "{heads:?}");
    for wrong in [format!("http://{proxy}"), format!("http://ann:hush-hush@{proxy}")] {
        let error = error(options(wrong)).await;
        assert_eq!(error.message(), "the proxy wants credentials");
        assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Unauthenticated, false));
        assert!(!text(&error).contains("hush"), "{error:?}");
    }
}

#[tokio::test]
async fn some_hosts_are_reached_without_the_proxy() {
    let (proxy, server) = (rows().await, rows().await);
    let options = |hosts: &[&str]| with(server.url("/"), json!({"proxy": proxy.url(""), "no_proxy": hosts}));
    read(options(&["internal.example", "127.0.0.0/8"])).await.unwrap();
    assert_eq!((server.requests().len(), proxy.requests().len()), (1, 0));
    read(options(&["internal.example"])).await.unwrap();
    assert_eq!((server.requests().len(), proxy.requests().len()), (1, 1));
    let alone = error(with(server.url("/"), json!({"no_proxy": ["internal.example"]}))).await;
    assert_eq!(alone.message(), "`no_proxy` names exceptions, and there is no `proxy`");
}

#[tokio::test]
async fn a_socks_proxy_may_look_up_names() {
    let server = rows().await;
    let (proxy, asked) = socks(server.address().to_string()).await;
    let options = json!({"proxy": format!("socks5h://ann:hush%20pw@{proxy}")});
    assert_eq!(read(with("http://api.invalid/items", options)).await.unwrap(), ids(0..1));
    assert_eq!(*asked.lock().unwrap(), ["api.invalid:80"]);
    let wrong =
        error(with("http://api.invalid/", json!({"proxy": format!("socks5h://ann:hush-hush@{proxy}")})))
            .await;
    assert_eq!(wrong.message(), "the proxy makes no connection to the server");
    assert!(!text(&wrong).contains("hush"), "{wrong:?}");
}

/// Runs in a process of its own, whose environment names a proxy.
#[tokio::test]
async fn reads_by_the_environment() {
    let Ok(options) = std::env::var("TOWPATH_TEST_OPTIONS") else { return };
    let rows = read(serde_json::from_str(&options).unwrap()).await;
    assert_eq!(rows.unwrap(), ids(0..1));
}

#[tokio::test]
async fn the_environment_names_a_proxy_unless_there_is_to_be_none() {
    let (proxy, server) = (rows().await, rows().await);
    for (more, by_proxy) in
        [(json!({}), 1), (json!({"proxy": "none"}), 1), (json!({"proxy": proxy.url("")}), 2)]
    {
        let mut child = std::process::Command::new(std::env::current_exe().unwrap());
        child.args(["network::reads_by_the_environment", "--exact"]);
        child.env("TOWPATH_TEST_OPTIONS", with(server.url("/"), more.clone()).to_string());
        child.env("HTTP_PROXY", proxy.url("")).env("http_proxy", proxy.url(""));
        child.env_remove("NO_PROXY").env_remove("no_proxy").env_remove("REQUEST_METHOD");
        let child = tokio::task::spawn_blocking(move || child.output()).await.unwrap().unwrap();
        assert!(child.status.success(), "{child:?}");
        assert_eq!(proxy.requests().len(), by_proxy, "{more}");
    }
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn a_proxy_that_cannot_be_one_is_refused_when_it_is_opened() {
    let (cx, _) = context();
    let wrong = "`proxy` is not the URL of a proxy";
    for (more, message) in [
        (json!({"proxy": "ftp://hush-hush@proxy:1"}), wrong),
        (json!({"proxy": "proxy:3128"}), wrong),
        (json!({"proxy": "socks5h:hush-hush"}), wrong),
        (
            json!({"proxy": "http://proxy:1", "private_networks": "refuse"}),
            "a proxy looks up names itself, so `private_networks: refuse` cannot hold",
        ),
    ] {
        let Err(error) = open_with(with("http://a/", more.clone()), &cx).await else {
            panic!("{more} was taken")
        };
        assert_eq!((error.kind(), error.message()), (ErrorKind::Config, message), "{more}");
        assert!(!text(&error).contains("hush"), "{error:?}");
    }
}

/// A server that speaks both versions over TLS and tells which one was agreed on.
async fn agreeing() -> (String, Arc<Mutex<Vec<String>>>) {
    install_tls();
    let certificate = CertificateDer::from_pem_file(format!("{}/server.pem", tls::FOLDER)).unwrap();
    let key = PrivateKeyDer::from_pem_file(format!("{}/server.key", tls::FOLDER)).unwrap();
    let config = ServerConfig::builder().with_no_client_auth().with_single_cert(vec![certificate], key);
    let mut config = config.unwrap();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let agreed = Arc::new(Mutex::new(Vec::new()));
    let told = agreed.clone();
    let address = listen(move |socket| {
        let (acceptor, told) = (acceptor.clone(), told.clone());
        Box::pin(async move {
            let Ok(stream) = acceptor.accept(socket).await else { return };
            let agreed =
                stream.get_ref().1.alpn_protocol().map(|name| String::from_utf8(name.to_vec()).unwrap());
            told.lock().unwrap().push(agreed.clone().unwrap_or_default());
            serve(stream, agreed.as_deref() == Some("h2")).await;
        })
    })
    .await;
    (format!("https://{address}/"), agreed)
}

/// One connection of a server that answers each request with a row.
async fn serve(
    stream: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    is_second: bool,
) {
    let answer = service_fn(|request: hyper::Request<hyper::body::Incoming>| async move {
        let version = format!("{:?}", request.version());
        let body = Full::<bytes::Bytes>::from(json!([{ "version": version }]).to_string());
        let mut response = hyper::Response::new(body);
        response.headers_mut().insert("content-type", "application/json".parse().unwrap());
        Ok::<_, Infallible>(response)
    });
    let stream = TokioIo::new(stream);
    let _ = if is_second {
        hyper::server::conn::http2::Builder::new(TokioExecutor::new()).serve_connection(stream, answer).await
    } else {
        hyper::server::conn::http1::Builder::new().serve_connection(stream, answer).await
    };
}

#[tokio::test]
async fn http_2_is_spoken_as_the_option_says() {
    let (url, agreed) = agreeing().await;
    for (option, version, name) in
        [("auto", "HTTP/2.0", "h2"), ("only", "HTTP/2.0", "h2"), ("never", "HTTP/1.1", "http/1.1")]
    {
        let options = json!({"http2": option, "ca_certificate": format!("{}/authority.pem", tls::FOLDER)});
        assert_eq!(
            read(with(url.clone(), options)).await.unwrap(),
            [json!({"version": version})],
            "{option}"
        );
        assert_eq!(agreed.lock().unwrap().last().unwrap(), name);
    }
}

#[tokio::test]
async fn http_2_alone_needs_no_tls() {
    let address = listen(|socket| Box::pin(serve(socket, true))).await;
    let url = format!("http://{address}/");
    let rows = read(with(url.clone(), json!({"http2": "only"}))).await.unwrap();
    assert_eq!(rows, [json!({"version": "HTTP/2.0"})]);
    // By default, a server without TLS is asked in HTTP/1.1.
    assert_eq!(error(with(url, json!({}))).await.kind(), ErrorKind::Unavailable);
}

#[tokio::test]
async fn private_networks_are_refused_on_request() {
    let server = rows().await;
    let port = server.address().port();
    let here = [
        format!("http://127.0.0.1:{port}/"),
        format!("http://localhost:{port}/"),
        // Other ways to write it.
        format!("http://2130706433:{port}/"),
        format!("http://0x7f.1:{port}/"),
        format!("http://127.0.0.1.:{port}/"),
        format!("http://[::ffff:127.0.0.1]:{port}/"),
        format!("http://0.0.0.0:{port}/"),
        "http://169.254.169.254/latest/meta-data/".to_owned(),
        "http://10.0.0.1/".to_owned(),
        "http://[fd00:ec2::254]/".to_owned(),
    ];
    for url in here {
        let error = error(with(url.clone(), json!({"private_networks": "refuse"}))).await;
        assert_eq!(error.message(), "the address lies in a private network", "{url}");
        assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::PermissionDenied, false), "{url}");
        assert!(error.to_string().contains("url: "), "{error}");
    }
    assert_eq!(server.accepted(), 0);
    for networks in [json!({}), json!({"private_networks": "allow"})] {
        assert_eq!(read(with(server.url("/"), networks)).await.unwrap(), ids(0..1));
    }
}

#[tokio::test]
async fn a_token_is_not_asked_for_in_a_private_network_either() {
    let server =
        TestServer::start(|_: Request| async { Response::json(&json!({"access_token": "t"})) }).await;
    let auth: Json = json!({
        "type": "oauth2_client_credentials",
        "token_url": server.url("/token"),
        "client_id": "ann",
        "client_secret": "hush-secret",
    });
    let options = json!({"auth": auth, "private_networks": "refuse"});
    let error = error(with("http://api.invalid/", options)).await;
    assert_eq!(error.message(), "the address lies in a private network");
    assert_eq!(server.accepted(), 0);
}
