//! JSON Web Tokens that we sign: as they are, and exchanged for access tokens.

use std::time::Duration;

use data_encoding::BASE64URL_NOPAD;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, EcdsaKeyPair, KeyPair, RSA_PKCS1_2048_8192_SHA256,
    RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512, RsaKeyPair, UnparsedPublicKey,
    VerificationAlgorithm,
};
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use serde_json::json;
use towpath_core::{ErrorKind, Json};
use towpath_testkit::http::{Request, Response, TestServer};

use crate::auth::{form, text};
use crate::signatures::{open, sent, server};
use crate::support::{context, error, ids, open_with, read, with};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/certificates");

const JWT: &str = "eyJhbGciOiJIUzI1NiIsImtpZCI6ImsxIiwidHlwIjoiSldUIn0.\
                   eyJhdWQiOiIvYWRtaW4vIiwiZXhwIjoxNzk1NzY2NzAwLCJpYXQiOjE3OTU3NjY0MDB9.\
                   1PGnmHMAR3RBNmn4ifQ7WZ2Rzqjs75eyuz5LC-htEsE";

pub(crate) fn jwt(more: Json) -> Json {
    let mut auth = json!({
        "type": "jwt",
        "secret": "68757368206875736821",
        "secret_in": "hex",
        "key_id": "k1",
        "claims": {"aud": "/admin/"},
    });
    let Json::Object(more) = more else { panic!("options are an object") };
    auth.as_object_mut().unwrap().extend(more);
    auth
}

#[tokio::test]
async fn a_web_token_is_signed_and_sent() {
    let server = server().await;
    let request = sent(&server, "/", jwt(json!({}))).await;
    assert_eq!(request.header("authorization"), Some(format!("Bearer {JWT}").as_str()));
    // The secret says the same in each of its forms.
    for (form, secret) in [("text", "hush hush!"), ("base64", "aHVzaCBodXNoIQ==")] {
        let request = sent(&server, "/", jwt(json!({"secret": secret, "secret_in": form}))).await;
        assert_eq!(request.header("authorization"), Some(format!("Bearer {JWT}").as_str()), "{form}");
    }
    let send = json!({"name": "Authorization", "value": "Ghost {token}"});
    let request = sent(&server, "/", jwt(json!({ "send": send }))).await;
    assert_eq!(request.header("authorization"), Some(format!("Ghost {JWT}").as_str()));
    let send = json!({"name": "jwt", "in": "query"});
    let request = sent(&server, "/?a=1", jwt(json!({ "send": send }))).await;
    assert_eq!(request.query, format!("a=1&jwt={JWT}"));
}

#[tokio::test]
async fn a_web_token_is_signed_again_before_it_expires() {
    let server = server().await;
    let auth = jwt(json!({"expires_in": "100s"}));
    let (opened, clock) = open(with(server.url("/"), json!({ "auth": auth }))).await;
    for seconds in [0, 80, 95] {
        *clock.0.lock().unwrap() = seconds;
        opened.rows().await.unwrap();
    }
    let tokens: Vec<_> =
        server.requests().iter().map(|r| r.request.header("authorization").unwrap().to_owned()).collect();
    assert!(tokens[0] == tokens[1] && tokens[1] != tokens[2], "{tokens:?}");
}

/// The same with these options instead of the secret.
fn with_key(more: Json) -> Json {
    let mut auth = jwt(more);
    auth.as_object_mut().unwrap().remove("secret");
    auth
}

fn file(name: &str) -> String {
    format!("{FOLDER}/{name}")
}

/// The public key that belongs to a file of ours.
fn public_key(name: &str) -> Vec<u8> {
    let key = PrivateKeyDer::from_pem_file(file(name)).unwrap();
    let random = ring::rand::SystemRandom::new();
    let curve = |algorithm| {
        let pair = EcdsaKeyPair::from_pkcs8(algorithm, key.secret_der(), &random);
        pair.map(|pair| pair.public_key().as_ref().to_vec())
    };
    match name {
        "p256.key" => curve(&ring::signature::ECDSA_P256_SHA256_FIXED_SIGNING).unwrap(),
        "p384.key" => curve(&ring::signature::ECDSA_P384_SHA384_FIXED_SIGNING).unwrap(),
        _ => RsaKeyPair::from_pkcs8(key.secret_der()).unwrap().public().as_ref().to_vec(),
    }
}

/// Head and claims of a token that was signed with the private key of a file.
fn verified(token: &str, algorithm: &'static dyn VerificationAlgorithm, key: &str) -> (Json, Json) {
    let (message, signature) = token.rsplit_once('.').unwrap();
    let signature = BASE64URL_NOPAD.decode(signature.as_bytes()).unwrap();
    UnparsedPublicKey::new(algorithm, public_key(key)).verify(message.as_bytes(), &signature).unwrap();
    let (head, claims) = message.split_once('.').unwrap();
    let [head, claims] = [head, claims].map(|part| BASE64URL_NOPAD.decode(part.as_bytes()).unwrap());
    (serde_json::from_slice(&head).unwrap(), serde_json::from_slice(&claims).unwrap())
}

#[tokio::test]
async fn a_web_token_is_signed_with_longer_digests() {
    let server = server().await;
    for (algorithm, expected) in [
        ("HS384", "IoWoX0KZdVu8bfz5YrEAeP7Tur9tQzT4vk0hgzvpA4zI50v_ugHaguDoQYhiVMS4"),
        ("HS512", "iMvLEfn_7zO0E32vzVZgv-1a2VMCaz1OkrsIxkYwPJhLA-3D1YgopddlH2gzmJt4tvQ74pkGb994hzQwqMHNlQ"),
    ] {
        let request = sent(&server, "/", jwt(json!({"algorithm": algorithm}))).await;
        let token = request.header("authorization").unwrap().to_owned();
        assert_eq!(token.rsplit_once('.').unwrap().1, expected, "{algorithm}");
    }
}

#[tokio::test]
async fn a_web_token_is_signed_with_a_private_key() {
    let server = server().await;
    let algorithms: [(_, &'static dyn VerificationAlgorithm, _, _); 8] = [
        ("RS256", &RSA_PKCS1_2048_8192_SHA256, "rsa.key", "rsa.key"),
        ("RS256", &RSA_PKCS1_2048_8192_SHA256, "rsa.key", "rsa-pkcs1.key"),
        ("RS384", &RSA_PKCS1_2048_8192_SHA384, "rsa.key", "rsa.key"),
        ("RS512", &RSA_PKCS1_2048_8192_SHA512, "rsa.key", "rsa.key"),
        ("ES256", &ECDSA_P256_SHA256_FIXED, "p256.key", "p256.key"),
        ("ES256", &ECDSA_P256_SHA256_FIXED, "p256.key", "p256-sec1.key"),
        ("ES384", &ECDSA_P384_SHA384_FIXED, "p384.key", "p384.key"),
        ("ES384", &ECDSA_P384_SHA384_FIXED, "p384.key", "p384-sec1.key"),
    ];
    for (algorithm, verify, known, used) in algorithms {
        let inline = std::fs::read_to_string(file(used)).unwrap();
        for key in [json!({"private_key": inline}), json!({"private_key_file": file(used)})] {
            let mut auth = with_key(key);
            // RS256 is what is usual.
            if algorithm != "RS256" {
                auth["algorithm"] = json!(algorithm);
            }
            let request = sent(&server, "/", auth).await;
            let token = request.header("authorization").unwrap().strip_prefix("Bearer ").unwrap();
            let (head, claims) = verified(token, verify, known);
            assert_eq!(head, json!({"alg": algorithm, "kid": "k1", "typ": "JWT"}));
            assert_eq!(claims, json!({"aud": "/admin/", "iat": 1_795_766_400, "exp": 1_795_766_700}));
        }
    }
}

/// A server that exchanges each signed token once, and what it said.
async fn exchange() -> TestServer {
    TestServer::start(|request: Request| async move {
        if request.path != "/token" {
            let known = request.header("authorization") == Some("Bearer access");
            return if known { Response::json(&json!([{"id": 0}])) } else { Response::status(401) };
        }
        if form(&request).contains("scope=refused") {
            return Response::json(&json!({"error": "invalid_grant", "error_description": "Invalid JWT"}))
                .with_status(400);
        }
        let answer = json!({"access_token": "access", "token_type": "Bearer", "expires_in": 3600});
        Response::json(&answer).delay(Duration::from_millis(20))
    })
    .await
}

fn assertions(server: &TestServer) -> Vec<(String, Json, Json)> {
    let requests = server.requests().into_iter().map(|recorded| recorded.request);
    requests
        .filter(|request| request.path == "/token")
        .map(|request| {
            let form = form(&request);
            let (fields, token) = form.split_once("&assertion=").unwrap();
            let (head, claims) = verified(token, &RSA_PKCS1_2048_8192_SHA256, "rsa.key");
            (fields.to_owned(), head, claims)
        })
        .collect()
}

#[tokio::test]
async fn a_signed_token_is_exchanged_for_an_access_token_once_and_again_before_it_expires() {
    let server = exchange().await;
    let auth = json!({
        "type": "oauth2_jwt_bearer",
        "token_url": server.url("/token"),
        "issuer": "robot@example.com",
        "subject": "ann@example.com",
        "scopes": ["read", "write"],
        "claims": {"tenant": 7},
        "private_key_file": file("rsa.key"),
        "key_id": "k1",
        "expires_in": "10m",
        "params": {"client_id": "c"},
    });
    let (opened, clock) = open(with(server.url("/items"), json!({ "auth": auth }))).await;
    let both = tokio::join!(opened.rows(), opened.rows());
    assert_eq!((both.0.unwrap(), both.1.unwrap()), (ids(0..1), ids(0..1)));
    assert_eq!(assertions(&server).len(), 1);
    *clock.0.lock().unwrap() = 3590;
    opened.rows().await.unwrap();
    let assertions = assertions(&server);
    assert_eq!(assertions.len(), 2);
    let grant = "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&client_id=c";
    let mut names = Vec::new();
    for ((fields, head, mut claims), issued) in assertions.into_iter().zip([1_795_766_400_u64, 1_795_769_990])
    {
        assert_eq!(fields, grant);
        assert_eq!(head, json!({"alg": "RS256", "kid": "k1", "typ": "JWT"}));
        names.push(claims.as_object_mut().unwrap().remove("jti").unwrap());
        let expected = json!({
            "iss": "robot@example.com",
            "sub": "ann@example.com",
            "aud": server.url("/token"),
            "scope": "read write",
            "tenant": 7,
            "iat": issued,
            "exp": issued + 600,
        });
        assert_eq!(claims, expected);
    }
    assert_ne!(names[0], names[1]);
}

#[tokio::test]
async fn the_key_file_of_a_service_account_says_all_that_is_needed() {
    let server = exchange().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("account.json");
    let account = json!({
        "type": "service_account",
        "project_id": "p",
        "private_key_id": "of-the-file",
        "private_key": std::fs::read_to_string(file("rsa.key")).unwrap(),
        "client_email": "robot@p.iam.example.com",
        "token_uri": server.url("/token"),
    });
    std::fs::write(&path, account.to_string()).unwrap();
    let auth =
        json!({"type": "oauth2_jwt_bearer", "service_account_file": path, "audience": "https://other"});
    read(with(server.url("/"), json!({ "auth": auth }))).await.unwrap();
    let (_, head, claims) = assertions(&server).remove(0);
    assert_eq!(head["kid"], "of-the-file");
    assert_eq!(
        (&claims["iss"], &claims["aud"]),
        (&json!("robot@p.iam.example.com"), &json!("https://other"))
    );
}

#[tokio::test]
async fn an_exchange_that_is_refused_says_why_and_shows_no_key() {
    let server = exchange().await;
    let auth = json!({
        "type": "oauth2_jwt_bearer",
        "token_url": server.url("/token"),
        "issuer": "robot",
        "algorithm": "ES256",
        "private_key_file": file("p256.key"),
        "params": {"scope": "refused"},
    });
    let refused = error(with(server.url("/"), json!({ "auth": auth }))).await;
    assert_eq!(refused.kind(), ErrorKind::Unauthenticated);
    assert_eq!(refused.detail_value("reason"), Some("invalid_grant: Invalid JWT"));
    assert!(!text(&refused).contains("PRIVATE") && !text(&refused).contains("eyJ"), "{refused:?}");
}

#[tokio::test]
async fn keys_that_cannot_sign_are_refused_when_they_are_opened() {
    let (cx, _) = context();
    let exchange = |more: Json| {
        let mut auth = json!({"type": "oauth2_jwt_bearer", "issuer": "i", "token_url": "http://a/t"});
        auth.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        auth
    };
    let rsa = json!(file("rsa.key"));
    for (auth, message) in [
        (with_key(json!({})), "HS256 signs with a secret"),
        (jwt(json!({"algorithm": "RS256"})), "RS256 signs with a private key"),
        (
            jwt(json!({"private_key_file": rsa})),
            "a token is signed with `secret` or with a private key, and not with both",
        ),
        (
            with_key(json!({"private_key": "hush", "private_key_file": rsa})),
            "`private_key` and `private_key_file` cannot both be set",
        ),
        (with_key(json!({"private_key": "hush"})), "the private key is no PEM, or has a password"),
        (
            with_key(json!({"private_key_file": rsa, "algorithm": "ES256"})),
            "the private key cannot sign with ES256",
        ),
        (
            with_key(json!({"private_key_file": file("p256.key"), "algorithm": "RS512"})),
            "the private key cannot sign with RS512",
        ),
        (jwt(json!({"expires_in": "0s"})), "`expires_in` is less than a second"),
        (exchange(json!({})), "RS256 signs with a private key"),
        (exchange(json!({"private_key_file": rsa, "issuer": null})), "`auth.issuer` is missing"),
        (exchange(json!({"private_key_file": rsa, "token_url": null})), "`auth.token_url` is missing"),
        (
            exchange(json!({"service_account_file": file("rsa.key")})),
            "`service_account_file` is no key file of a service account",
        ),
    ] {
        let Err(error) = open_with(with("http://a/", json!({ "auth": auth })), &cx).await else {
            panic!("{auth} was taken")
        };
        assert_eq!((error.kind(), error.message()), (ErrorKind::Config, message), "{auth}");
        assert!(!text(&error).contains("hush") && !text(&error).contains("PRIVATE"), "{error:?}");
    }
    let missing = with_key(json!({"private_key_file": file("nothing.key")}));
    let Err(error) = open_with(with("http://a/", json!({ "auth": missing })), &cx).await else { panic!() };
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.to_string().contains("nothing.key"), "{error}");
}
