//! The server that requests go to.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};

use super::Bench;

/// A server that runs until this is dropped.
pub(super) struct Server {
    pub(super) address: String,
    child: Child,
}

impl Server {
    pub(super) fn start(bench: &Bench) -> Result<Self> {
        Self::run(bench, &["serve"])
    }

    /// A proxy in front of a server that gives each connection only so many bytes a second.
    pub(super) fn proxy(bench: &Bench, target: &str, per_second: u64) -> Result<Self> {
        Self::run(bench, &["proxy", target, "--per-second", &per_second.to_string()])
    }

    /// A proxy in front of a server that everything takes so long to get through to.
    pub(super) fn far_away(bench: &Bench, target: &str, delay: Duration) -> Result<Self> {
        Self::run(bench, &["proxy", target, "--delay", &delay.as_millis().to_string()])
    }

    fn run(bench: &Bench, arguments: &[&str]) -> Result<Self> {
        let mut command = Command::new(&bench.baselines);
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().context("cannot start the server")?;
        let output = child.stdout.take().context("the server has no output")?;
        let mut address = String::new();
        BufReader::new(output).read_line(&mut address)?;
        Ok(Self { address: address.trim().to_owned(), child })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // The end of its input is its end. Without it, there is nothing left to end.
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}
