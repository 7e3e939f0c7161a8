//! A bucket that files are committed to.

use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::sync::Arc;

use arrow_schema::SchemaRef;
use tokio::sync::Semaphore;
use towpath_core::{
    Begun, Checkpoint, CommitToken, Committed, Context, LoadSpec, Realm, Result, SinkCapabilities,
};
use towpath_files::sink::{Commit, Destination, SinkOptions, Target, WritesFiles};

use super::claim::claim;
use super::home::{Home, Site};
use super::options::{Layout, UploadSettings};
use super::output::Outlet;
use super::plain;
use super::staging::{ObjectFile, ObjectStaging};
use crate::Opener;

/// What a connector brings to be a sink of objects.
pub trait Provider: Clone + fmt::Debug + Send + Sync + 'static {
    /// The connector's name, for errors.
    const CONNECTOR: &'static str;

    /// The options of the sink, as pipeline files write them.
    type Config: WritesFiles;

    /// Checks the options, and tells what they mean.
    fn open(config: Self::Config, cx: &Context) -> impl Future<Output = Result<SinkParts>> + Send;
}

/// What a sink of objects is made of.
#[derive(Debug)]
pub struct SinkParts {
    /// The bucket.
    pub opener: Arc<dyn Opener>,
    /// The options that all stores of files have, with the key in `path`.
    pub files: SinkOptions,
    /// How objects are written.
    pub settings: UploadSettings,
    /// Out of which the service copies parts of uploads; `None` where it does not.
    pub realm: Option<Realm>,
}

/// A bucket that files are committed to.
#[derive(Debug, Clone)]
pub struct ObjectDestination<P> {
    outlet: Arc<Outlet>,
    provider: PhantomData<fn() -> P>,
}

impl<P: Provider> ObjectDestination<P> {
    async fn site(&self, cx: &Context, target: &Target, load: &LoadSpec) -> Result<Site> {
        Ok(Site { bucket: self.outlet.opener.open(cx).await?, home: Home::new(target, load) })
    }

    fn is_plain(&self) -> bool {
        self.outlet.settings.layout == Layout::Plain
    }
}

impl<P: Provider> Destination for ObjectDestination<P> {
    const CONNECTOR: &'static str = P::CONNECTOR;

    type Config = P::Config;
    type Staging = ObjectStaging<P>;

    async fn open(config: P::Config, cx: &Context) -> Result<(Self, SinkOptions)> {
        let SinkParts { opener, files, settings, .. } = P::open(config, cx).await?;
        settings.check()?;
        let permits = Arc::new(Semaphore::new(settings.parts_in_flight));
        Ok((Self { outlet: Arc::new(Outlet { opener, settings, permits }), provider: PhantomData }, files))
    }

    fn capabilities(&self, capabilities: SinkCapabilities) -> SinkCapabilities {
        if self.is_plain() { plain::capabilities(capabilities) } else { capabilities }
    }

    async fn check(&self, cx: &Context, target: &Target, load: &LoadSpec) -> Result<()> {
        let site = self.site(cx, target, load).await?;
        site.check(&self.outlet.settings.appearance, self.is_plain()).await
    }

    async fn begin(
        &self,
        cx: &Context,
        target: &Target,
        load: &LoadSpec,
    ) -> Result<(Checkpoint, Option<SchemaRef>)> {
        claim(&self.outlet.opener.display(""), target, load)?;
        if self.is_plain() {
            return plain::begin(target, load);
        }
        self.site(cx, target, load).await?.begin(target, load).await
    }

    fn staging(&self, target: &Target, load: &LoadSpec) -> ObjectStaging<P> {
        ObjectStaging::new(self.outlet.clone(), Home::new(target, load), &load.run)
    }

    async fn is_applied(
        &self,
        cx: &Context,
        target: &Target,
        begun: &Begun,
        token: &CommitToken,
    ) -> Result<bool> {
        if self.is_plain() {
            return Ok(false);
        }
        self.site(cx, target, &begun.load).await?.is_applied(token).await
    }

    async fn commit(
        &self,
        cx: &Context,
        target: &Target,
        begun: &Begun,
        commit: Commit<ObjectFile>,
    ) -> Result<Committed> {
        let site = self.site(cx, target, &begun.load).await?;
        if self.is_plain() {
            return site.complete_all(&commit.files).await.map(|()| Committed::Applied);
        }
        site.commit(begun, commit).await
    }

    async fn discard(
        &self,
        cx: &Context,
        target: &Target,
        begun: &Begun,
        files: Vec<ObjectFile>,
    ) -> Result<()> {
        if files.is_empty() {
            return Ok(());
        }
        self.site(cx, target, &begun.load).await?.discard(&files).await
    }

    async fn checkpoint(&self, cx: &Context, target: &Target, load: &LoadSpec) -> Result<Option<Checkpoint>> {
        if self.is_plain() {
            return Ok(None);
        }
        self.site(cx, target, load).await?.checkpoint().await
    }

    async fn sweep(&self, cx: &Context, target: &Target, load: &LoadSpec) -> Result<Vec<String>> {
        self.site(cx, target, load).await?.sweep(target, load).await
    }

    async fn forget(&self, cx: &Context, target: &Target, load: &LoadSpec) -> Result<()> {
        if self.is_plain() {
            return Ok(());
        }
        self.site(cx, target, load).await?.forget(target, load).await
    }
}
