//! Commits of chunks: which bytes are durable, and which objects are complete.

use std::collections::BTreeSet;
use std::collections::btree_map::Entry;

use bytes::BytesMut;
use futures::{StreamExt, TryStreamExt, stream};
use serde_json::json;
use towpath_core::{
    Begun, Checkpoint, CommitToken, Committed, ErrorKind, LoadSpec, Rejected, Result, Staged,
    WriteDisposition,
};
use towpath_files::FileEntry;
use towpath_formats::chunks::{Digest, Hasher};

use super::partial::{PartialObject, PartialObjects, Receipt};
use super::place::Place;
use crate::extras::Upload;
use crate::sink::commit::next;
use crate::sink::home::Site;
use crate::sink::manifest::{Intent, Manifest};
use crate::sink::staging::{ObjectFile, UploadedParts, copied};

/// How many objects are made whole at once.
const OBJECTS_AT_ONCE: usize = 8;

/// How much of an object is read at once to be hashed.
const READ: u64 = 8 << 20;

/// Takes the target over for a run. Bytes that earlier runs have committed stay, unless they cannot become whole objects any
/// more: then everything is read again.
pub(super) async fn begin(site: &Site, place: &Place, load: &LoadSpec) -> Result<Checkpoint> {
    let uploads = site.uploads().await?;
    let open = open_uploads(site).await?;
    let held = site.begin_with(load, |manifest, checkpoint| {
        let can_go_on = manifest
            .partials
            .values()
            .all(|object| object.known.broken.is_none() && open.contains(&object.upload.id));
        if !can_go_on {
            tracing::warn!(
                stream = load.stream,
                "an object of the last run cannot be completed; everything is read again"
            );
            checkpoint.start_again();
        }
        if !can_go_on || load.disposition == WriteDisposition::Replace {
            manifest.partials.clear();
        }
    });
    let manifest = held.await?;
    throw_away(site, &manifest, Some(&load.run), uploads).await?;
    place.go_on(&manifest.partials);
    place.in_use.committed(&BTreeSet::new(), manifest.partials.keys().cloned());
    Ok(manifest.checkpoint.unwrap_or_default())
}

/// The uploads of the manifest that can go on, by their ids.
async fn open_uploads(site: &Site) -> Result<BTreeSet<String>> {
    let mut open = BTreeSet::new();
    let Some(held) = site.load().await? else { return Ok(open) };
    for object in site.settle(held).await?.manifest.partials.into_values() {
        let upload = Upload { key: site.home.key(&object.upload.path)?, id: object.upload.id };
        let parts: Vec<_> = object.parts.into_values().collect();
        if site.bucket.is_open(&upload, &parts).await? {
            open.insert(upload.id);
        }
    }
    Ok(open)
}

/// Throws away what no manifest knows: noted uploads, hidden objects. Tells the keys. What this run has stays.
pub(super) async fn throw_away(
    site: &Site,
    manifest: &Manifest,
    run: Option<&str>,
    uploads: Vec<Upload>,
) -> Result<Vec<String>> {
    let own = run.map(|run| site.home.staged_by(run));
    let mut notes = site.bucket.keys(&site.home.staged()).await?;
    notes.retain(|key| own.as_ref().is_none_or(|own| !key.starts_with(own)));
    let mut began = BTreeSet::new();
    for note in &notes {
        let text = site.bucket.read_whole(note).await?.map(|note| note.bytes).unwrap_or_default();
        let paths: Vec<String> = serde_json::from_slice(&text).unwrap_or_default();
        began.extend(paths);
    }
    let known = |id: &String| manifest.partials.values().any(|object| object.upload.id == *id);
    let is_left = |upload: &Upload| {
        let path = site.home.path(&upload.key);
        !known(&upload.id)
            && path.is_some_and(|path| began.contains(path) || upload.key.starts_with(&site.home.partials()))
    };
    let left: Vec<_> = uploads.into_iter().filter(is_left).collect();
    let mut told: Vec<_> = left
        .iter()
        .map(|upload| format!("the upload {} of {}", upload.id, site.bucket.display(&upload.key)))
        .collect();
    site.abort_all(left).await?;
    let kept: BTreeSet<&str> = manifest.partials.values().flat_map(PartialObject::hidden).collect();
    let mut hidden = site.bucket.keys(&site.home.partials()).await?;
    hidden.retain(|key| site.home.path(key).is_some_and(|path| !kept.contains(path)));
    hidden.extend(notes);
    told.extend(hidden.iter().map(|key| site.bucket.display(key)));
    site.bucket.delete(hidden).await?;
    Ok(told)
}

/// Commits what was staged with a token.
pub(super) async fn commit(
    site: &Site,
    place: &Place,
    begun: &Begun,
    token: &CommitToken,
    staged: &[Staged],
) -> Result<Committed> {
    let load = &begun.load;
    let parts: BTreeSet<u32> = staged.iter().map(|staged| staged.part).collect();
    let held = site.settle(site.held().await?).await?;
    let receipts = staged.iter().map(Receipt::of).collect::<Result<Vec<_>>>()?;
    let notes = receipts.iter().flat_map(|receipt| receipt.notes.clone());
    let notes = notes.map(|path| site.home.key(&path)).collect::<Result<Vec<_>>>()?;
    let Some(checkpoint) = next(&held, token)? else {
        place.in_use.committed(&parts, held.manifest.partials.keys().cloned());
        site.bucket.delete(notes).await?;
        return Ok(Committed::AlreadyApplied);
    };
    let mut manifest = held.manifest.clone();
    let mut objects = std::mem::take(&mut manifest.partials);
    let broken_before: BTreeSet<String> = objects
        .iter()
        .filter(|(_, object)| object.known.broken.is_some())
        .map(|(key, _)| key.clone())
        .collect();
    for receipt in receipts {
        add(&mut objects, receipt.objects);
    }
    break_same_names(&mut objects);
    make_whole(site, &mut objects).await?;
    if token.finished.is_some() {
        for object in objects.values_mut().filter(|object| !object.known.is_complete()) {
            let lack = object.known.lack();
            object.known.broken.get_or_insert(lack);
        }
    }
    let is_new = |(key, object): &(&String, &PartialObject)| {
        object.known.broken.is_some() && !broken_before.contains(*key)
    };
    let broken: PartialObjects =
        objects.iter().filter(is_new).map(|(key, object)| (key.clone(), object.clone())).collect();
    if !broken.is_empty() {
        return refuse(site, place, held.manifest, &held.version, broken).await;
    }
    objects.retain(|_, object| object.known.broken.is_none());
    let complete: PartialObjects = objects.extract_if(.., |_, object| object.known.is_complete()).collect();
    let files = stream::iter(
        complete.values().map(|object| place_of(site, place, &load.stream, object)).collect::<Vec<_>>(),
    );
    let files: Vec<ObjectFile> = files.buffered(OBJECTS_AT_ONCE).try_collect().await?;
    let replace = load.disposition == WriteDisposition::Replace;
    let kept: Vec<String> = objects.keys().cloned().collect();
    manifest.stale.clear();
    if files.is_empty() && !replace {
        manifest.checkpoint = Some(checkpoint);
        manifest.partials = objects;
    } else {
        let list = manifest.name_list(&load.run);
        site.write_list(&list, files).await?;
        manifest.partials = held.manifest.partials;
        manifest.intent = Some(Intent { checkpoint, list, replace, partials: objects });
    }
    let Some(stored) = site.store(manifest, Some(&held.version)).await? else {
        return site.overtaken(token).await;
    };
    site.settle(stored).await?;
    place.in_use.committed(&parts, kept.into_iter());
    place.close(complete.keys());
    // They have served.
    let hidden = complete.values().flat_map(PartialObject::hidden).map(|path| site.home.key(path));
    let mut hidden = hidden.collect::<Result<Vec<_>>>()?;
    hidden.extend(notes);
    site.bucket.delete(hidden).await?;
    Ok(Committed::Applied)
}

/// Adds what a writer has staged. What is known to be broken stays so.
fn add(objects: &mut PartialObjects, staged: PartialObjects) {
    for (key, object) in staged {
        match objects.entry(key) {
            Entry::Occupied(mut known) if known.get().known.broken.is_none() => known.get_mut().merge(object),
            Entry::Occupied(_) => {}
            Entry::Vacant(new) => drop(new.insert(object)),
        }
    }
}

/// Two contents of one name cannot both be its object.
fn break_same_names(objects: &mut PartialObjects) {
    let mut names = BTreeSet::new();
    for object in objects.values_mut().filter(|object| object.known.broken.is_none()) {
        if !names.insert(object.known.name.clone()) {
            object.known.broken = Some("two different contents came for it at once".to_owned());
        }
    }
}

/// Notes in the manifest that objects are broken, and gives them back. Nothing else of this commit happens.
async fn refuse(
    site: &Site,
    place: &Place,
    mut manifest: Manifest,
    version: &object_store::UpdateVersion,
    broken: PartialObjects,
) -> Result<Committed> {
    let rejected = broken.values().map(|object| {
        let known = &object.known;
        let row = json!({ "name": known.name, "size": known.size, "digest": known.digest });
        Rejected::new(&known.name, known.broken.clone().unwrap_or_default()).row(row)
    });
    let rejected = rejected.collect();
    place.close(broken.keys());
    let uploads = broken
        .values()
        .map(|object| Ok(Upload { key: site.home.key(&object.upload.path)?, id: object.upload.id.clone() }));
    let uploads = uploads.collect::<Result<Vec<_>>>()?;
    let hidden = broken.values().flat_map(PartialObject::hidden).map(|path| site.home.key(path));
    let hidden = hidden.collect::<Result<Vec<_>>>()?;
    manifest.partials.extend(broken);
    if site.store(manifest, Some(version)).await?.is_none() {
        return Err(towpath_core::Error::new(
            ErrorKind::Conflict,
            "somebody else changed the manifest at the same time",
        )
        .help("let only one run of a pipeline work at a time; run again"));
    }
    site.abort_all(uploads).await?;
    site.bucket.delete(hidden).await?;
    Ok(Committed::Refused(rejected))
}

/// Puts missing parts together for objects whose bytes are all there, and holds them against their digests.
async fn make_whole(site: &Site, objects: &mut PartialObjects) -> Result<()> {
    let complete =
        objects.values_mut().filter(|object| object.known.broken.is_none() && object.known.is_complete());
    let work: Vec<_> = complete.map(|object| whole(site, object)).collect();
    stream::iter(work).buffer_unordered(OBJECTS_AT_ONCE).try_collect().await
}

async fn whole(site: &Site, object: &mut PartialObject) -> Result<()> {
    // A commit that was refused because of another object has completed it, to read it.
    let is_complete = object.known.digest.is_some()
        && site.bucket.mark(&site.home.key(&object.upload.path)?).await?.as_deref()
            == Some(&object.upload.mark);
    let wanted = if is_complete { 0 } else { object.count() };
    for index in 0..wanted {
        if !object.parts.contains_key(&index) {
            let part = missing_part(site, object, index).await?;
            object.parts.insert(index, part);
        }
    }
    if object.known.digest.is_some() {
        object.known.broken = fault(site, object).await?;
    }
    Ok(())
}

/// A part out of fragments.
async fn missing_part(site: &Site, object: &PartialObject, index: usize) -> Result<String> {
    let (from, to) = object.bounds(index);
    let mut bytes = BytesMut::new();
    while from + (bytes.len() as u64) < to {
        let at = from + bytes.len() as u64;
        let fragment = object.fragments.iter().find(|fragment| fragment.from <= at && at < fragment.to);
        let found = match fragment {
            Some(fragment) => site.bucket.read_whole(&site.home.key(&fragment.path)?).await?,
            None => None,
        };
        let (Some(fragment), Some(found)) = (fragment, found) else {
            return Err(towpath_core::Error::new(ErrorKind::Conflict, "staged bytes of an object are gone")
                .detail("name", &object.known.name)
                .help(
                    "do not remove `.towpath` while a run is under way; `towpath state reset`, and run again",
                ));
        };
        let skipped = usize::try_from(at - fragment.from).unwrap_or(usize::MAX).min(found.bytes.len());
        let wanted = usize::try_from(to - at).unwrap_or(usize::MAX).min(found.bytes.len() - skipped);
        bytes.extend_from_slice(&found.bytes[skipped..skipped + wanted]);
    }
    let key = site.home.key(&object.upload.path)?;
    site.bucket.put_part(&key, &object.upload.id, index, bytes.freeze()).await
}

/// What is wrong with the digest of an object whose parts are all there; `None` when nothing is. It becomes a hidden object to
/// be read.
async fn fault(site: &Site, object: &PartialObject) -> Result<Option<String>> {
    let wanted = object.known.digest.as_deref().unwrap_or_default();
    let wanted: Digest = match wanted.parse() {
        Ok(wanted) => wanted,
        Err(error) => return Ok(Some(format!("its digest cannot be checked: {error}"))),
    };
    let Some(entry) = complete_hidden(site, object).await? else {
        return Ok(Some("its digest came too late to be checked".to_owned()));
    };
    let mut hasher = Hasher::new(wanted.algorithm());
    let mut from = 0;
    while from < entry.size {
        let to = (from + READ).min(entry.size);
        let bytes = site.bucket.range(&entry, from..to).await?;
        hasher = site
            .bucket
            .cx()
            .cpu(move || {
                hasher.update(&bytes);
                Ok(hasher)
            })
            .await?;
        from = to;
    }
    let found = hasher.finish();
    Ok((found != wanted).then(|| format!("its digest is {found}, and must be {wanted}")))
}

/// Makes an object that must have a digest one that can be read; `None` where it has no hidden place.
async fn complete_hidden(site: &Site, object: &PartialObject) -> Result<Option<FileEntry>> {
    let key = site.home.key(&object.upload.path)?;
    if !key.starts_with(&site.home.partials()) {
        return Ok(None);
    }
    site.complete(&object.file(object.upload.path.clone())).await?;
    site.bucket.head(&key, None).await.map(Some)
}

/// An object at its place: the upload as it is, or a copy of the hidden object that was checked.
async fn place_of(site: &Site, place: &Place, stream: &str, object: &PartialObject) -> Result<ObjectFile> {
    let path = place.folder.path(stream, &object.known.name);
    if object.upload.path == path {
        return Ok(object.file(path));
    }
    let length = object.known.size.unwrap_or_default();
    copied(site, &place.outlet, &object.upload.path, path, length).await
}

impl PartialObject {
    /// The paths of its hidden objects.
    pub(super) fn hidden(&self) -> impl Iterator<Item = &str> {
        let whole = self.known.digest.as_ref().map(|_| self.upload.path.as_str());
        self.fragments.iter().map(|fragment| fragment.path.as_str()).chain(whole)
    }

    /// The upload, complete.
    fn file(&self, path: String) -> ObjectFile {
        let upload = UploadedParts {
            id: self.upload.id.clone(),
            parts: self.parts.values().cloned().collect(),
            mark: self.upload.mark.clone(),
            appearance: self.upload.appearance.clone(),
        };
        ObjectFile { path, size: self.known.size.unwrap_or_default(), upload: Some(upload), staged: None }
    }
}
