//! Running other programs.

use std::env;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context, Result, bail};

/// Runs a command to its end; its output goes where ours goes.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("cannot start `{}`", display(command)))?;
    if !status.success() {
        bail!("`{}` failed: {status}", display(command));
    }
    Ok(())
}

/// Runs a command to its end and returns what it printed.
/// What it wrote to stderr becomes part of the error when it fails.
pub(crate) fn capture(command: &mut Command) -> Result<String> {
    let Output { status, stdout, stderr } =
        command.output().with_context(|| format!("cannot start `{}`", display(command)))?;
    if !status.success() {
        bail!("`{}` failed: {status}\n{}", display(command), String::from_utf8_lossy(&stderr).trim_end());
    }
    String::from_utf8(stdout)
        .with_context(|| format!("`{}` printed text that is not UTF-8", display(command)))
}

/// A command as one would type it, without the folders of the program.
pub(crate) fn display(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let mut text = program.file_name().unwrap_or(command.get_program()).to_string_lossy().into_owned();
    for argument in command.get_args() {
        let argument = argument.to_string_lossy();
        let quote = if argument.contains(' ') { "'" } else { "" };
        write!(text, " {quote}{argument}{quote}").expect("writing to a String cannot fail");
    }
    text
}

/// Finds a program in the folders of `PATH`.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path).map(|folder| folder.join(program)).find(|candidate| candidate.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_names_the_command_and_what_it_said() {
        let error =
            capture(Command::new("sh").args(["-c", "echo broken >&2; exit 3"])).unwrap_err().to_string();
        assert!(error.contains("`sh -c 'echo broken >&2; exit 3'` failed"), "{error}");
        assert!(error.ends_with("broken"), "{error}");
    }

    #[test]
    fn a_missing_program_is_named() {
        let error = run(&mut Command::new("no-such-program")).unwrap_err();
        assert!(format!("{error:#}").starts_with("cannot start `no-such-program`"), "{error:#}");
    }
}
