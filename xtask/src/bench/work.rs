//! Something to be done, by Towpath and by others.

use std::fmt;

use anyhow::Result;

use crate::bench::Bench;
use crate::bench::measure::{Measured, measure, median};
use crate::bench::table::{Table, megabytes, seconds, times};

/// One table of figures: Towpath first, then what it is measured against.
pub(super) struct Work<'a> {
    /// What `--only` calls it.
    pub(super) key: &'static str,
    pub(super) name: &'static str,
    pub(super) contestants: Vec<Rival<'a>>,
    /// Fails if Towpath has not done all of the work.
    pub(super) verify: Box<dyn Fn() -> Result<()> + 'a>,
}

/// Who does the work, and how Towpath wants to compare.
pub(super) struct Rival<'a> {
    /// What `--against` calls it.
    pub(super) key: &'static str,
    pub(super) name: &'static str,
    pub(super) goal: &'static str,
    /// A peer that fails is left out; what comes with the database must not.
    pub(super) may_fail: bool,
    /// Those that take long and are far behind run once.
    pub(super) runs_once: bool,
    /// Whether one process does it all, so that its memory says something.
    pub(super) is_one_process: bool,
    pub(super) prepare: Box<dyn Fn() -> Result<std::process::Command> + 'a>,
}

impl<'a> Rival<'a> {
    pub(super) fn new(
        key: &'static str,
        name: &'static str,
        goal: &'static str,
        prepare: impl Fn() -> Result<std::process::Command> + 'a,
    ) -> Self {
        Self {
            key,
            name,
            goal,
            may_fail: false,
            runs_once: false,
            is_one_process: true,
            prepare: Box::new(prepare),
        }
    }

    pub(super) fn peer(self) -> Self {
        Self { may_fail: true, ..self }
    }

    pub(super) fn once(self) -> Self {
        Self { runs_once: true, ..self }
    }

    /// Several programs, joined by a pipe.
    pub(super) fn pipe(self) -> Self {
        Self { is_one_process: false, ..self }
    }
}

/// The figures of Towpath alone.
pub(super) struct OfTowpath {
    pub(super) name: &'static str,
    pub(super) run: Measured,
}

impl Work<'_> {
    /// Lets all do it in turn, and makes the table of their median runs.
    pub(super) fn measure(&self, bench: &Bench) -> Result<String> {
        eprintln!("{}", self.name);
        let rivals: Vec<_> = self.contestants.iter().filter(|rival| rival.takes_part(bench)).collect();
        let mut all: Vec<Result<Vec<Measured>>> = rivals.iter().map(|_| Ok(Vec::new())).collect();
        for round in 0..bench.runs.min(RUNS) {
            for (rival, runs) in rivals.iter().zip(&mut all) {
                if rival.runs_once && round > 0 {
                    continue;
                }
                let Ok(measured) = runs else { continue };
                match rival.measure(bench) {
                    Ok(run) => measured.push(run),
                    Err(error) if rival.may_fail => {
                        eprintln!("{:>24}  {error:#}", rival.name);
                        *runs = Err(error);
                    }
                    Err(error) => return Err(error),
                }
                if rival.name == TOWPATH {
                    (self.verify)()?;
                }
            }
        }
        let runs: Vec<_> = all.into_iter().map(|runs| runs.ok().map(median)).collect();
        Ok(self.table(&rivals, &runs))
    }

    fn table(&self, rivals: &[&Rival<'_>], runs: &[Option<Measured>]) -> String {
        let mut table = Table::new(&[self.name, "time", "Towpath's share", "goal", "CPU", "peak memory"]);
        let towpath = runs.first().and_then(Option::as_ref);
        for (rival, run) in rivals.iter().zip(runs) {
            let Some(run) = run else {
                let failed = ["failed", "", rival.goal, "", ""].map(str::to_owned);
                table.row(&[&[rival.name.to_owned()], &failed[..]].concat());
                continue;
            };
            let share = match towpath {
                Some(towpath) if rival.name != TOWPATH => times(towpath.wall, run.wall),
                _ => String::new(),
            };
            let one = |figure: String| if rival.is_one_process { figure } else { "-".to_owned() };
            table.row(&[
                rival.name.into(),
                seconds(run.wall),
                share,
                rival.goal.into(),
                one(seconds(run.cpu)),
                one(megabytes(run.peak)),
            ]);
        }
        table.finish()
    }

    /// One run of Towpath.
    pub(super) fn measure_towpath(&self, bench: &Bench) -> Result<OfTowpath> {
        let run = self.contestants[0].measure(bench)?;
        (self.verify)()?;
        Ok(OfTowpath { name: self.name, run })
    }
}

impl Rival<'_> {
    fn takes_part(&self, bench: &Bench) -> bool {
        self.name == TOWPATH || bench.against.is_empty() || bench.against.iter().any(|key| key == self.key)
    }

    fn measure(&self, bench: &Bench) -> Result<Measured> {
        let run = measure(&mut (self.prepare)()?, &bench.folder)?;
        eprintln!("{:>24}  {}", self.name, Shown(&run));
        Ok(run)
    }
}

/// Runs are long here, and there are many.
const RUNS: usize = 3;

pub(super) const TOWPATH: &str = "Towpath";
/// The key of the database's own client.
pub(super) const CLIENT: &str = "client";

struct Shown<'a>(&'a Measured);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Measured { wall, cpu, peak, .. } = self.0;
        write!(formatter, "{:>10}  {:>10} CPU  {:>8}", seconds(*wall), seconds(*cpu), megabytes(*peak))
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;
    use std::time::Duration;

    use super::*;

    fn rival(name: &'static str) -> Rival<'static> {
        Rival::new("key", name, "1.2 ×", || Ok(Command::new("true")))
    }

    #[test]
    fn a_table_tells_who_failed_and_how_towpath_compares() {
        let rivals = [rival(TOWPATH), rival("pipe").pipe(), rival("peer").peer()];
        let verify = Box::new(|| Ok(()));
        let work = Work { key: "read", name: "work", contestants: Vec::new(), verify };
        let run = |seconds| {
            let (wall, said) = (Duration::from_secs(seconds), String::new());
            Some(Measured { wall, cpu: wall, peak: 9_000_000, said })
        };
        let table = work.table(&rivals.iter().collect::<Vec<_>>(), &[run(2), run(4), None]);
        assert!(table.contains("| pipe | 4.00 s | 0.50 × | 1.2 × | - | - |"), "{table}");
        assert!(table.contains("| peer | failed |"), "{table}");
    }
}
