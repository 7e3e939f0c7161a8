//! How long a program runs, and what it takes.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};

use crate::process;

/// How often a program's memory is looked at. The system itself keeps the peak: only what it grew since the last look
/// before its end can be missed.
const LOOK: Duration = Duration::from_millis(5);
/// In what the system counts processor time: a hundredth of a second wherever Linux runs.
const TICKS_PER_SECOND: u64 = 100;

/// One run of a program.
#[derive(Clone, Debug)]
pub(super) struct Measured {
    pub(super) wall: Duration,
    /// Processor time in the program and in the system.
    pub(super) cpu: Duration,
    /// The most memory that was resident, in bytes.
    pub(super) peak: u64,
    /// What it wrote to stderr.
    pub(super) said: String,
}

/// Runs a program to its end; what it prints is left out.
pub(super) fn measure(command: &mut Command, folder: &Path) -> Result<Measured> {
    let errors = folder.join("stderr.txt");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(&errors)?);
    let started = Instant::now();
    let mut child =
        command.spawn().with_context(|| format!("cannot start `{}`", process::display(command)))?;
    let pid = Pid::from_child(&child);
    let (done, peak) = (AtomicBool::new(false), AtomicU64::new(0));
    let (wall, cpu) = thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Relaxed) {
                peak.fetch_max(peak_memory(pid).unwrap_or(0), Relaxed);
                thread::sleep(LOOK);
            }
        });
        // It stays until its processor time has been read.
        let waited = waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT);
        let wall = started.elapsed();
        done.store(true, Relaxed);
        waited?;
        Ok::<_, anyhow::Error>((wall, processor_time(pid)?))
    })?;
    let status = child.wait()?;
    let said = fs::read_to_string(&errors)?;
    if !status.success() {
        bail!("`{}` failed: {status}\n{}", process::display(command), said.trim_end());
    }
    Ok(Measured { wall, cpu, peak: peak.into_inner(), said })
}

fn peak_memory(pid: Pid) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{}/status", pid.as_raw_pid())).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib << 10)
}

fn processor_time(pid: Pid) -> Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_pid()))?;
    let ticks = ticks(&stat).context("/proc has another form than expected")?;
    Ok(Duration::from_millis(ticks * 1000 / TICKS_PER_SECOND))
}

/// The ticks in the program and in the system: the 14th and 15th field. The second one is the name in brackets, in which
/// anything may stand.
fn ticks(stat: &str) -> Option<u64> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

/// A program that is measured, made anew for each run.
pub(super) type Contestant<'a> = Box<dyn FnMut() -> Result<Command> + 'a>;

/// Runs programs in turn, so that what disturbs the machine meets all of them, and returns the median run of each.
pub(super) fn compare(
    folder: &Path,
    runs: usize,
    contestants: &mut [(&str, Contestant<'_>)],
) -> Result<Vec<Measured>> {
    let mut all = vec![Vec::new(); contestants.len()];
    for _ in 0..runs {
        for (measured, (name, prepare)) in all.iter_mut().zip(contestants.iter_mut()) {
            let run = measure(&mut prepare()?, folder)?;
            eprintln!(
                "{:>24}  {:>7.2} s  {:>7.2} s CPU  {:>6} MB",
                name,
                run.wall.as_secs_f64(),
                run.cpu.as_secs_f64(),
                run.peak / 1_000_000
            );
            measured.push(run);
        }
    }
    Ok(all.into_iter().map(median).collect())
}

/// The run in the middle.
pub(super) fn median(mut runs: Vec<Measured>) -> Measured {
    runs.sort_by_key(|run| run.wall);
    let middle = runs.len() / 2;
    runs.swap_remove(middle)
}

/// The same command on these processors only.
pub(super) fn pinned(command: &Command, processors: &str) -> Command {
    let mut pinned = Command::new("taskset");
    pinned.args(["-c", processors]).arg(command.get_program()).args(command.get_args());
    pinned.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    pinned
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_measured_to_its_end() {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new("sh");
        let run = measure(command.args(["-c", "echo told >&2; sleep 0.1"]), folder.path()).unwrap();
        assert_eq!(run.said, "told\n");
        assert!(run.wall >= Duration::from_millis(100), "{run:?}");
        assert!(run.peak > 100_000, "{run:?}");
    }

    #[test]
    fn a_failure_tells_what_the_program_said() {
        let folder = tempfile::tempdir().unwrap();
        let error =
            measure(Command::new("sh").args(["-c", "echo broken >&2; exit 3"]), folder.path()).unwrap_err();
        assert!(error.to_string().ends_with("broken"), "{error}");
    }

    #[test]
    fn processor_time_is_found_behind_a_strange_name() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194560 100 0 0 0 25 17 0 0 20 0 1 0 100 0 0";
        assert_eq!(ticks(stat), Some(42));
    }

    #[test]
    fn the_median_is_the_run_in_the_middle() {
        let run = |seconds| Measured {
            wall: Duration::from_secs(seconds),
            cpu: Duration::ZERO,
            peak: 0,
            said: String::new(),
        };
        assert_eq!(median(vec![run(9), run(1), run(3)]).wall.as_secs(), 3);
    }
}
