//! What `towpath demo` reads: three servers in this process, over real data that the crate carries, and a pipeline for
//! them.
//!
//! ```text
//! flights   55 pages of JSON, whose number is known     slow; now and then 500
//! weather   36 resources of linked pages                slow; now and then 503; 429 beyond a rate
//! archive   28 compressed CSV files                     a slow first byte; now and then the connection breaks
//! ```
//!
//! How long an answer takes, and whether it fails, depends only on what is asked and how often it was asked before. So
//! every run meets the same adversities, whatever the order of its requests. Only the rate limit knows the time.

mod api;
mod chance;
mod data;
mod pipeline;
mod server;
mod table;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use api::{Api, Apis};
use data::Data;
use server::Server;

/// How the servers behave.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Options {
    /// One resource of the weather fails for ever.
    pub broken: bool,
}

/// The running servers. Dropping it stops them.
pub struct Demo {
    apis: Arc<Apis>,
    flights: Server,
    weather: Server,
    archive: Server,
}

/// What the servers did so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Served {
    /// Answers with data.
    pub answered: u64,
    /// Answers that asked for fewer requests.
    pub refused: u64,
    /// Failures: errors of the server, and connections that broke.
    pub failed: u64,
    /// How long a client would have waited that asks for one thing after the other: the time of every answer, refusals
    /// and what was asked for again left out.
    pub one_after_the_other: Duration,
}

impl Demo {
    /// Reads the data and starts the servers on free ports of this machine.
    ///
    /// # Errors
    /// When no port can be opened, or the data is damaged.
    pub async fn start(options: Options) -> io::Result<Self> {
        let apis = Arc::new(Apis::new(Data::load().await?, options));
        let (flights, weather, archive) = tokio::try_join!(
            Server::start(Api::Flights, apis.clone()),
            Server::start(Api::Weather, apis.clone()),
            Server::start(Api::Archive, apis.clone()),
        )?;
        Ok(Self { apis, flights, weather, archive })
    }

    /// The pipeline file that reads them into Parquet files in this folder.
    pub fn pipeline(&self, folder: &str) -> String {
        pipeline::text(folder, [&self.flights, &self.weather, &self.archive].map(Server::url))
    }

    /// How many rows the pipeline must bring, for each of its streams.
    pub fn expected_rows(&self) -> [(&'static str, u64); 3] {
        let data = self.apis.data();
        [("flights", data.flight_rows()), ("weather", data.weather_rows()), ("archive", data.departed_rows())]
    }

    /// What the servers did so far.
    pub fn served(&self) -> Served {
        self.apis.served()
    }
}
