//! All tables of TPC-H from Postgres to MySQL and back.

use std::sync::Arc;

use towpath_tests::{Project, blocking};

use super::assert_same;
use super::mysql::Mysql;
use super::postgres::Postgres;
use super::tpch::{TABLES, Table, seeded, tables_of_a_sink};

/// The way from one database to the other.
pub(crate) struct Leg {
    pub(crate) from: String,
    pub(crate) to: String,
    pub(crate) disposition: &'static str,
    /// More options of the source, so that small tables have several splits too.
    pub(crate) source: &'static str,
    /// More keys of each stream.
    pub(crate) stream: &'static str,
    /// Whether each stream is read incrementally, by the first column of its key.
    pub(crate) has_cursor: bool,
}

/// Splits that are small enough for the smallest scale.
pub(crate) const POSTGRES_SPLITS: &str = ", split_size: 1MiB, batch_size: 128KiB";
pub(crate) const MYSQL_SPLITS: &str = ", split_size: 10000, batch_rows: 2000";

/// Retries that outlast everything that a test does to the network.
const RETRY: &str = "retry: { attempts: 60, base: 20ms, max_delay: 200ms }";

impl Leg {
    /// From Postgres to MySQL.
    pub(crate) fn there(from: impl Into<String>, to: impl Into<String>, disposition: &'static str) -> Self {
        let (from, to) = (from.into(), to.into());
        Self { from, to, disposition, source: POSTGRES_SPLITS, stream: "", has_cursor: false }
    }

    /// From MySQL to Postgres.
    pub(crate) fn back(from: impl Into<String>, to: impl Into<String>, disposition: &'static str) -> Self {
        Self { source: MYSQL_SPLITS, ..Self::there(from, to, disposition) }
    }

    /// The pipeline, with a stream for each table.
    pub(crate) fn pipeline(&self) -> String {
        let connector = |url: &str| if url.starts_with("postgres") { "postgres" } else { "mysql" };
        let mut text = format!(
            "name: tpch\nconnections:\n  from: {{ connector: {}, url: \"{}\", {RETRY} }}\n  \
             to: {{ connector: {}, url: \"{}\", {RETRY} }}\n\
             sink: {{ connection: to, table: \"{{stream}}\", primary_key: true }}\nstreams:\n",
            connector(&self.from),
            self.from,
            connector(&self.to),
            self.to,
        );
        text.extend(TABLES.iter().map(|table| self.stream_of(table)));
        text
    }

    fn stream_of(&self, table: &Table) -> String {
        let (name, key, source) = (table.name, table.key.join(", "), self.source);
        let cursor = if self.has_cursor { format!("    cursor: {}\n", table.key[0]) } else { String::new() };
        format!(
            "  {name}:\n    source: {{ connection: from, table: {name}{source} }}\n    \
             write_disposition: {}\n    key: [{key}]\n{}{cursor}",
            self.disposition, self.stream
        )
    }

    /// Runs it to its end.
    pub(crate) async fn run(&self, project: &Arc<Project>) {
        project.write("pipeline.yaml", self.pipeline());
        finish(project).await;
    }
}

/// Runs the pipeline, which must succeed.
pub(crate) async fn finish(project: &Arc<Project>) {
    let project = project.clone();
    let (ended, report) = blocking(move || project.run()).await;
    assert_eq!(ended.code, Some(0), "{}\n{report:#}", ended.stderr);
}

/// Every value of every row is the same, in the same number, and nothing else lies about.
pub(crate) async fn assert_all_the_same(original: &Postgres, mysql: &Mysql, back: &Postgres) {
    for table in &TABLES {
        let expected = table.in_postgres(original).await;
        assert!(!expected.is_empty(), "{}", table.name);
        assert_same(&format!("{} in MySQL", table.name), &expected, &table.in_mysql(mysql).await);
        assert_same(&format!("{} back in Postgres", table.name), &expected, &table.in_postgres(back).await);
    }
    assert_eq!(mysql.tables().await, tables_of_a_sink());
    assert_eq!(back.tables().await, tables_of_a_sink());
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_come_back_from_mysql_as_they_were_row_for_row_and_value_for_value() {
    let (original, mysql, back) = (seeded(0.1).await, Mysql::new().await, Postgres::new().await);
    let project = Arc::new(Project::new());
    Leg { source: "", ..Leg::there(original.url(), mysql.url(), "append") }.run(&project).await;
    Leg { source: "", ..Leg::back(mysql.url(), back.url(), "replace") }.run(&project).await;
    assert_all_the_same(&original, &mysql, &back).await;
}
