//! The `towpath` command: extract, transform and load, with all of the waiting overlapped.

mod cli;
mod commands;
mod connectors;
mod failed;
mod logging;
mod nearest;
mod output;
mod pipeline;
mod signals;
mod stall;

use std::process::ExitCode;

use clap::Parser as _;

use crate::cli::{Cli, Command};
use crate::failed::{Exit, Failed};
use crate::output::paint::Paint;
use crate::output::screen::Screen;

#[cfg(not(target_env = "msvc"))]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let Cli { logging, command } = Cli::parse();
    let screen = Screen::new();
    logging::init(&logging, &screen);
    #[cfg(feature = "tls")]
    rustls::crypto::ring::default_provider()
        .install_default()
        .expect("nobody installs another provider before the first line of the command");
    let exit = match execute(command, &screen) {
        Ok(exit) => exit,
        Err(failed) => {
            screen.note(&failed.render(Paint::stderr()));
            failed.exit()
        }
    };
    exit.into()
}

fn execute(command: Command, screen: &Screen) -> Result<Exit, Failed> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let exit = runtime.block_on(async {
        let _watch = stall::watch();
        match command {
            Command::Run(arguments) => commands::run::run(arguments, screen).await,
            Command::Check(arguments) => commands::check::run(&arguments, screen).await,
            Command::Plan(arguments) => commands::plan::run(&arguments, screen).await,
            Command::Preview(arguments) => commands::preview::run(&arguments, screen).await,
            Command::Discover(arguments) => commands::discover::run(&arguments, screen).await,
            Command::Copy(arguments) => commands::copy::run(&arguments, screen).await,
            Command::Connectors(arguments) => commands::connectors::run(&arguments, screen),
            Command::Schema => commands::schema::run(screen),
            Command::State(arguments) => commands::state::run(&arguments, screen).await,
            Command::Init(arguments) => commands::init::run(&arguments, screen),
            #[cfg(feature = "demo")]
            Command::Demo(arguments) => commands::demo::run(&arguments, screen).await,
            Command::Completions(arguments) => commands::completions::run(&arguments, screen),
        }
    });
    // Blocking work that a signal left behind must not hold the process.
    runtime.shutdown_background();
    exit
}
