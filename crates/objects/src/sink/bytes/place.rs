//! Where objects go, and which uploads are open.

use std::collections::HashMap;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::OnceCell;
use towpath_core::{Context, LoadSpec, Result};
use towpath_files::sink::{ByteFolder, InUse, Partial};

use super::partial::{OpenUpload, PartialObjects};
use crate::Bucket;
use crate::reference::Reference;
use crate::sink::home::{Home, Site};
use crate::sink::output::Outlet;
use crate::sink::upload::Leftover;

/// A folder for objects, and the uploads that writers share.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) folder: ByteFolder,
    pub(super) outlet: Arc<Outlet>,
    pub(super) in_use: InUse,
    /// Whether the service copies named bytes; until it refuses.
    pub(super) copies: AtomicBool,
    open: Mutex<HashMap<String, Arc<OnceCell<OpenUpload>>>>,
    /// The buckets of bytes that are named.
    sources: tokio::sync::Mutex<HashMap<String, Bucket>>,
}

impl Place {
    pub(super) fn new(folder: ByteFolder, outlet: Arc<Outlet>) -> Self {
        Self {
            folder,
            outlet,
            in_use: InUse::default(),
            copies: true.into(),
            open: Mutex::default(),
            sources: tokio::sync::Mutex::default(),
        }
    }

    pub(super) fn home(&self, load: &LoadSpec) -> Home {
        Home::of_folder(self.folder.base(), load)
    }

    pub(super) async fn site(&self, cx: &Context, load: &LoadSpec) -> Result<Site> {
        Ok(Site { bucket: self.outlet.opener.open(cx).await?, home: self.home(load) })
    }

    /// Goes on with these uploads, and with no others.
    pub(super) fn go_on(&self, partials: &PartialObjects) {
        let known = partials
            .iter()
            .map(|(key, object)| (key.clone(), Arc::new(OnceCell::new_with(Some(object.upload.clone())))));
        *self.open.lock().unwrap_or_else(PoisonError::into_inner) = known.collect();
    }

    /// Whether an upload was begun for a partial object.
    pub(super) fn is_open(&self, key: &str) -> bool {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).contains_key(key)
    }

    /// Where a partial object is uploaded to: its place, or a hidden one where it has a digest, which can only be checked by
    /// reading it.
    pub(super) fn path(&self, home: &Home, stream: &str, key: &str, known: &Partial) -> String {
        match known.digest {
            Some(_) => home.partial_path(key),
            None => self.folder.path(stream, &known.name),
        }
    }

    /// The upload of a partial object, which the first who needs it begins. What the options do not say of it, it says as the one
    /// whose bytes are named.
    pub(super) async fn upload(
        &self,
        site: &Site,
        stream: &str,
        key: &str,
        known: &Partial,
        named: Option<&Reference>,
    ) -> Result<OpenUpload> {
        let cell = self
            .open
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .entry(key.to_owned())
            .or_default()
            .clone();
        let begin = async || {
            let path = self.path(&site.home, stream, key, known);
            let mark = format!("{:016x}", fastrand::u64(..));
            let mut appearance = self.outlet.settings.appearance.clone();
            if let Some(named) = named {
                let source = self.source(site, named).await?;
                appearance = appearance.or(source.appearance(&named.file).await?);
            }
            let id = site.bucket.begin_upload(&site.home.key(&path)?, &mark, &appearance).await?;
            let part_size = self.outlet.settings.part_size.bytes();
            Ok(OpenUpload { path, id, mark, appearance, part_size })
        };
        cell.get_or_try_init(begin).await.cloned()
    }

    /// The bucket of named bytes, as the sink sees it.
    pub(super) async fn source(&self, site: &Site, named: &Reference) -> Result<Bucket> {
        let mut sources = self.sources.lock().await;
        if let Some(known) = sources.get(&named.bucket) {
            return Ok(known.clone());
        }
        let bucket = self.outlet.opener.other(&named.bucket).open(site.bucket.cx()).await?;
        Ok(sources.entry(named.bucket.clone()).or_insert(bucket).clone())
    }

    /// Notes that a part's bytes are not wanted. An upload that nobody else needs is given up; so are hidden objects.
    pub(super) fn release(
        &self,
        cx: &Context,
        load: &LoadSpec,
        part: u32,
        keys: impl Iterator<Item = String>,
        hidden: &[String],
    ) {
        let home = self.home(load);
        self.in_use.release(part, keys, |key| {
            let open = self.open.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
            let upload = open.and_then(|cell| cell.get().cloned());
            if let Some(upload) = upload
                && let Ok(target) = home.key(&upload.path)
            {
                drop(Leftover::upload(self.outlet.opener.clone(), cx, target, upload.id));
            }
        });
        for key in hidden.iter().filter_map(|path| home.key(path).ok()) {
            drop(Leftover::object(self.outlet.opener.clone(), cx, key));
        }
    }

    /// Forgets uploads that are completed or given up.
    pub(super) fn close<'a>(&self, keys: impl Iterator<Item = &'a String>) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        keys.for_each(|key| drop(open.remove(key)));
    }
}
