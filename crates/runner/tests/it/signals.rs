//! SIGINT while the command waits for a server.

use std::io::{BufRead as _, BufReader};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};

/// A command that reads from a server which never answers. The connection stands, and stays open as long as it is kept.
fn waiting(arguments: &[&str]) -> (Child, TcpStream) {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let pipeline = folder.path().join("slow.yaml");
    let text = format!(
        "name: slow\nstreams:\n  a:\n    source: {{ connector: http, url: \"http://{}/a\" }}\n    sink: {{ connector: file, \
         path: \"{}/a.ndjson\" }}\n",
        server.local_addr().unwrap(),
        folder.path().display()
    );
    std::fs::write(&pipeline, text).unwrap();
    let child = Command::new(env!("CARGO_BIN_EXE_towpath"))
        .args(arguments)
        .arg(&pipeline)
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary that cargo has built runs");
    let (connection, _) = server.accept().unwrap();
    (child, connection)
}

fn interrupt(child: &Child) {
    let status = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(status.success(), "the command runs");
}

#[test]
fn a_command_that_moves_no_data_ends_with_the_first_signal() {
    let (mut child, _connection) = waiting(&["preview"]);
    interrupt(&child);
    assert_eq!(child.wait().unwrap().code(), Some(130));
}

#[test]
fn a_run_ends_at_the_second_signal_at_the_latest() {
    let (mut child, _connection) = waiting(&["run"]);
    let mut told = BufReader::new(child.stderr.take().unwrap());
    interrupt(&child);
    let mut line = String::new();
    told.read_line(&mut line).unwrap();
    assert_eq!(line, "stopping: what was read is committed; once more to stop at once\n");
    // It may have ended already; then there is nobody to interrupt.
    let _ = Command::new("kill").args(["-INT", &child.id().to_string()]).stderr(Stdio::null()).status();
    assert_eq!(child.wait().unwrap().code(), Some(130));
}
