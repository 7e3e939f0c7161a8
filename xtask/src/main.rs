//! The tasks of this repository, run as `cargo xtask TASK`.
//!
//! One module a task. Nothing here depends on a Towpath crate, so that the tasks build in seconds and can
//! report on a workspace that does not compile.

mod bench;
mod ci;
mod docs;
mod new_connector;
mod packages;
mod process;
mod services;
mod slim;
mod test;
mod tidy;
mod towpath;
mod workspace;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::workspace::Workspace;

/// Tasks of the Towpath repository.
#[derive(Parser)]
#[command(bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Runs every check and test, as continuous integration does.
    Ci(ci::Arguments),
    /// Builds the command, starts the services that tests need, and runs all tests.
    Test(test::Arguments),
    /// Checks the invariants of docs/architecture.md.
    Tidy,
    /// Writes the connector reference and the pipeline's JSON Schema from the config types.
    Docs(docs::Arguments),
    /// Starts and stops private, throw-away servers for tests.
    Services(services::Arguments),
    /// Writes the skeleton of a connector.
    NewConnector(new_connector::Arguments),
    /// Builds the smallest binary that runs a pipeline.
    Slim(slim::Arguments),
    /// Runs benchmarks by name, or all of them.
    Bench(bench::Arguments),
}

fn main() -> ExitCode {
    match run(Arguments::parse().task) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(task: Task) -> Result<()> {
    let workspace = Workspace::load()?;
    match task {
        Task::Ci(arguments) => ci::run(&workspace, &arguments),
        Task::Test(arguments) => test::run(&workspace, &arguments),
        Task::Tidy => tidy::run(&workspace),
        Task::Docs(arguments) => docs::run(&workspace, &arguments),
        Task::Services(arguments) => services::run(&workspace, &arguments),
        Task::NewConnector(arguments) => new_connector::run(&workspace, &arguments),
        Task::Slim(arguments) => slim::run(&workspace, &arguments),
        Task::Bench(arguments) => bench::run(&workspace, &arguments),
    }
}
