//! Starting a server on a free port, and waiting until it answers.

use std::process::{Child, Command};
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Result, bail};

use super::site::{Site, free_port};

/// Another program may take the port between the choice and the start, so the start is tried again.
const ATTEMPTS: usize = 3;

/// How long the server may take to answer, in steps of [`STEP`].
const STEPS: usize = 1200;
const STEP: Duration = Duration::from_millis(50);

/// A server that answers.
#[derive(Debug)]
pub(super) struct Started {
    pub(super) pid: u32,
    pub(super) port: u16,
}

/// Starts the server that `command` makes for a port, and waits until it says by a file of its own that it is ready.
pub(super) fn start(
    site: &Site,
    command: impl Fn(u16) -> Result<Command>,
    ready: impl Fn() -> bool,
) -> Result<Started> {
    let mut attempt = 1;
    loop {
        let port = free_port()?;
        let mut server = site.spawn(&mut command(port)?)?;
        match wait(site, &mut server, &ready) {
            Ok(()) => return Ok(Started { pid: server.id(), port }),
            Err(error) if attempt == ATTEMPTS => return Err(error),
            Err(_) => attempt += 1,
        }
    }
}

fn wait(site: &Site, server: &mut Child, ready: impl Fn() -> bool) -> Result<()> {
    for _ in 0..STEPS {
        if let Some(status) = server.try_wait()? {
            bail!("the server ended at once: {status}\n{}", site.log_tail());
        }
        if ready() {
            return Ok(());
        }
        sleep(STEP);
    }
    server.kill()?;
    server.wait()?;
    bail!("the server did not get ready\n{}", site.log_tail())
}

#[cfg(test)]
mod tests {
    use super::super::process_id::ProcessId;
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn a_server_that_cannot_start_is_tried_again_and_then_shown_with_its_log() {
        let folder = tempfile::tempdir().unwrap();
        let site = Site::for_tests(folder.path());
        let count = folder.path().join("count");
        let script = format!("echo tried >>{}; echo no such luck; exit 3", count.display());
        let error = start(&site, |_| Ok(shell(&script)), || false).unwrap_err().to_string();
        assert!(error.starts_with("the server ended at once: exit status: 3"), "{error}");
        assert!(error.ends_with("no such luck"), "{error}");
        assert_eq!(std::fs::read_to_string(count).unwrap().lines().count(), ATTEMPTS);
    }

    #[test]
    fn a_server_is_started_when_it_says_that_it_is_ready() {
        let folder = tempfile::tempdir().unwrap();
        let site = Site::for_tests(folder.path());
        let started = start(
            &site,
            |port| Ok(shell(&format!("echo ready on {port}; exec sleep 600"))),
            || site.log_text().contains("ready"),
        )
        .unwrap();
        let log = site.log_text();
        ProcessId::of(started.pid).unwrap().stop(rustix::process::Signal::TERM).unwrap();
        assert_eq!(log, format!("ready on {}\n", started.port));
    }
}
