//! `MongoDB`: small and nested documents, beside bare loops of the driver that neither decode nor encode.

use std::process::Command;

use anyhow::{Result, ensure};

use super::peers::{Peer, Peers};
use super::psql::remove_all;
use super::{Page, SMALLER, name_of, rows_of, wants};
use crate::bench::Bench;
use crate::bench::latency::remove;
use crate::bench::work::{CLIENT, Rival, TOWPATH, Work};
use crate::process;

const DATABASE: &str = "bench";

/// What is measured with documents of one form.
struct Form {
    /// As the bare loops call it.
    name: &'static str,
    /// How many documents there are at scale 1.
    count: f64,
    read: Named,
    write: Named,
}

/// A work, and how long it may take beside the bare loop.
struct Named {
    key: &'static str,
    name: &'static str,
    goal: &'static str,
}

const FORMS: [Form; 2] = [
    Form {
        name: "small",
        count: 5_000_000.0,
        read: Named { key: "read", name: "MongoDB → Parquet, small documents", goal: "1.3 ×" },
        write: Named { key: "write", name: "Parquet → MongoDB, small documents", goal: "1.2 ×" },
    },
    Form {
        name: "nested",
        count: 500_000.0,
        read: Named { key: "nested", name: "MongoDB → Parquet, nested documents", goal: "1.5 ×" },
        write: Named { key: "write-nested", name: "Parquet → MongoDB, nested documents", goal: "1.2 ×" },
    },
];

pub(super) fn figures(bench: &Bench, peers: &Peers, url: &str) -> Result<String> {
    let mongo = Mongo::new(url);
    let data = mongo.load(bench, bench.scale)?;
    let counts: Vec<_> = data.iter().map(|data| format!("{} {}", data.count, data.form.name)).collect();
    let mut page = Page::new(&format!("{} documents.", counts.join(" and ")), peers);
    let works = works(bench, peers, &mongo, &data);
    for work in works.iter().filter(|work| wants(bench, work.key)) {
        page.work(work, bench)?;
    }
    if wants(bench, "memory") {
        let smaller = mongo.load(bench, bench.scale / SMALLER)?;
        page.memory(bench, &self::works(bench, peers, &mongo, &smaller), &works)?;
    }
    Ok(page.finish())
}

/// The server.
struct Mongo {
    /// With the database.
    url: String,
}

/// A collection of documents, and the same ones in files.
struct Documents {
    form: &'static Form,
    name: String,
    count: u64,
    bson: String,
    parquet: String,
}

impl Mongo {
    fn new(url: &str) -> Self {
        Self { url: url.replace("/?", &format!("/{DATABASE}?")) }
    }

    /// A bare loop over a collection.
    fn command(&self, bench: &Bench, collection: &str, work: &[&str]) -> Command {
        let mut command = Command::new(&bench.baselines);
        command.args(["collection", &self.url, collection]).args(work);
        command
    }

    fn count(&self, bench: &Bench, collection: &str) -> Result<u64> {
        Ok(process::capture(&mut self.command(bench, collection, &["count"]))?.trim().parse()?)
    }

    fn drop(&self, bench: &Bench, collection: &str) -> Result<()> {
        process::run(&mut self.command(bench, collection, &["drop"]))
    }

    /// The documents of one scale factor, in the server and in files.
    fn load(&self, bench: &Bench, scale: f64) -> Result<Vec<Documents>> {
        FORMS.iter().map(|form| self.load_form(bench, form, scale)).collect()
    }

    fn load_form(&self, bench: &Bench, form: &'static Form, scale: f64) -> Result<Documents> {
        let name = name_of(form.name, scale);
        let count = format!("{:.0}", form.count * scale);
        let bson = bench.once(&format!("{name}.bson"), |path| {
            process::run(Command::new(&bench.baselines).args(["documents", form.name, &count, path]))
        })?;
        let count = count.parse()?;
        if self.count(bench, &name)? != count {
            eprintln!("loading {name}");
            self.drop(bench, &name)?;
            process::run(&mut self.command(bench, &name, &["insert", &bson]))?;
        }
        let parquet = bench
            .once(&format!("{name}.parquet"), |path| process::run(&mut self.read(bench, &name, path)?))?;
        Ok(Documents { form, name, count, bson, parquet })
    }

    fn read(&self, bench: &Bench, collection: &str, to: &str) -> Result<Command> {
        let source = format!("{{ connector: mongodb, url: \"{}\", collection: {collection} }}", self.url);
        pipeline(bench, "mongodb-read", &source, &format!("{{ connector: file, path: \"{to}\" }}"))
    }

    fn write(&self, bench: &Bench, from: &str, collection: &str) -> Result<Command> {
        let sink = format!("{{ connector: mongodb, url: \"{}\", collection: {collection} }}", self.url);
        pipeline(bench, "mongodb-write", &format!("{{ connector: file, path: \"{from}\" }}"), &sink)
    }
}

fn pipeline(bench: &Bench, name: &str, source: &str, sink: &str) -> Result<Command> {
    bench.pipeline(
        name,
        &format!(
            "name: {name}\nstreams:\n  documents:\n    source: {source}\n    sink: {sink}\n    \
             write_disposition: replace\n"
        ),
    )
}

fn works<'a>(bench: &'a Bench, peers: &'a Peers, mongo: &'a Mongo, data: &'a [Documents]) -> Vec<Work<'a>> {
    data.iter().flat_map(|data| [read(bench, peers, mongo, data), write(bench, mongo, data)]).collect()
}

/// `MongoDB` → Parquet.
fn read<'a>(bench: &'a Bench, peers: &'a Peers, mongo: &'a Mongo, data: &'a Documents) -> Work<'a> {
    let Named { key, name, goal } = data.form.read;
    let to = |who: &str| bench.path(&format!("mongodb-{who}"));
    let ours = to("towpath.parquet");
    let written = ours.clone();
    let towpath = move || {
        remove(&ours)?;
        mongo.read(bench, &data.name, &ours)
    };
    let drained = || Ok(mongo.command(bench, &data.name, &["drain"]));
    let mut contestants = vec![
        Rival::new("towpath", TOWPATH, "under 256 MB", towpath),
        Rival::new(CLIENT, "the driver, raw batches to nowhere", goal, drained),
    ];
    let peer = |shown, name, to: String| {
        let clean = to.clone();
        let prepare = Box::new(move || remove_all(&clean));
        let (goal, work, table, from) = ("ahead", "mongodb", data.name.as_str(), mongo.url.clone());
        peers.rival(Peer { shown, goal, name, work, table, from, to, prepare })
    };
    contestants.extend(peer("pymongoarrow", "pymongoarrow", to("pymongoarrow.parquet")));
    contestants.extend(peer("dlt", "dlt", to("dlt")));
    let verify = move || {
        let rows = rows_of(bench, &written)?;
        ensure!(rows == data.count, "{written} has {rows} of {} documents", data.count);
        Ok(())
    };
    Work { key, name, contestants, verify: Box::new(verify) }
}

/// Parquet → `MongoDB`.
fn write<'a>(bench: &'a Bench, mongo: &'a Mongo, data: &'a Documents) -> Work<'a> {
    let Named { key, name, goal } = data.form.write;
    let target = |who: &str| format!("{}_{who}", data.name);
    let ours = target("towpath");
    let written = ours.clone();
    let towpath = move || {
        mongo.drop(bench, &ours)?;
        mongo.write(bench, &data.parquet, &ours)
    };
    let theirs = target("driver");
    let inserted = move || {
        mongo.drop(bench, &theirs)?;
        Ok(mongo.command(bench, &theirs, &["insert", &data.bson]))
    };
    let contestants = vec![
        Rival::new("towpath", TOWPATH, "under 256 MB", towpath),
        Rival::new(CLIENT, "the driver, insert_many from a file of BSON", goal, inserted),
    ];
    let verify = move || {
        let count = mongo.count(bench, &written)?;
        ensure!(count == data.count, "{written} has {count} of {} documents", data.count);
        Ok(())
    };
    Work { key, name, contestants, verify: Box::new(verify) }
}
