//! A process, told from a later one that got the same number.

use std::process::Command;
use std::thread::sleep;
use std::time::Duration;
use std::{fs, io};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};

/// How long a server may take to end before it is killed, in steps of [`STEP`].
const STEPS: usize = 200;
const STEP: Duration = Duration::from_millis(50);

/// A process id with the time at which the process started.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct ProcessId {
    pid: u32,
    started: String,
}

impl ProcessId {
    /// The process that has this number now.
    pub(super) fn of(pid: u32) -> Result<Self> {
        let started = start_time(pid).with_context(|| format!("process {pid} has ended"))?;
        Ok(Self { pid, started })
    }

    pub(super) fn pid(&self) -> u32 {
        self.pid
    }

    pub(super) fn is_alive(&self) -> bool {
        start_time(self.pid).is_some_and(|started| started == self.started)
    }

    /// Asks the process to end, waits until it has, and kills it if it does not.
    pub(super) fn stop(&self, signal: Signal) -> Result<()> {
        for signal in [signal, Signal::KILL] {
            self.signal(signal)?;
            for _ in 0..STEPS {
                if !self.is_alive() {
                    return Ok(());
                }
                sleep(STEP);
            }
        }
        bail!("process {} does not end", self.pid)
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        let pid = i32::try_from(self.pid).ok().and_then(Pid::from_raw);
        let pid = pid.with_context(|| format!("{} is no process id", self.pid))?;
        if !self.is_alive() {
            return Ok(());
        }
        kill_process(pid, signal)
            .map_err(io::Error::from)
            .with_context(|| format!("cannot signal process {}", self.pid))
    }
}

/// When the process started, in the system's own notation; nothing if there is none or it is a zombie.
fn start_time(pid: u32) -> Option<String> {
    if cfg!(target_os = "linux") {
        return parse_stat(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?);
    }
    let output = Command::new("ps").args(["-o", "stat=,lstart=", "-p", &pid.to_string()]).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let text = text.trim();
    (!text.is_empty() && !text.starts_with('Z'))
        .then(|| text.split_once(' ').map(|(_, start)| start.trim().to_owned()))?
}

/// The start time of a line of `/proc/PID/stat`, whose second field may itself hold spaces and parentheses.
fn parse_stat(line: &str) -> Option<String> {
    let (_, fields) = line.rsplit_once(')')?;
    let mut fields = fields.split_whitespace();
    let state = fields.next()?;
    // The start time is field 22; the state, which is gone already, is field 3.
    let started = fields.nth(18)?;
    (!matches!(state, "Z" | "X")).then(|| started.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_spaces_and_parentheses_does_not_move_the_start_time() {
        let line = "42 (a) b (c) S 1 42 42 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 987654 1 2";
        assert_eq!(parse_stat(line).as_deref(), Some("987654"));
        assert_eq!(parse_stat(&line.replace(" S ", " Z ")), None);
    }

    #[test]
    fn a_reused_number_is_not_the_same_process() {
        let this = ProcessId::of(std::process::id()).unwrap();
        assert!(this.is_alive());
        let earlier = ProcessId { started: "long ago".into(), ..this };
        assert!(!earlier.is_alive());
        earlier.stop(Signal::KILL).unwrap();
    }

    #[test]
    fn stopping_ends_exactly_that_process() {
        let mut child = Command::new("sleep").arg("600").spawn().unwrap();
        let process = ProcessId::of(child.id()).unwrap();
        process.stop(Signal::TERM).unwrap();
        assert!(!process.is_alive());
        child.wait().unwrap();
    }
}
