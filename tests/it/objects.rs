//! Objects of a real server, by the command.

use std::io::{Read, Write};
use std::net::TcpStream;

use serde_json::json;
use towpath_tests::Project;
use url::Url;

/// The bucket that needs no credentials.
pub(crate) const BUCKET: &str = "public";

/// The port of the server.
pub(crate) fn port() -> u16 {
    let url = std::env::var("TOWPATH_TEST_S3_URL")
        .expect("these tests need a server: run them by `cargo xtask test`, or set TOWPATH_TEST_S3_URL");
    Url::parse(&url).ok().and_then(|url| url.port()).expect("TOWPATH_TEST_S3_URL is a URL with a port")
}

/// Writes objects below a prefix of their own, and tells its name.
pub(crate) fn seeded<T: AsRef<[u8]>>(objects: &[(&str, T)]) -> String {
    let prefix = format!("test-{:016x}", fastrand::u64(..));
    for (key, content) in objects {
        let content = content.as_ref();
        let mut server = TcpStream::connect(("127.0.0.1", port())).expect("the server answers");
        let length = content.len();
        let head = format!(
            "PUT /{BUCKET}/{prefix}/{key} HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n"
        );
        server.write_all(head.as_bytes()).and_then(|()| server.write_all(content)).expect("it listens");
        let mut answer = String::new();
        server.read_to_string(&mut answer).expect("it says something");
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
    prefix
}

/// The options of a connection to the server, behind a `?`.
fn parameters() -> String {
    format!("endpoint=http%3A%2F%2F127.0.0.1%3A{}&anonymous=true", port())
}

#[test]
fn objects_are_loaded_once_and_only_new_ones_later() {
    let prefix = seeded(&[("day=1/a.csv", "id\n1\n2\n"), ("day=2/a.csv", "id\n3\n")]);
    let project = Project::new();
    project.write(
        "pipeline.yaml",
        format!(
            "name: objects\nconnections:\n  lake:\n    connector: s3\n    endpoint: http://127.0.0.1:{}\n    \
             anonymous: true\n    bucket: {BUCKET}\nstreams:\n  days:\n    source:\n      connection: lake\n      \
             path: \"{prefix}/**/*.csv\"\n      incremental: true\n    \
             sink: {{ connector: file, path: \"out/{{part}}.ndjson\" }}\n    write_disposition: append\n",
            port()
        ),
    );
    for _ in 0..2 {
        let (ended, _) = project.run();
        assert_eq!(ended.code, Some(0), "{ended:?}");
        assert_eq!(project.ids("out"), [1, 2, 3]);
    }
    // The two folders are read at once, so their files come in any order.
    let rows = project.rows("out");
    assert_eq!(rows.iter().find(|row| row["id"] == 3).map(|row| &row["day"]), Some(&json!(2)));
}

#[test]
fn a_uri_is_copied_and_looked_into() {
    let prefix = seeded(&[("part-1.csv", "id\n1\n"), ("part-2.csv", "id\n2\n")]);
    let project = Project::new();
    let uri = format!("s3://{BUCKET}/{prefix}/part-*.csv?{}", parameters());
    let copied = project.towpath(&["copy", &uri, "file:out/all.ndjson"]);
    assert_eq!(copied.code, Some(0), "{copied:?}");
    assert_eq!(project.ids("out"), [1, 2]);
    let found = project.towpath(&["discover", &uri, "--pipeline"]);
    assert_eq!(found.code, Some(0), "{found:?}");
    assert!(found.stdout.contains(&format!("s3://{BUCKET}/{prefix}/part-*.csv")), "{}", found.stdout);
    project.write("found.yaml", &found.stdout);
    let plan = project.towpath(&["plan", "found.yaml"]);
    assert_eq!(plan.code, Some(0), "{plan:?}");
}

#[test]
fn objects_are_copied_as_they_are() {
    let prefix = seeded(&[("a.bin", "not a table"), ("deep/b.bin", "neither")]);
    let project = Project::new();
    project.write(
        "pipeline.yaml",
        format!(
            "name: files\nstreams:\n  files:\n    source: {{ connector: s3, endpoint: \"http://127.0.0.1:{}\", anonymous: true, \
             path: \"s3://{BUCKET}/{prefix}/\", format: bytes }}\n    \
             sink: {{ connector: file, path: out/, format: bytes }}\n",
            port()
        ),
    );
    let (ended, _) = project.run();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(
        (project.read("out/a.bin"), project.read("out/deep/b.bin")),
        ("not a table".into(), "neither".into())
    );
}
