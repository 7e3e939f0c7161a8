//! The conformance suite against the connector: one test for each promise of the contract. Set up a real system in the
//! fixtures, then fill in the traits until all tests pass.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::json;
use towpath_connector_postgres::CONNECTOR;
use towpath_core::{Context, DynSink, DynSource, Error, ErrorKind, Json, Result};
use towpath_testkit::conformance::ErrorCase;
use towpath_testkit::conformance::sink::SinkFixture;
use towpath_testkit::conformance::source::SourceFixture;
use towpath_testkit::{context, rows};

/// Where the system listens during the tests.
const URL: &str = "postgres://localhost";

/// Where none listens.
const NOWHERE: &str = "postgres://nowhere";

/// A system with some rows in it.
struct Seeded;

#[async_trait]
impl SourceFixture for Seeded {
    async fn open(&self, cx: &Context) -> Result<Arc<dyn DynSource>> {
        let source = CONNECTOR.source_entry().expect("postgres is a source");
        source.open(json!({ "url": URL }), cx).await
    }

    fn rows(&self) -> Vec<Json> {
        rows::to_json([&rows::batch("id: int64, name: string", &json!([[1, "first"], [2, "second"]]))])
    }

    fn broken(&self) -> Vec<ErrorCase> {
        let options = json!({ "url": NOWHERE });
        vec![
            ErrorCase::source("no such host", ErrorKind::Unavailable, CONNECTOR, options, &context())
                .mentions(NOWHERE),
        ]
    }

    async fn leftovers(&self) -> Result<Vec<String>> {
        Ok(Vec::new())
    }
}

mod source {
    towpath_testkit::source_conformance! { case = super::Seeded }
}

/// A system that nothing has been written to.
struct Empty;

#[async_trait]
impl SinkFixture for Empty {
    async fn open(&self, cx: &Context, _stream: &str) -> Result<Arc<dyn DynSink>> {
        let sink = CONNECTOR.sink_entry().expect("postgres is a sink");
        sink.open(json!({ "url": URL }), cx).await
    }

    async fn rows(&self, _stream: &str) -> Result<Vec<Json>> {
        Err(Error::unsupported("read the rows back with a client of the system's own"))
    }

    fn broken(&self) -> Vec<ErrorCase> {
        let options = json!({ "url": NOWHERE });
        vec![
            ErrorCase::sink("no such host", ErrorKind::Unavailable, CONNECTOR, options, &context())
                .mentions(NOWHERE),
        ]
    }

    async fn leftovers(&self) -> Result<Vec<String>> {
        Ok(Vec::new())
    }
}

mod sink {
    towpath_testkit::sink_conformance! { case = super::Empty }
}
