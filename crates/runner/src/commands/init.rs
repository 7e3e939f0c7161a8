//! `towpath init`: a commented pipeline that works, to begin with.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use crate::failed::{Exit, Failed};
use crate::output::screen::Screen;

#[derive(Args)]
pub(crate) struct Arguments {
    /// The folder to write to; it is made if it is not there.
    #[arg(default_value = ".")]
    folder: PathBuf,
    /// Prints the names of the written files as JSON to standard output.
    #[arg(long)]
    json: bool,
}

const PIPELINE: &str = include_str!("init/pipeline.yaml");
const ORDERS: &str = include_str!("init/orders.csv");

pub(crate) fn run(arguments: &Arguments, screen: &Screen) -> Result<Exit, Failed> {
    let folder = &arguments.folder;
    let files = [(folder.join("pipeline.yaml"), PIPELINE), (folder.join("landing/orders.csv"), ORDERS)];
    for (path, _) in &files {
        if path.exists() {
            let help = "name another folder: `towpath init FOLDER`".to_owned();
            return Err(Failed::usage(format!("`{}` is there already", path.display()), Some(help)));
        }
    }
    for (path, text) in &files {
        write(path, text)?;
    }
    if arguments.json {
        screen.print_json(&json!({ "written": files.map(|(path, _)| path) }))?;
    } else {
        let [(pipeline, _), (orders, _)] = &files;
        let names = format!("wrote {} and {}\n", pipeline.display(), orders.display());
        let change =
            if folder == Path::new(".") { String::new() } else { format!("cd {} && ", folder.display()) };
        screen.note(&format!("{names}next: {change}towpath run pipeline.yaml\n"));
    }
    Ok(Exit::Done)
}

/// Writes a new file, and never over another.
fn write(path: &Path, text: &str) -> Result<(), Failed> {
    let written = path.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| {
        OpenOptions::new().write(true).create_new(true).open(path)?.write_all(text.as_bytes())
    });
    written.map_err(|error| match error.kind() {
        ErrorKind::AlreadyExists => Failed::usage(format!("`{}` is there already", path.display()), None),
        _ => Failed::Error(towpath_core::Error::from(error).operation("init").detail("path", path.display())),
    })
}
