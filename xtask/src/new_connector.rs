//! placeholder
use crate::workspace::Workspace;
use anyhow::Result;
#[derive(clap::Args)]
pub(crate) struct Arguments {
    name: String,
}
pub(crate) fn run(_: &Workspace, a: &Arguments) -> Result<()> {
    anyhow::bail!("{}", a.name)
}
