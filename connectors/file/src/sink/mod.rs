//! Writing files: staged in a hidden folder, moved into place when they are complete.
//!
//! [`FileSink`] is one of two sinks: [`RowSink`] encodes rows, [`bytes::ByteSink`] puts files together from their chunks.

mod assemble;
mod bytes;
mod claim;
mod commit;
mod either;
mod form;
mod manifest;
mod output;
mod partition;
mod template;
mod types;
mod writer;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_schema::{DataType, Field, Schema, SchemaRef};
use towpath_core::{
    Begun, Checkpoint, ColumnType, CommitToken, Committed, Context, Delivery, Error, Json, LoadSpec, Result,
    Sink, SinkCapabilities, Staged, TypeFamily, WriteDisposition,
};
use towpath_formats::{Encoder, WriteOptions};

use crate::blocking::blocking;
use crate::config::SinkConfig;
use crate::errors::{CONNECTOR, io_error};
use commit::{Old, Receipt};
pub use either::{FileSink, FileWriter};
use manifest::Home;
use output::FileOutput;
use partition::Partitioning;
use template::{FileName, Template};
use types::examples;
use writer::{Density, RowWriter};

/// Writes rows into files.
#[derive(Debug, Clone)]
pub(crate) struct RowSink {
    target: Arc<Target>,
    types: Vec<TypeFamily>,
}

/// Where and how files are written.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) config: SinkConfig,
    pub(crate) template: Template,
    pub(crate) options: WriteOptions,
    pub(crate) density: Density,
}

impl Target {
    fn new(config: SinkConfig) -> Result<Self> {
        let template = Template::parse(&config.path)?;
        if config.max_bytes_per_file.is_some_and(|most| most.bytes() == 0) {
            return Err(Error::config("`max_bytes_per_file` must be above zero").connector(CONNECTOR));
        }
        let many = [
            (!config.partition_by.is_empty(), "partition_by"),
            (config.max_rows_per_file.is_some(), "max_rows_per_file"),
            (config.max_bytes_per_file.is_some(), "max_bytes_per_file"),
        ];
        if let Some((_, option)) = many.iter().find(|(is_set, _)| *is_set && template.is_plain()) {
            return Err(needs_part(
                &template,
                &format!("`{option}` makes several files, and the path is only one"),
            ));
        }
        let options = config.write_options();
        Ok(Self { config, template, options, density: Density::default() })
    }

    fn home(&self, load: &LoadSpec) -> Home {
        Home::new(self.template.base(), load)
    }

    /// What an encoder holds for each column.
    fn column_bytes(&self) -> usize {
        Encoder::<FileOutput>::column_bytes(&self.options, &self.sample_name())
    }

    /// A name like those that will be written, which tells the format.
    fn sample_name(&self) -> String {
        self.template.render(FileName { stream: "stream", run: "run", part: 0, sequence: 0 }, "")
    }

    /// The name of a plain file below the base.
    fn plain_name(&self, stream: &str) -> String {
        self.template.render(FileName { stream, run: "", part: 0, sequence: 0 }, "")
    }

    /// Whether files can hold these columns.
    fn check_schema(&self, schema: &SchemaRef) -> Result<()> {
        Encoder::<FileOutput>::check(&self.options, &self.sample_name(), schema)
            .map_err(|error| error.connector(CONNECTOR).detail("path", self.template.text()))
    }

    /// The kinds of types that files of this format hold.
    fn types(&self) -> Vec<TypeFamily> {
        let is_held = |data_type: DataType| {
            let column = Field::new("column", data_type, true);
            self.check_schema(&Arc::new(Schema::new(vec![column]))).is_ok()
        };
        let holds = |family: &TypeFamily| examples(*family).into_iter().all(is_held);
        TypeFamily::ALL.into_iter().filter(holds).collect()
    }
}

impl Sink for RowSink {
    type Config = SinkConfig;
    type Writer = RowWriter;

    async fn open(config: SinkConfig, _: &Context) -> Result<Self> {
        let target = Target::new(config)?;
        // Text is held by every format, so this fails only for a format or codec that is unknown or not built in.
        target.check_schema(&Arc::new(Schema::new(vec![Field::new("column", DataType::Utf8, true)])))?;
        let types = target.types();
        Ok(Self { target: Arc::new(target), types })
    }

    fn capabilities(&self) -> SinkCapabilities {
        let capabilities = if self.target.template.is_plain() {
            SinkCapabilities::new(Delivery::ExactlyOnce, &[WriteDisposition::Replace]).max_writers(1)
        } else {
            let dispositions = [WriteDisposition::Append, WriteDisposition::Replace];
            SinkCapabilities::new(Delivery::ExactlyOnce, &dispositions)
        };
        capabilities.types(self.types.clone()).column_bytes(self.target.column_bytes())
    }

    async fn check(&self, cx: &Context, _: &LoadSpec) -> Result<()> {
        let target = self.target.clone();
        let stream = cx.stream().to_owned();
        blocking(move || {
            check_not_a_folder(&target, &stream)?;
            check_writable(target.template.base())
        })
        .await
    }

    async fn begin(&self, cx: &Context, load: &LoadSpec) -> Result<Begun> {
        self.check_disposition(load.disposition)?;
        let (target, load) = (self.target.clone(), load.clone());
        cx.cancellation().check()?;
        blocking(move || {
            check_not_a_folder(&target, &load.stream)?;
            if target.template.is_plain() {
                claim::claim(target.template.base(), &target.plain_name(&load.stream), &load)?;
            }
            let home = target.home(&load);
            let checkpoint = commit::begin(&home, &load)?;
            let columns = if load.disposition == WriteDisposition::Append { home.columns()? } else { None };
            let mut begun = Begun::new(load, checkpoint, Json::Null);
            begun.schema = columns;
            Ok(begun)
        })
        .await
    }

    async fn evolve(&self, _: &Context, begun: &Begun, schema: &SchemaRef) -> Result<Begun> {
        let partitioning = Partitioning::new(&self.target.config.partition_by, schema)?;
        self.target.check_schema(partitioning.schema())?;
        self.check_types(partitioning.schema())?;
        Ok(begun.with_schema(schema))
    }

    async fn writer(&self, cx: &Context, begun: &Begun, part: u32) -> Result<RowWriter> {
        RowWriter::new(self.target.clone(), cx, begun, part)
    }

    async fn commit(
        &self,
        cx: &Context,
        begun: &Begun,
        token: &CommitToken,
        staged: Vec<Staged>,
    ) -> Result<Committed> {
        let mut staged = staged;
        staged.sort_by_key(|staged| staged.part);
        let receipts = staged.iter().map(Receipt::of).collect::<Result<Vec<_>>>()?;
        let mut moves: Vec<_> = receipts.iter().flat_map(|receipt| receipt.files.clone()).collect();
        let home = self.target.home(&begun.load);
        if begun.load.disposition == WriteDisposition::Replace {
            let (home, token) = (home.clone(), token.clone());
            let is_new = !blocking(move || commit::is_applied(&home, &token)).await?;
            if is_new {
                moves = self.replacement(cx, begun, &receipts, moves).await?;
            }
        }
        let (old, token, columns) = (self.old(begun.load.disposition), token.clone(), begun.schema.clone());
        blocking(move || {
            let committed = commit::commit(&home, old, &token, &moves)?;
            if let Some(columns) = columns {
                home.lock()?.note_columns(&columns)?;
            }
            // What was put together into another file has served.
            let segments = receipts.iter().flat_map(|receipt| receipt.files.clone()).collect::<Vec<_>>();
            commit::discard(&home, &segments)?;
            Ok(committed)
        })
        .await
    }

    async fn checkpoint(&self, _: &Context, load: &LoadSpec) -> Result<Option<Checkpoint>> {
        let home = self.target.home(load);
        blocking(move || commit::checkpoint(&home)).await
    }

    async fn forget(&self, _: &Context, load: &LoadSpec) -> Result<()> {
        let home = self.target.home(load);
        blocking(move || commit::forget(&home)).await
    }

    async fn abort(&self, _: &Context, begun: &Begun, staged: Vec<Staged>) -> Result<()> {
        let home = self.target.home(&begun.load);
        let run = begun.load.run.clone();
        blocking(move || {
            for staged in &staged {
                commit::discard(&home, &Receipt::of(staged)?.files)?;
            }
            // It stays while other writers of the run have files in it.
            let _ = fs::remove_dir(home.staging(&run));
            Ok(())
        })
        .await
    }
}

impl RowSink {
    fn check_disposition(&self, disposition: WriteDisposition) -> Result<()> {
        match disposition {
            WriteDisposition::Merge => Err(no_merge(self.target.template.text())),
            WriteDisposition::Append if self.target.template.is_plain() => {
                Err(needs_part(&self.target.template, "nothing can be appended to a path that is one file"))
            }
            WriteDisposition::Append | WriteDisposition::Replace => Ok(()),
        }
    }

    /// Refuses a column of a kind of which the format holds only some types, so that the capabilities hold true.
    fn check_types(&self, schema: &Schema) -> Result<()> {
        let is_held =
            |data_type| TypeFamily::all_of(data_type).iter().all(|family| self.types.contains(family));
        match schema.fields().iter().find(|field| !is_held(field.data_type())) {
            None => Ok(()),
            Some(field) => {
                let column_type = ColumnType::from(field.data_type().clone());
                let message =
                    format!("the format cannot hold the column `{}` of type {column_type}", field.name());
                Err(Error::schema(message)
                    .connector(CONNECTOR)
                    .detail("path", self.target.template.text())
                    .help("cast it to string or drop it"))
            }
        }
    }

    /// What happens to the files that are there.
    fn old(&self, disposition: WriteDisposition) -> Old {
        match disposition {
            _ if self.target.template.is_plain() => Old::Overwritten,
            WriteDisposition::Replace => Old::Go,
            WriteDisposition::Append | WriteDisposition::Merge => Old::Stay,
        }
    }

    /// The files that take the place of the old ones. Where there are no rows, one file still tells the columns.
    async fn replacement(
        &self,
        cx: &Context,
        begun: &Begun,
        receipts: &[Receipt],
        moves: Vec<manifest::Move>,
    ) -> Result<Vec<manifest::Move>> {
        let home = self.target.home(&begun.load);
        let is_plain = self.target.template.is_plain();
        let tells_columns = begun.schema.is_some() && self.target.config.partition_by.is_empty();
        if is_plain || (moves.is_empty() && tells_columns) {
            let file = assemble::one_file(&self.target, cx, &home, begun, receipts).await?;
            return Ok(file.into_iter().collect());
        }
        Ok(moves)
    }
}

/// The error for `merge`.
fn no_merge(path: &str) -> Error {
    Error::unsupported("files cannot be merged into by key")
        .connector(CONNECTOR)
        .detail("path", path)
        .help("use `append` or `replace`, or a database as the sink, such as postgres")
}

/// The error for a path that is one file where several are needed, with a path that would do.
fn needs_part(template: &Template, message: &str) -> Error {
    let text = template.text();
    let (stem, extension) = match text.rsplit_once('/') {
        Some((folder, name)) => {
            let (stem, extension) = name.split_once('.').unwrap_or((name, "parquet"));
            (format!("{folder}/{stem}"), extension)
        }
        None => {
            text.split_once('.').map_or((text.to_owned(), "parquet"), |(stem, end)| (stem.to_owned(), end))
        }
    };
    Error::config(message)
        .connector(CONNECTOR)
        .detail("path", text)
        .help(format!("write for example `path: {stem}/{{part}}.{extension}`"))
}

fn check_not_a_folder(target: &Target, stream: &str) -> Result<()> {
    if target.template.is_plain() {
        let path = target.template.base().join(target.plain_name(stream));
        if path.is_dir() {
            return Err(needs_part(&target.template, "the path is a folder that exists"));
        }
    }
    Ok(())
}

/// Creates a file in the folder, or the nearest one above it that exists, and removes it again.
fn check_writable(folder: &Path) -> Result<()> {
    let above = |folder: &Path| {
        folder
            .parent()
            .map(|above| if above.as_os_str().is_empty() { Path::new(".") } else { above }.to_owned())
    };
    let mut nearest: PathBuf = folder.to_owned();
    while !nearest.exists() {
        match above(&nearest) {
            Some(parent) => nearest = parent,
            None => break,
        }
    }
    let probe = nearest.join(format!(".towpath-check-{}", std::process::id()));
    let failed = |error| io_error(error, "check", folder.display());
    let created = fs::OpenOptions::new().write(true).create_new(true).open(&probe);
    created.map_err(failed)?;
    fs::remove_file(&probe).map_err(failed)
}

#[cfg(test)]
mod tests;
