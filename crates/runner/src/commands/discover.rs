//! `towpath discover`: the data sets that sources hold.

mod draft;

use std::path::Path;

use clap::Args;
use serde_json::json;
use towpath_core::{Dataset, Outside};
use towpath_engine::{
    CommitPolicy, ConnectionSpec, Engine, OnError, Pipeline, SchemaContract, SinkSpec, SourceSpec, StreamSpec,
};

use self::draft::draft;
use super::uri::Place;
use super::{select, uri};
use crate::failed::{Exit, Failed};
use crate::output::paint::Paint;
use crate::output::screen::Screen;
use crate::output::table::Table;
use crate::output::units::{bytes, count};
use crate::{pipeline, signals};

#[derive(Args)]
pub(crate) struct Arguments {
    /// A pipeline file (`.yaml`, `.yml`), whose sources are asked; or a URI or path to look into.
    place: String,
    /// Asks only the sources of these streams.
    #[arg(long, value_name = "NAME", num_args = 1..)]
    stream: Vec<String>,
    /// Prints the data sets as JSON.
    #[arg(long, conflicts_with = "pipeline")]
    json: bool,
    /// Prints a pipeline that loads them into files, to begin with.
    #[arg(long)]
    pipeline: bool,
}

/// The stream of a URI that is looked into.
const STREAM: &str = "source";

pub(crate) async fn run(arguments: &Arguments, screen: &Screen) -> Result<Exit, Failed> {
    let mut pipeline = pipeline_of(&arguments.place)?;
    select::keep(&mut pipeline, &arguments.stream)?;
    let streams = pipeline.streams.clone();
    let names: Vec<_> = streams.iter().map(|stream| stream.name.clone()).collect();
    let engine = Engine::new(pipeline)?;
    let (mut found, mut failures) = (Vec::new(), Vec::new());
    for name in &names {
        let datasets =
            signals::interruptible(async |shutdown| Ok(engine.discover(name, shutdown).await)).await?;
        match datasets {
            Ok(datasets) => found.push((name, datasets)),
            Err(error) => {
                screen.note(&format!("{} {name}: {error}\n", Paint::stderr().bad("failed")));
                failures.push(error.kind());
            }
        }
    }
    if arguments.json {
        let found = found.iter().map(|(stream, datasets)| json!({ "stream": stream, "datasets": datasets }));
        screen.print_json(&found.collect::<Vec<_>>())?;
    } else if arguments.pipeline {
        for (name, datasets) in &found {
            let Some(stream) = streams.iter().find(|stream| stream.name == **name) else { continue };
            if let Some(for_each) = &stream.for_each {
                let parent = &for_each.stream.name;
                screen.note(&format!(
                    "{name} is read for each row of {parent}: it is not drafted without that stream\n"
                ));
                continue;
            }
            screen.print(&draft(&stream.source.connector, &stream.source.options, datasets))?;
        }
    } else {
        for (name, datasets) in &found {
            let title =
                if names.len() > 1 { format!("{}\n", Paint::stdout().bold(name)) } else { String::new() };
            screen.print(&(title + &render(datasets, Screen::output_width(), Paint::stdout())))?;
        }
    }
    Ok(select::exit_of(failures))
}

fn pipeline_of(place: &str) -> Result<Pipeline, Failed> {
    let path = Path::new(place);
    let is_pipeline = uri::scheme(place).is_none()
        && path
            .extension()
            .is_some_and(|ending| ending.eq_ignore_ascii_case("yaml") || ending.eq_ignore_ascii_case("yml"));
    if is_pipeline {
        return pipeline::load(path);
    }
    let Place { connector, options } = uri::place(place)?;
    Ok(looking_into(SourceSpec { connector, connection: String::new(), options }))
}

/// A pipeline to look into a source with; its sink is never opened.
fn looking_into(source: SourceSpec) -> Pipeline {
    let sink = SinkSpec::never_opened(&source.connection);
    let stream = StreamSpec {
        name: STREAM.to_owned(),
        datasets: Vec::new(),
        source,
        for_each: None,
        sink,
        transform: Vec::new(),
        cursor: None,
        key: Vec::new(),
        write_disposition: None,
        schema_contract: SchemaContract::default(),
        on_error: OnError::default(),
        dead_letter: None,
        commit: CommitPolicy::default(),
    };
    Pipeline {
        name: "discover".to_owned(),
        max_in_flight: pipeline::default_max_in_flight(),
        memory: pipeline::default_memory(),
        threads: pipeline::processors(),
        state_dir: ".towpath".into(),
        outside: Outside::default(),
        connections: vec![ConnectionSpec::default()],
        streams: vec![stream],
    }
}

fn render(datasets: &[Dataset], width: Option<usize>, paint: Paint) -> String {
    if datasets.is_empty() {
        return "(nothing)\n".to_owned();
    }
    let mut table = Table::new(["data set", "rows", "size", "key", "columns", "source"]).numbers([1, 2]);
    for dataset in datasets {
        let columns = dataset.schema.as_ref().map(|schema| {
            schema
                .fields()
                .iter()
                .map(|field| format!("{} {}", field.name(), field.data_type()))
                .collect::<Vec<_>>()
                .join(", ")
        });
        table.row([
            dataset.name.clone(),
            dataset.estimate.rows.map(count).unwrap_or_default(),
            dataset.estimate.bytes.map(bytes).unwrap_or_default(),
            dataset.key.join(", "),
            columns.unwrap_or_default(),
            dataset.source.to_string(),
        ]);
    }
    table.render(width, paint)
}
