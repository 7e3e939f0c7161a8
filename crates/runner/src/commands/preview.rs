//! `towpath preview`: the first rows of the streams, as a table.

use std::path::PathBuf;

use arrow::array::RecordBatch;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use clap::Args;
use serde_json::json;
use towpath_core::{Json, json_row};
use towpath_engine::{Engine, Preview};

use super::select;
use crate::failed::{Exit, Failed};
use crate::output::paint::Paint;
use crate::output::screen::Screen;
use crate::output::table::Table;
use crate::{pipeline, signals};

#[derive(Args)]
pub(crate) struct Arguments {
    /// The pipeline file.
    file: PathBuf,
    /// Shows only these streams.
    #[arg(long, value_name = "NAME", num_args = 1..)]
    stream: Vec<String>,
    /// How many rows of each stream.
    #[arg(long, default_value_t = 10)]
    limit: usize,
    /// Prints the rows as JSON.
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(arguments: &Arguments, screen: &Screen) -> Result<Exit, Failed> {
    let mut pipeline = pipeline::load_and_expand(&arguments.file).await?;
    select::keep(&mut pipeline, &arguments.stream)?;
    let names: Vec<_> = pipeline.streams.iter().map(|stream| stream.name.clone()).collect();
    let engine = Engine::new(pipeline)?;
    let (mut found, mut failures) = (Vec::new(), Vec::new());
    for name in &names {
        let limit = arguments.limit;
        let preview =
            signals::interruptible(async |shutdown| Ok(engine.preview(name, limit, shutdown).await)).await?;
        match preview {
            Ok(preview) if arguments.json => found.push(as_json(&preview)?),
            Ok(preview) => show(&preview, names.len() > 1, screen)?,
            Err(error) => {
                screen.note(&format!("{} {name}: {error}\n", Paint::stderr().bad("failed")));
                failures.push(error.kind());
            }
        }
    }
    if arguments.json {
        screen.print_json(&found)?;
    }
    Ok(select::exit_of(failures))
}

fn as_json(preview: &Preview) -> Result<Json, Failed> {
    let rows =
        preview.rows.iter().flat_map(|batch| (0..batch.num_rows()).map(move |row| json_row(batch, row)));
    let rows = rows.collect::<towpath_core::Result<Vec<_>>>()?;
    Ok(json!({ "stream": preview.stream, "rows": rows, "rejected": preview.rejected }))
}

fn show(preview: &Preview, with_name: bool, screen: &Screen) -> Result<(), Failed> {
    let paint = Paint::stdout();
    let mut text = if with_name { format!("{}\n", paint.bold(&preview.stream)) } else { String::new() };
    if preview.rows.is_empty() {
        text.push_str("(no rows)\n");
    }
    for rows in same_columns(&preview.rows) {
        text.push_str(&table(&rows)?.render(Screen::output_width(), paint));
    }
    if with_name {
        text.push('\n');
    }
    screen.print(&text)?;
    for rejected in &preview.rejected {
        screen.note(&format!("{} {}: {rejected}\n", Paint::stderr().bad("rejected"), preview.stream));
    }
    Ok(())
}

/// Batches in a row that have the same columns go into one table.
fn same_columns(batches: &[RecordBatch]) -> Vec<Vec<&RecordBatch>> {
    let mut groups: Vec<Vec<&RecordBatch>> = Vec::new();
    for batch in batches {
        match groups.last_mut() {
            Some(group) if group[0].schema_ref().fields() == batch.schema_ref().fields() => group.push(batch),
            _ => groups.push(vec![batch]),
        }
    }
    groups
}

fn table(batches: &[&RecordBatch]) -> Result<Table, Failed> {
    let schema = batches[0].schema_ref();
    let fields = schema.fields();
    let numbers = fields.iter().enumerate().filter(|(_, field)| field.data_type().is_numeric());
    let mut table =
        Table::new(fields.iter().map(|field| field.name().as_str())).numbers(numbers.map(|(at, _)| at));
    let options = FormatOptions::default().with_display_error(true);
    for batch in batches {
        let columns = batch.columns().iter().map(|column| ArrayFormatter::try_new(column, &options));
        let columns = columns.collect::<Result<Vec<_>, _>>().map_err(towpath_core::Error::from)?;
        for row in 0..batch.num_rows() {
            table.row(columns.iter().map(|column| column.value(row).to_string()));
        }
    }
    Ok(table)
}
