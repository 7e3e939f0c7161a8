//! Where files are committed.

use std::fmt;
use std::future::Future;

use arrow_schema::SchemaRef;
use towpath_core::{Begun, Checkpoint, CommitToken, Committed, Context, LoadSpec, Result, SinkCapabilities};

use super::{SinkOptions, Staging, Target, WritesFiles};

/// Where files are committed: what a connector brings to be a sink of rows.
///
/// It remembers the checkpoint, the columns and the committed files of each load. The methods have the promises of the
/// sink's methods of the same names.
pub trait Destination: Clone + fmt::Debug + Send + Sync + 'static {
    /// The connector's name, for errors.
    const CONNECTOR: &'static str;

    /// The options of the sink, as pipeline files write them.
    type Config: WritesFiles;

    /// How its files are staged.
    type Staging: Staging;

    /// Checks the options, and tells those that all of them have.
    fn open(config: Self::Config, cx: &Context) -> impl Future<Output = Result<(Self, SinkOptions)>> + Send;

    /// What it can do, where it is less than what files can that are committed together with the checkpoint.
    fn capabilities(&self, capabilities: SinkCapabilities) -> SinkCapabilities {
        capabilities
    }

    /// May we write here? Leaves nothing behind.
    fn check(
        &self,
        cx: &Context,
        target: &Target,
        load: &LoadSpec,
    ) -> impl Future<Output = Result<()>> + Send;

    /// Takes the target over for a run, and tells the columns of the last commit.
    fn begin(
        &self,
        cx: &Context,
        target: &Target,
        load: &LoadSpec,
    ) -> impl Future<Output = Result<(Checkpoint, Option<SchemaRef>)>> + Send;

    /// Where the files of a load are staged.
    fn staging(&self, target: &Target, load: &LoadSpec) -> Self::Staging;

    /// Whether a token was applied before.
    fn is_applied(
        &self,
        cx: &Context,
        target: &Target,
        begun: &Begun,
        token: &CommitToken,
    ) -> impl Future<Output = Result<bool>> + Send;

    /// Makes these files visible, and stores the token's progress.
    fn commit(
        &self,
        cx: &Context,
        target: &Target,
        begun: &Begun,
        commit: Commit<File<Self>>,
    ) -> impl Future<Output = Result<Committed>> + Send;

    /// Throws staged files away. Those that were committed meanwhile are not staged any more.
    fn discard(
        &self,
        cx: &Context,
        target: &Target,
        begun: &Begun,
        files: Vec<File<Self>>,
    ) -> impl Future<Output = Result<()>> + Send;

    /// The checkpoint as the target holds it.
    fn checkpoint(
        &self,
        cx: &Context,
        target: &Target,
        load: &LoadSpec,
    ) -> impl Future<Output = Result<Option<Checkpoint>>> + Send;

    /// Removes the checkpoint and what is staged. Committed files stay, and a later `replace` still finds them.
    fn forget(
        &self,
        cx: &Context,
        target: &Target,
        load: &LoadSpec,
    ) -> impl Future<Output = Result<()>> + Send;

    /// Throws away everything that runs have left and never committed, and tells it.
    fn sweep(
        &self,
        cx: &Context,
        target: &Target,
        load: &LoadSpec,
    ) -> impl Future<Output = Result<Vec<String>>> + Send;
}

/// A staged file of a destination.
pub(crate) type File<D> = <<D as Destination>::Staging as Staging>::File;

/// What is committed.
#[derive(Debug, Clone)]
pub struct Commit<F> {
    /// The progress.
    pub token: CommitToken,
    /// The files.
    pub files: Vec<F>,
    /// What happens to those that are there.
    pub old: Old,
}

/// What a commit does about the files that are there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Old {
    /// They stay, and nothing may be in the way.
    Stay,
    /// Those of earlier commits go, and nothing else may be in the way.
    Go,
    /// The one of the same path is overwritten, whoever wrote it.
    Overwritten,
}
