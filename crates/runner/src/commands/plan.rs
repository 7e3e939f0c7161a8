//! `towpath plan`: what a run would read, without moving anything.

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::Args;
use towpath_core::Estimate;
use towpath_engine::{Engine, PlannedStream};

use super::select;
use crate::failed::{Exit, Failed};
use crate::output::paint::Paint;
use crate::output::screen::Screen;
use crate::output::table::Table;
use crate::output::units::{bytes, count, counted};
use crate::{pipeline, signals};

/// How many splits of a stream are listed for people.
const LISTED: usize = 20;

#[derive(Args)]
pub(crate) struct Arguments {
    /// The pipeline file.
    file: PathBuf,
    /// Plans only these streams.
    #[arg(long, value_name = "NAME", num_args = 1..)]
    stream: Vec<String>,
    /// Prints the plans as JSON.
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(arguments: &Arguments, screen: &Screen) -> Result<Exit, Failed> {
    let mut pipeline = pipeline::load_and_expand(&arguments.file).await?;
    select::keep(&mut pipeline, &arguments.stream)?;
    let names: Vec<_> = pipeline.streams.iter().map(|stream| stream.name.clone()).collect();
    let engine = Engine::new(pipeline)?;
    let (mut plans, mut failures) = (Vec::new(), Vec::new());
    for name in &names {
        let plan = signals::interruptible(async |shutdown| Ok(engine.plan(name, shutdown).await)).await?;
        match plan {
            Ok(plan) => plans.push(plan),
            Err(error) => {
                screen.note(&format!("{} {name}: {error}\n", Paint::stderr().bad("failed")));
                failures.push(error.kind());
            }
        }
    }
    if arguments.json {
        screen.print_json(&plans)?;
    } else {
        let texts: Vec<_> =
            plans.iter().map(|plan| render(plan, Screen::output_width(), Paint::stdout())).collect();
        screen.print(&texts.join("\n"))?;
    }
    Ok(select::exit_of(failures))
}

fn render(plan: &PlannedStream, width: Option<usize>, paint: Paint) -> String {
    let mut text = String::new();
    let disposition = format!("{:?}", plan.disposition).to_lowercase();
    let resumes = if plan.resumes { ", goes on with an interrupted run" } else { "" };
    let head = format!(
        "{}: {disposition}, {}{}{resumes}",
        paint.bold(&plan.stream),
        counted(plan.count, "split"),
        held(&plan.estimate)
    );
    writeln!(text, "{head}").expect("a String takes all text");
    match &plan.schema {
        None => text.push_str("  the columns are known with the first rows\n"),
        Some(schema) => {
            let mut table = Table::new(["  column", "type"]);
            for field in schema.fields() {
                table.row([format!("  {}", field.name()), field.data_type().to_string()]);
            }
            text.push_str(&table.render(width, paint));
        }
    }
    for split in plan.splits.iter().take(LISTED) {
        writeln!(text, "  {} {split}", paint.dim("split")).expect("a String takes all text");
    }
    let more = plan.count.saturating_sub(plan.splits.len().min(LISTED) as u64);
    if more > 0 {
        writeln!(text, "  and {} more", count(more)).expect("a String takes all text");
    }
    text
}

fn held(estimate: &Estimate) -> String {
    let rows = estimate.rows.map(|rows| format!(", about {}", counted(rows, "row")));
    let size = estimate.bytes.map(|size| format!(", about {}", bytes(size)));
    [rows, size].into_iter().flatten().collect()
}
