//! Staging objects.

use std::marker::PhantomData;
use std::sync::Arc;

use futures::TryStreamExt;
use serde::{Deserialize, Serialize};
use towpath_core::{Context, Error, ErrorKind, Result};
use towpath_files::sink::{Role, StagedFile, Staging};
use towpath_formats::{Input, Output};

use super::Provider;
use super::home::{Home, Site};
use super::output::{ObjectOutput, Outlet};
use super::upload::Leftover;
use crate::ObjectInput;
use crate::extras::{Appearance, CopySource, Upload};

/// How many bytes the objects that a writer keeps open may hold back in all.
const MOST_GATHERED: u64 = 128 << 20;

/// How much of an object is copied as one part; no store copies more at once.
const COPIED_AT_ONCE: u64 = 1 << 30;

/// An object of a commit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectFile {
    /// Its path below the base.
    pub(super) path: String,
    /// In bytes.
    pub(super) size: u64,
    /// The upload that makes it visible once it is completed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) upload: Option<UploadedParts>,
    /// The path of a hidden object with the same bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) staged: Option<String>,
}

/// An upload, of which all parts are there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct UploadedParts {
    pub(super) id: String,
    pub(super) parts: Vec<String>,
    /// What the object will carry, so that it is known as the one of this upload.
    pub(super) mark: String,
    /// What it will say of itself: some stores want to hear that when the upload is completed.
    #[serde(default, skip_serializing_if = "Appearance::is_plain")]
    pub(super) appearance: Appearance,
}

impl StagedFile for ObjectFile {
    fn path(&self) -> &str {
        &self.path
    }
}

impl ObjectFile {
    /// The path of the hidden object.
    fn hidden(&self) -> Result<&str> {
        self.staged.as_deref().ok_or_else(|| {
            Error::unexpected("an upload that is not completed cannot be read").detail("path", &self.path)
        })
    }

    /// The same once it is visible.
    pub(super) fn completed(self) -> Self {
        Self { upload: None, staged: None, ..self }
    }
}

/// An object that is written and goes away again unless it is kept.
#[derive(Debug)]
pub struct HeldObject {
    pub(super) file: ObjectFile,
    pub(super) leftover: Arc<Leftover>,
}

/// The bucket, for the files of a load.
#[derive(Debug, Clone)]
pub struct ObjectStaging<P> {
    outlet: Arc<Outlet>,
    home: Home,
    run: String,
    provider: PhantomData<fn() -> P>,
}

impl<P: Provider> ObjectStaging<P> {
    pub(super) fn new(outlet: Arc<Outlet>, home: Home, run: &str) -> Self {
        Self { outlet, home, run: run.to_owned(), provider: PhantomData }
    }

    /// Begins an upload to the key of a path.
    fn whole(&self, cx: &Context, path: String) -> ObjectOutput {
        let key = self.home.key(&path);
        let file = ObjectFile { path, size: 0, upload: None, staged: None };
        ObjectOutput::new(self.outlet.clone(), cx, key, file)
    }
}

/// Uploads a hidden object to its place: the service copies it, or it is read and written.
pub(super) async fn copied(
    site: &Site,
    outlet: &Arc<Outlet>,
    hidden: &str,
    path: String,
    length: u64,
) -> Result<ObjectFile> {
    let held = match copy(site, outlet, hidden, &path, length).await? {
        Some(held) => held,
        None => send_again(site, outlet, hidden, path).await?,
    };
    held.leftover.keep();
    Ok(held.file)
}

/// Lets the service copy a hidden object to its place; `None` where it cannot.
async fn copy(
    site: &Site,
    outlet: &Arc<Outlet>,
    hidden: &str,
    path: &str,
    length: u64,
) -> Result<Option<HeldObject>> {
    if length == 0 {
        return Ok(None);
    }
    let (key, source) = (site.home.key(path)?, site.home.key(hidden)?);
    let mark = format!("{:016x}", fastrand::u64(..));
    let appearance = outlet.settings.appearance.clone();
    let id = site.bucket.begin_upload(&key, &mark, &appearance).await?;
    let upload = Upload { key: key.clone(), id: id.clone() };
    let leftover = Arc::new(Leftover::upload(outlet.opener.clone(), site.bucket.cx(), key, id.clone()));
    let mut parts = Vec::new();
    let mut from = 0;
    while from < length {
        let end = (from + COPIED_AT_ONCE).min(length);
        let is_whole = end - from == length;
        let range = (!is_whole).then_some(from..end);
        let source = CopySource { bucket: None, key: source.clone(), tag: None, version: None, range };
        let Some(part) = site.bucket.copy_part(&upload, parts.len(), &source).await? else {
            site.bucket.abort(&upload.key, &upload.id).await?;
            leftover.keep();
            return Ok(None);
        };
        parts.push(part);
        from = end;
    }
    let upload = Some(UploadedParts { id, parts, mark, appearance });
    Ok(Some(HeldObject {
        file: ObjectFile { path: path.to_owned(), size: length, upload, staged: None },
        leftover,
    }))
}

/// Reads a hidden object and writes it to its place.
async fn send_again(site: &Site, outlet: &Arc<Outlet>, hidden: &str, path: String) -> Result<HeldObject> {
    let entry = site.bucket.head(&site.home.key(hidden)?, None).await?;
    let input = ObjectInput::new(outlet.opener.clone(), site.bucket.cx(), entry, path.clone());
    let key = site.home.key(&path);
    let file = ObjectFile { path, size: 0, upload: None, staged: None };
    let mut output = ObjectOutput::new(outlet.clone(), site.bucket.cx(), key, file);
    let mut bytes = input.stream(0).await?;
    while let Some(piece) = bytes.try_next().await? {
        output.write(piece).await?;
    }
    output.uploaded().await
}

impl<P: Provider> Staging for ObjectStaging<P> {
    const CONNECTOR: &'static str = P::CONNECTOR;

    type Output = ObjectOutput;
    type Held = HeldObject;
    type File = ObjectFile;

    /// Each gathers up to a part.
    fn most_open(&self) -> usize {
        let most = MOST_GATHERED / self.outlet.settings.part_size.bytes().max(1);
        usize::try_from(most).unwrap_or(usize::MAX).clamp(4, 64)
    }

    fn begin(&self, cx: &Context, path: String, role: Role) -> ObjectOutput {
        match role {
            Role::Whole => self.whole(cx, path),
            Role::Segment => {
                // The whole name, because its extensions tell the format.
                let name = path.rsplit('/').next().unwrap_or(&path);
                let name = format!("{:016x}-{name}", fastrand::u64(..));
                let staged = self.home.staged_path(&self.run, &name);
                let key = self.home.key(&staged);
                let file = ObjectFile { path, size: 0, upload: None, staged: Some(staged) };
                ObjectOutput::new(self.outlet.clone(), cx, key, file)
            }
        }
    }

    async fn finish(&self, output: ObjectOutput) -> Result<HeldObject> {
        output.finish().await
    }

    fn keep(&self, held: HeldObject) -> ObjectFile {
        held.leftover.keep();
        held.file
    }

    async fn promote(&self, cx: &Context, segment: &ObjectFile) -> Result<ObjectFile> {
        let site = Site { bucket: self.outlet.opener.open(cx).await?, home: self.home.clone() };
        let staged = segment.hidden()?;
        copied(&site, &self.outlet, staged, segment.path.clone(), segment.size).await
    }

    async fn open(&self, cx: &Context, segment: &ObjectFile) -> Result<(Arc<dyn Input>, u64)> {
        let staged = segment.hidden()?;
        let entry = self.outlet.opener.open(cx).await?.head(&self.home.key(staged)?, None).await?;
        let size = entry.size;
        let input = ObjectInput::new(self.outlet.opener.clone(), cx, entry, segment.path.clone());
        Ok((Arc::new(input), size))
    }

    async fn open_committed(&self, cx: &Context, path: &str) -> Result<Option<Arc<dyn Input>>> {
        let bucket = self.outlet.opener.open(cx).await?;
        match bucket.head(&self.home.key(path)?, None).await {
            Ok(entry) => {
                let input = ObjectInput::new(self.outlet.opener.clone(), cx, entry, path.to_owned());
                Ok(Some(Arc::new(input)))
            }
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}
