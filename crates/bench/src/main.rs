//! What `cargo xtask bench` measures Towpath against. Each command is a program of its own, so that its time and memory
//! can be measured like Towpath's.

mod blob;
mod data;
mod documents;
mod load;
mod loops;
mod objects;
mod serve;
mod tpch;

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use clap::Parser;

/// The allocator of the `towpath` command, so that a ratio says nothing about allocators.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Baselines of Towpath's benchmarks.
#[derive(Parser)]
enum Command {
    /// Writes the same rows every time, as CSV.
    Generate {
        /// How many rows.
        rows: u64,
        /// The file to write.
        path: PathBuf,
    },
    /// Reads a file and writes another in a bare loop on one thread. Extensions tell the formats.
    Convert {
        /// The file to read: `.csv`, `.csv.gz`, `.ndjson` or `.parquet`.
        from: PathBuf,
        /// The file to write: `.csv.gz`, which copies CSV, `.ndjson` or `.parquet`.
        to: PathBuf,
    },
    /// Writes the table lineitem of TPC-H.
    Lineitem {
        /// The scale factor; with 1 there are six million rows.
        scale: f64,
        /// The file to write: `.csv`, without a header, or `.parquet`.
        path: PathBuf,
    },
    /// Prints how many rows a Parquet file has.
    Count {
        /// The file.
        path: PathBuf,
    },
    /// Writes the same documents every time, as BSON.
    Documents {
        /// What they look like.
        form: documents::Form,
        /// How many.
        count: u64,
        /// The file to write.
        path: PathBuf,
    },
    /// Reads or writes a collection of MongoDB in a bare loop of the driver.
    Collection {
        /// The server's URL, with a database.
        url: String,
        /// The collection.
        name: String,
        /// What is done with it.
        #[command(subcommand)]
        work: documents::Work,
    },
    /// Serves small JSON documents until the standard input ends. Prints its address first.
    Serve,
    /// Passes connections on to a server, each of them slowly, until the standard input ends. Prints its address first.
    Proxy {
        /// The server.
        target: SocketAddr,
        /// How many bytes a second each connection gets; as many as can be by default.
        #[arg(long, default_value_t = u64::MAX)]
        per_second: u64,
        /// How many milliseconds what is asked needs to get there.
        #[arg(long, default_value_t = 0)]
        delay: u64,
    },
    /// Reads all objects below a prefix into files, or writes files as objects. Where the server is and who we are come
    /// from the environment.
    #[command(subcommand)]
    Objects(Objects),
    /// Asks a server for `/items/1` and so on, and throws the answers away.
    Load {
        /// The server.
        address: SocketAddr,
        /// How many requests.
        requests: u64,
        /// How many at once, each over a connection of its own.
        at_once: NonZeroUsize,
    },
}

#[derive(clap::Subcommand)]
enum Objects {
    /// Reads every object into a file.
    Get {
        /// `bucket/prefix`.
        from: String,
        /// The folder with the files.
        to: PathBuf,
        /// How many at once.
        at_once: usize,
    },
    /// Writes every file as an object.
    Put {
        /// The folder with the files.
        from: PathBuf,
        /// `bucket/prefix`.
        to: String,
        /// How many at once.
        at_once: usize,
    },
    /// Makes objects of NDJSON, unless they are there.
    Fill {
        /// `bucket/prefix`.
        to: String,
        /// How many.
        objects: usize,
        /// How many bytes each has.
        bytes: usize,
        /// How many at once.
        at_once: usize,
    },
}

impl Objects {
    async fn run(self) -> Result<()> {
        match self {
            Self::Get { from, to, at_once } => objects::Prefix::new(&from)?.get(&to, at_once).await,
            Self::Put { from, to, at_once } => objects::Prefix::new(&to)?.put(&from, at_once).await,
            Self::Fill { to, objects, bytes, at_once } => {
                objects::Prefix::new(&to)?.fill(objects, bytes, at_once).await
            }
        }
    }
}

fn main() -> Result<()> {
    match Command::parse() {
        Command::Generate { rows, path } => data::generate(rows, &path),
        Command::Convert { from, to } => loops::convert(&from, &to),
        Command::Lineitem { scale, path } => tpch::lineitem(scale, &path),
        Command::Count { path } => {
            println!("{}", tpch::count(&path)?);
            Ok(())
        }
        Command::Documents { form, count, path } => documents::make(form, count, &path),
        Command::Collection { url, name, work } => runtime()?.block_on(documents::run(&url, &name, work)),
        Command::Proxy { target, per_second, delay } => {
            let pace = blob::Pace { per_second, delay: Duration::from_millis(delay) };
            runtime()?.block_on(blob::proxy(target, pace))
        }
        Command::Objects(objects) => runtime()?.block_on(objects.run()),
        Command::Serve => runtime()?.block_on(serve::serve()),
        Command::Load { address, requests, at_once } => {
            runtime()?.block_on(load::load(address, requests, at_once))
        }
    }
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().enable_all().build()?)
}
