//! The reference implementations keep every promise, whatever their capabilities.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::json;
use towpath_core::{
    Context, DynSink, DynSource, ErrorKind, Json, Pushdown, Result, Resume, Secret, TypeFamily,
    WriteDisposition,
};
use towpath_testkit::conformance::ErrorCase;
use towpath_testkit::conformance::sink::SinkFixture;
use towpath_testkit::conformance::source::SourceFixture;
use towpath_testkit::memory::{
    CONNECTOR, MemoryData, MemorySink, MemorySinkConfig, MemorySource, MemorySourceConfig, MemoryTarget,
};
use towpath_testkit::{context, rows};

pub(crate) const SECRET: &str = "tow-rope-7";

/// Three splits of four, one and three batches, ordered by `at`.
pub(crate) fn seeded() -> MemoryData {
    let batch = |ids: std::ops::Range<i64>| {
        let rows: Vec<Json> =
            ids.map(|id| json!([id, format!("2026-01-{:02}", id + 1), format!("n{id}")])).collect();
        rows::batch("id: int64, at: string, name: string", &json!(rows))
    };
    MemoryData::new()
        .split("a", [batch(0..3), batch(3..4), batch(4..4), batch(4..8)])
        .split("b", [batch(8..10)])
        .split("c", [batch(10..12), batch(12..13), batch(13..20)])
}

type Configure<T> = fn(T) -> T;

pub(crate) struct Seeded {
    pub(crate) data: MemoryData,
    configure: Configure<MemorySource>,
}

impl Seeded {
    pub(crate) fn new(configure: Configure<MemorySource>) -> Self {
        Self { data: seeded(), configure }
    }
}

#[async_trait]
impl SourceFixture for Seeded {
    async fn open(&self, _cx: &Context) -> Result<Arc<dyn DynSource>> {
        Ok((self.configure)(MemorySource::new(&self.data)).shared())
    }

    fn rows(&self) -> Vec<Json> {
        self.data.rows()
    }

    fn broken(&self) -> Vec<ErrorCase> {
        let options = json!({"data": "nowhere", "password": SECRET});
        vec![
            ErrorCase::source("no such data", ErrorKind::NotFound, CONNECTOR, options, &context())
                .mentions("nowhere"),
        ]
    }

    async fn leftovers(&self) -> Result<Vec<String>> {
        let open = self.data.open_reads();
        Ok(if open == 0 { Vec::new() } else { vec![format!("{open} open reads")] })
    }

    fn cursor(&self) -> Option<String> {
        Some("at".to_owned())
    }

    fn secrets(&self) -> Vec<String> {
        vec![SECRET.to_owned()]
    }

    fn debug_texts(&self) -> Vec<String> {
        let password = Some(Secret::new(SECRET.to_owned()));
        vec![format!("{:?}", MemorySourceConfig { data: "x".to_owned(), password })]
    }
}

pub(crate) struct Empty {
    pub(crate) target: MemoryTarget,
    configure: Configure<MemorySink>,
}

impl Empty {
    pub(crate) fn new(configure: Configure<MemorySink>) -> Self {
        Self { target: MemoryTarget::new(), configure }
    }
}

#[async_trait]
impl SinkFixture for Empty {
    async fn open(&self, _cx: &Context, _stream: &str) -> Result<Arc<dyn DynSink>> {
        Ok((self.configure)(MemorySink::new(&self.target)).shared())
    }

    async fn rows(&self, stream: &str) -> Result<Vec<Json>> {
        Ok(self.target.rows(stream))
    }

    fn broken(&self) -> Vec<ErrorCase> {
        let options = json!({"target": "nowhere", "password": SECRET});
        vec![
            ErrorCase::sink("no such target", ErrorKind::NotFound, CONNECTOR, options, &context())
                .mentions("nowhere"),
        ]
    }

    async fn leftovers(&self) -> Result<Vec<String>> {
        Ok(self.target.leftovers())
    }

    fn secrets(&self) -> Vec<String> {
        vec![SECRET.to_owned()]
    }

    fn debug_texts(&self) -> Vec<String> {
        let password = Some(Secret::new(SECRET.to_owned()));
        vec![format!("{:?}", MemorySinkConfig { target: "x".to_owned(), password })]
    }
}

mod source_that_resumes_exactly {
    use super::*;
    towpath_testkit::source_conformance! { case = Seeded::new(MemorySource::ordered) }
}

mod source_that_starts_a_split_again {
    use super::*;
    towpath_testkit::source_conformance! {
        case = Seeded::new(|source| source.resume(Resume::Split).cursor_pushdown(Pushdown::Inexact))
    }
}

mod source_whose_positions_die_with_the_run {
    use super::*;
    towpath_testkit::source_conformance! { case = Seeded::new(|source| source.resume(Resume::Run)) }
}

mod source_that_is_read_once {
    use super::*;
    towpath_testkit::source_conformance! {
        case = Seeded::new(|source| {
            source
                .resume(Resume::None)
                .cursor_pushdown(Pushdown::Unsupported)
                .column_pushdown(Pushdown::Unsupported)
                .unknown_schema()
        })
    }
}

mod source_of_new_splits {
    use super::*;
    towpath_testkit::source_conformance! { case = Seeded::new(MemorySource::new_splits_only) }
}

mod sink_that_can_everything {
    use super::*;
    towpath_testkit::sink_conformance! { case = Empty::new(|sink| sink) }
}

mod sink_with_one_writer_and_few_types {
    use super::*;
    towpath_testkit::sink_conformance! {
        case = Empty::new(|sink| {
            let types = [TypeFamily::Int, TypeFamily::Float, TypeFamily::String, TypeFamily::List];
            sink.max_writers(1).types(&types).fixed_schema()
        })
    }
}

mod sink_that_only_replaces {
    use super::*;
    towpath_testkit::sink_conformance! { case = Empty::new(|sink| sink.dispositions(&[WriteDisposition::Replace])) }
}

mod sink_that_only_merges {
    use super::*;
    towpath_testkit::sink_conformance! { case = Empty::new(|sink| sink.dispositions(&[WriteDisposition::Merge])) }
}

mod sink_that_cannot_remember {
    use super::*;
    towpath_testkit::sink_conformance! { case = Empty::new(MemorySink::at_least_once) }
}

mod sink_that_refuses_rows {
    use super::*;

    fn refuse_edges(row: &Json) -> Option<String> {
        let edge = row["measured_thing"] == json!("NaN") || row["measured_thing"] == json!(u64::MAX);
        edge.then(|| "beyond what the target holds".to_owned())
    }

    towpath_testkit::sink_conformance! { case = Empty::new(|sink| sink.refusing(refuse_edges)) }
}
