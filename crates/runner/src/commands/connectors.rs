//! `towpath connectors`: what this binary can read and write, and every option.

use std::path::PathBuf;

use clap::Args;
use serde_json::{Value, json};
use towpath_core::Connector;

use crate::connectors::{CONNECTORS, find, unknown};
use crate::failed::{Exit, Failed};
use crate::output::options::options_table;
use crate::output::paint::Paint;
use crate::output::screen::Screen;
use crate::output::table::Table;
use crate::pipeline::{self, Side, needed_features};

#[derive(Args)]
pub(crate) struct Arguments {
    /// Shows this connector with all of its options.
    name: Option<String>,
    /// Prints JSON: for each connector its schemes, the JSON Schema of its options, and an example.
    #[arg(long)]
    json: bool,
    /// Shows the features that a binary needs for this pipeline, also those that this binary lacks.
    #[arg(long, value_name = "FILE", conflicts_with = "name")]
    needed: Option<PathBuf>,
}

pub(crate) fn run(arguments: &Arguments, screen: &Screen) -> Result<Exit, Failed> {
    match (&arguments.needed, &arguments.name) {
        (Some(file), _) => needed(file, arguments.json, screen)?,
        (None, Some(name)) => {
            let connector = find(name).ok_or_else(|| {
                let unknown = unknown(name);
                let near = unknown.suggestion.map(|near| format!("did you mean `{near}`?"));
                Failed::usage(unknown.message, near.or(Some(unknown.help)))
            })?;
            if arguments.json {
                screen.print_json(&described(&connector))?;
            } else {
                screen.print(&page(&connector, Screen::output_width(), Paint::stdout()))?;
            }
        }
        (None, None) if arguments.json => {
            screen.print_json(&CONNECTORS.iter().map(described).collect::<Vec<_>>())?;
        }
        (None, None) => screen.print(&list().render(Screen::output_width(), Paint::stdout()))?,
    }
    Ok(Exit::Done)
}

fn needed(file: &std::path::Path, as_json: bool, screen: &Screen) -> Result<(), Failed> {
    let features = needed_features(&file.display().to_string(), &pipeline::read(file)?)?;
    if as_json {
        return screen.print_json(&json!({ "features": features }));
    }
    let lines: Vec<_> = features.iter().map(|feature| format!("{feature}\n")).collect();
    screen.print(&lines.concat())
}

fn described(connector: &Connector) -> Value {
    let side = |side: Side| side.schema(connector).map(|schema| json!({ "schema": schema }));
    let example = Some(connector.example_pipeline()).filter(|example| !example.is_empty());
    json!({
        "name": connector.name(),
        "summary": connector.summary(),
        "schemes": connector.schemes(),
        "source": side(Side::Source),
        "sink": side(Side::Sink),
        "example": example,
    })
}

fn list() -> Table {
    let mut table = Table::new(["connector", "source", "sink", "URIs", ""]);
    let mark = |is_there: bool| if is_there { "yes" } else { "no" };
    for connector in CONNECTORS {
        let schemes: Vec<_> = connector.schemes().iter().map(|scheme| format!("{scheme}:")).collect();
        table.row([
            connector.name(),
            mark(connector.source_entry().is_some()),
            mark(connector.sink_entry().is_some()),
            &schemes.join(" "),
            connector.summary(),
        ]);
    }
    table
}

fn page(connector: &Connector, width: Option<usize>, paint: Paint) -> String {
    let side = |side: Side| {
        let options = match side.schema(connector).map(|schema| options_table(&schema)) {
            None => format!("(this connector is no {})\n", side.name()),
            Some(table) if table.is_empty() => "(no options)\n".to_owned(),
            Some(table) => table.render(width, paint),
        };
        format!("\n{}\n{options}", paint.bold(side.name()))
    };
    let example = match connector.example_pipeline().trim_end() {
        "" => String::new(),
        example => format!("\n{}\n{example}\n", paint.bold("example")),
    };
    let title = format!("{}: {}\n", paint.bold(connector.name()), connector.summary());
    [title, side(Side::Source), side(Side::Sink), example].concat()
}
