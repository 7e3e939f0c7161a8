//! Writing chunks as parts of uploads.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;

use arrow::array::RecordBatch;
use futures::{StreamExt, TryStreamExt, stream};
use object_store::{PutMode, PutPayload};
use serde_json::json;
use tokio::task::JoinSet;
use towpath_core::{Context, Error, LoadSpec, Rejected, Result, Retry, Staged, Writer};
use towpath_files::sink::{Partial, key};
use towpath_formats::chunks::{Chunk, Chunks, name};

use super::copy::{self, Copied, Stretch, cut};
use super::partial::{Fragment, PartialObject, Receipt};
use super::place::Place;
use super::run::{Piece, Run};
use crate::extras::Upload;
use crate::reference::Reference;
use crate::sink::home::Site;

/// Writes chunks as parts of uploads.
pub struct ByteWriter {
    connector: &'static str,
    place: Arc<Place>,
    cx: Context,
    load: LoadSpec,
    part: u32,
    site: Option<Site>,
    /// What is known of the objects, and their bytes that make no part yet.
    objects: BTreeMap<String, Gathered>,
    sending: JoinSet<Result<Sent>>,
    sent: HashMap<String, Vec<Sent>>,
    notes: Vec<String>,
    rows: u64,
    bytes: u64,
    rejected: Vec<Rejected>,
    /// Whether a receipt was given for what was written.
    is_staged: bool,
}

/// What is known of an object, its bytes that make no part yet, and whose bytes are named for it.
#[derive(Default)]
struct Gathered {
    known: Partial,
    run: Run,
    named: Option<copy::Source>,
}

/// A piece that has arrived.
struct Sent {
    key: String,
    what: Arrived,
}

enum Arrived {
    Part(usize, String),
    Copied(usize, Copied),
    Fragment(Fragment),
}

/// What is sent: bytes, or the names of some.
enum Sending {
    Held(Piece),
    Named(Stretch, copy::Source),
}

impl fmt::Debug for ByteWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ByteWriter").field("part", &self.part).finish_non_exhaustive()
    }
}

impl ByteWriter {
    pub(super) fn new(
        connector: &'static str,
        place: Arc<Place>,
        cx: &Context,
        load: &LoadSpec,
        part: u32,
    ) -> Self {
        Self {
            connector,
            place,
            cx: cx.clone(),
            load: load.clone(),
            part,
            site: None,
            objects: BTreeMap::new(),
            sending: JoinSet::new(),
            sent: HashMap::new(),
            notes: Vec::new(),
            rows: 0,
            bytes: 0,
            rejected: Vec::new(),
            is_staged: false,
        }
    }

    async fn site(&mut self) -> Result<Site> {
        if let Some(site) = &self.site {
            return Ok(site.clone());
        }
        let site = self.place.site(&self.cx, &self.load).await?;
        Ok(self.site.insert(site).clone())
    }

    async fn write_chunks(&mut self, chunks: &Chunks) -> Result<()> {
        let site = self.site().await?;
        let mut allowed = Vec::new();
        for chunk in chunks.iter() {
            match chunk.map_err(|why| Box::new(Rejected::new("", why))).and_then(check) {
                Ok(chunk) => allowed.push((key(&chunk), chunk)),
                Err(rejected) => self.rejected.push(*rejected),
            }
        }
        self.note(&site, &allowed).await?;
        for (key, chunk) in allowed {
            self.place.in_use.touch(&key, self.part);
            self.rows += 1;
            self.bytes += chunk.length();
            let part_size = self.place.outlet.settings.part_size.bytes();
            let of_chunk = Partial::of(&chunk);
            let Gathered { known, run, named: last } = self.objects.entry(key.clone()).or_default();
            if known.name.is_empty() {
                *known = of_chunk;
            } else {
                known.merge(&of_chunk);
            }
            let sending = match chunk.named {
                None => held(run.push(chunk.offset, chunk.data, part_size, known.size)),
                Some(named) => {
                    let source = last.insert(Arc::new(Reference::of(named.source)?)).clone();
                    let bytes = chunk.offset..chunk.offset.saturating_add(named.length);
                    let stretches = cut(bytes, part_size, known.size).into_iter();
                    // What came before them, and touches them, is no whole part any more.
                    let mut sending = held(run.rest());
                    sending.extend(stretches.map(|stretch| Sending::Named(stretch, source.clone())));
                    sending
                }
            };
            let known = known.clone();
            for piece in sending {
                self.send(&site, &key, &known, piece).await?;
            }
        }
        Ok(())
    }

    /// Notes the objects whose uploads are about to begin, so that the next run finds them if this one is killed.
    async fn note(&mut self, site: &Site, chunks: &[(String, Chunk<'_>)]) -> Result<()> {
        let is_new = |key: &String| !self.place.is_open(key) && !self.objects.contains_key(key);
        let mut new: Vec<String> = chunks
            .iter()
            .filter(|(key, _)| is_new(key))
            .map(|(key, chunk)| self.place.path(&site.home, &self.load.stream, key, &Partial::of(chunk)))
            .collect();
        new.dedup();
        if new.is_empty() {
            return Ok(());
        }
        let path = site.home.note_path(&self.load.run);
        let text = serde_json::to_vec(&new)
            .map_err(|error| Error::unexpected("a note cannot be written").source(error))?;
        site.bucket.put(&site.home.key(&path)?, text, PutMode::Overwrite).await?;
        self.notes.push(path);
        Ok(())
    }

    /// Sends a piece, when there is room for one more.
    async fn send(&mut self, site: &Site, key: &str, known: &Partial, sending: Sending) -> Result<()> {
        while let Some(done) = self.sending.try_join_next() {
            self.arrived(done)?;
        }
        let permit = self.cx.wait_for(self.place.outlet.permits.clone().acquire_owned()).await;
        let permit = permit.map_err(|error| Error::unexpected("uploads were stopped").source(error))?;
        let (place, site, stream) = (self.place.clone(), site.clone(), self.load.stream.clone());
        let (key, known) = (key.to_owned(), known.clone());
        self.sending.spawn(async move {
            let _permit = permit;
            let named = match &sending {
                Sending::Held(_) => None,
                Sending::Named(_, source) => Some(source.clone()),
            };
            let upload = place.upload(&site, &stream, &key, &known, named.as_deref()).await?;
            let target = Upload { key: site.home.key(&upload.path)?, id: upload.id };
            let what = match sending {
                Sending::Held(Piece::Part(index, bytes)) => {
                    let bytes = PutPayload::from_iter(bytes);
                    Arrived::Part(index, site.bucket.put_part(&target.key, &target.id, index, bytes).await?)
                }
                Sending::Held(Piece::Fragment(from, bytes)) => {
                    let bytes = PutPayload::from_iter(bytes);
                    Arrived::Fragment(fragment(&site, &key, from, bytes).await?)
                }
                Sending::Named(Stretch::Part(index, range), source) => {
                    let copied = copy::part(&place, &site, &target, index, range, &source).await?;
                    Arrived::Copied(index, copied)
                }
                Sending::Named(Stretch::Fragment(range), source) => {
                    let from = range.start;
                    let bytes = copy::read(&place, &site, range, &source).await?;
                    Arrived::Fragment(fragment(&site, &key, from, bytes.into()).await?)
                }
            };
            Ok(Sent { key, what })
        });
        Ok(())
    }

    fn arrived(&mut self, done: Result<Result<Sent>, tokio::task::JoinError>) -> Result<()> {
        let sent = done.map_err(|error| Error::unexpected("an upload ended early").source(error))??;
        self.sent.entry(sent.key.clone()).or_default().push(sent);
        Ok(())
    }

    async fn finish_objects(&mut self) -> Result<Receipt> {
        let site = self.site().await?;
        let mut objects = std::mem::take(&mut self.objects);
        for (key, Gathered { known, run, .. }) in &mut objects {
            if let Some(rest) = run.rest() {
                self.send(&site, key, known, Sending::Held(rest)).await?;
            }
        }
        while let Some(done) = self.sending.join_next().await {
            self.arrived(done)?;
        }
        let mut receipt = Receipt { notes: std::mem::take(&mut self.notes), ..Receipt::default() };
        let mut verifying = Vec::new();
        for (key, Gathered { known, named, .. }) in objects {
            // Of an empty object nothing was sent.
            let upload = self.place.upload(&site, &self.load.stream, &key, &known, named.as_deref()).await?;
            let target = Upload { key: site.home.key(&upload.path)?, id: upload.id.clone() };
            let mut unverified = BTreeMap::new();
            let mut object = PartialObject { known, upload, parts: BTreeMap::new(), fragments: Vec::new() };
            for sent in self.sent.remove(&key).unwrap_or_default() {
                match sent.what {
                    Arrived::Part(index, id) => drop(object.parts.insert(index, id)),
                    Arrived::Copied(index, Copied { part, unverified: length }) => {
                        unverified.extend(length.map(|length| (index, length)));
                        object.parts.insert(index, part);
                    }
                    Arrived::Fragment(fragment) => object.fragments.push(fragment),
                }
            }
            verifying.push(copy::verify(&site, target, unverified));
            receipt.objects.insert(key, object);
        }
        let at_once = self.place.outlet.settings.parts_in_flight;
        stream::iter(verifying).buffer_unordered(at_once).try_collect::<()>().await?;
        Ok(receipt)
    }
}

impl Writer for ByteWriter {
    async fn write(&mut self, rows: RecordBatch) -> Result<()> {
        let connector = self.connector;
        let chunks = Chunks::of(&rows).map_err(|error| error.connector(connector))?;
        // Some of them may have arrived, so they must not be given once more.
        let written = self.write_chunks(&chunks).await;
        written.map_err(|error| error.connector(connector).retry(Retry::Never))
    }

    async fn finish(mut self) -> Result<Staged> {
        let connector = self.connector;
        let receipt = self.finish_objects().await.map_err(|error| error.connector(connector))?;
        let payload = serde_json::to_value(receipt).map_err(|error| {
            Error::unexpected("a receipt cannot be stored").connector(connector).source(error)
        })?;
        let mut staged = Staged::new(self.part, self.rows, self.bytes, payload);
        staged.rejected = std::mem::take(&mut self.rejected);
        self.is_staged = true;
        Ok(staged)
    }
}

impl Drop for ByteWriter {
    fn drop(&mut self) {
        // Without a runtime the process ends; what stays behind, the next run throws away.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        if self.is_staged {
            return;
        }
        let (place, cx, load, part) = (self.place.clone(), self.cx.clone(), self.load.clone(), self.part);
        let (mut sending, mut hidden) = (std::mem::take(&mut self.sending), std::mem::take(&mut self.notes));
        let sent: Vec<Sent> = std::mem::take(&mut self.sent).into_values().flatten().collect();
        runtime.spawn(async move {
            let mut sent = sent;
            // An upload that is about to begin has to be known before it can be given up.
            while let Some(done) = sending.join_next().await {
                sent.extend(done.ok().and_then(Result::ok));
            }
            hidden.extend(sent.into_iter().filter_map(|sent| match sent.what {
                Arrived::Fragment(fragment) => Some(fragment.path),
                Arrived::Part(..) | Arrived::Copied(..) => None,
            }));
            let keys = place.in_use.touched_by(part);
            place.release(&cx, &load, part, keys.into_iter(), &hidden);
        });
    }
}

fn held(pieces: impl IntoIterator<Item = Piece>) -> Vec<Sending> {
    pieces.into_iter().map(Sending::Held).collect()
}

/// Keeps bytes that are no whole part in a hidden object.
async fn fragment(site: &Site, key: &str, from: u64, bytes: PutPayload) -> Result<Fragment> {
    let to = from + bytes.content_length() as u64;
    let path = site.home.partial_path(&format!("{key}-{from}-{:08x}", fastrand::u32(..)));
    site.bucket.put(&site.home.key(&path)?, bytes, PutMode::Overwrite).await?;
    Ok(Fragment { from, to, path })
}

/// Refuses a chunk whose object may not have its name.
fn check(chunk: Chunk<'_>) -> Result<Chunk<'_>, Box<Rejected>> {
    match name::check(chunk.name) {
        Ok(()) => Ok(chunk),
        Err(why) => {
            let row = json!({ "name": chunk.name, "offset": chunk.offset, "size": chunk.size });
            let reason = format!("an object cannot have this name: {why}");
            Err(Box::new(Rejected::new(chunk.name, reason).column("name", chunk.name).row(row)))
        }
    }
}
