//! What is written where, and whether it can be.

use std::sync::Arc;

use arrow_schema::{DataType, Field, Schema, SchemaRef};
use towpath_core::{
    ColumnType, Delivery, Error, LoadSpec, Result, SinkCapabilities, TypeFamily, WriteDisposition,
};
use towpath_formats::{Encoder, MemoryOutput, WriteOptions};

use super::rows::no_merge;
use super::types::examples;
use super::writer::Density;
use super::{FileName, Old, SinkOptions, Template};

/// Where and how files are written.
#[derive(Debug)]
pub struct Target {
    pub(super) options: SinkOptions,
    pub(super) template: Template,
    pub(super) write: WriteOptions,
    pub(super) density: Density,
    /// The kinds of types that files of this format hold.
    types: Vec<TypeFamily>,
}

impl Target {
    /// Checks the options.
    ///
    /// # Errors
    /// `Config` names the option that is wrong.
    pub fn new(options: SinkOptions) -> Result<Self> {
        let template = Template::parse(&options.path)?;
        if options.max_bytes_per_file.is_some_and(|most| most.bytes() == 0) {
            return Err(Error::config("`max_bytes_per_file` must be above zero"));
        }
        if let Some(option) = options.splitting().filter(|_| template.is_plain()) {
            let message = format!("`{option}` makes several files, and the path is only one");
            return Err(needs_part(&template, &message));
        }
        let write = options.write_options();
        let mut target = Self { options, template, write, density: Density::default(), types: Vec::new() };
        // Text is held by every format, so this fails only for a format or codec that is unknown or not built in.
        target.check_format(&one_column(DataType::Utf8))?;
        let is_held = |data_type| target.check_format(&one_column(data_type)).is_ok();
        let holds = |family: &TypeFamily| examples(*family).into_iter().all(is_held);
        target.types = TypeFamily::ALL.into_iter().filter(holds).collect();
        Ok(target)
    }

    /// Where files go.
    pub fn template(&self) -> &Template {
        &self.template
    }

    /// The name of a plain file below the base.
    pub fn plain_name(&self, stream: &str) -> String {
        self.template.render(FileName { stream, run: "", part: 0, sequence: 0 }, "")
    }

    /// What a sink with this target can do.
    pub(super) fn capabilities(&self) -> SinkCapabilities {
        let delivery = Delivery::ExactlyOnce;
        let capabilities = if self.template.is_plain() {
            SinkCapabilities::new(delivery, &[WriteDisposition::Replace]).one_sequence()
        } else {
            SinkCapabilities::new(delivery, &[WriteDisposition::Append, WriteDisposition::Replace])
        };
        let column_bytes = Encoder::<MemoryOutput>::column_bytes(&self.write, &self.sample_name());
        capabilities.types(self.types.clone()).column_bytes(column_bytes)
    }

    /// A name like those that will be written, which tells the format.
    fn sample_name(&self) -> String {
        self.template.render(FileName { stream: "stream", run: "run", part: 0, sequence: 0 }, "")
    }

    fn check_format(&self, schema: &SchemaRef) -> Result<()> {
        Encoder::<MemoryOutput>::check(&self.write, &self.sample_name(), schema)
            .map_err(|error| error.detail("path", self.template.text()))
    }

    /// Whether files can hold these columns. A column of a kind of which the format holds only some types is refused too,
    /// so that the capabilities hold true.
    pub(super) fn check_schema(&self, schema: &SchemaRef) -> Result<()> {
        self.check_format(schema)?;
        let is_held =
            |data_type| TypeFamily::all_of(data_type).iter().all(|family| self.types.contains(family));
        match schema.fields().iter().find(|field| !is_held(field.data_type())) {
            None => Ok(()),
            Some(field) => {
                let column_type = ColumnType::from(field.data_type().clone());
                let message =
                    format!("the format cannot hold the column `{}` of type {column_type}", field.name());
                Err(Error::schema(message)
                    .detail("path", self.template.text())
                    .help("cast it to string or drop it"))
            }
        }
    }

    pub(super) fn check_disposition(&self, load: &LoadSpec) -> Result<()> {
        match load.disposition {
            WriteDisposition::Merge => Err(no_merge(self.template.text())),
            WriteDisposition::Append if self.template.is_plain() => {
                Err(needs_part(&self.template, "nothing can be appended to a path that is one file"))
            }
            WriteDisposition::Append | WriteDisposition::Replace => Ok(()),
        }
    }

    /// What happens to the files that are there.
    pub fn old(&self, disposition: WriteDisposition) -> Old {
        match disposition {
            _ if self.template.is_plain() => Old::Overwritten,
            WriteDisposition::Replace => Old::Go,
            WriteDisposition::Append | WriteDisposition::Merge => Old::Stay,
        }
    }
}

fn one_column(data_type: DataType) -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("column", data_type, true)]))
}

/// The error for a path that is one file where several are needed, with a path that would do.
pub fn needs_part(template: &Template, message: &str) -> Error {
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
        .detail("path", text)
        .help(format!("write for example `path: {stem}/{{part}}.{extension}`"))
}
