//! The collection in which a writer stages its rows.

use std::sync::Arc;

use bson::{Bson, Document, RawDocumentBuf, doc};
use mongodb::Collection;
use mongodb::error::{ErrorKind as DriverKind, IndexedWriteError};
use towpath_core::{Begun, Context, Rejected, Result, WriteDisposition};

use super::Shared;
use super::refuse::{INVALID, rejection, same_key};
use crate::client::{Load, limited, limited_as};
use crate::errors::{DUPLICATE_KEY, code, failed};

/// There is such a collection already.
const EXISTS: i32 = 48;
/// The validator does not let a document in.
const NOT_VALID: i32 = 121;
/// A document is too deep, or its id is of a type or has fields that no id has.
const NO_DOCUMENT: [i32; 3] = [15, 52, 53];

/// Where documents wait for their commit.
pub(super) struct Staging {
    shared: Arc<Shared>,
    name: String,
    /// The collection whose place this one takes, for `replace`.
    instead_of: Option<String>,
    /// What rows are said to be of.
    place: String,
    /// Names of indexes, with the names of their fields.
    indexes: Vec<(String, Vec<String>)>,
    is_made: bool,
}

impl Staging {
    pub(super) fn new(shared: &Arc<Shared>, begun: &Begun, part: u32) -> Self {
        let load = &begun.load;
        let place = shared.target(load);
        Self {
            shared: shared.clone(),
            name: format!("{}{}_{part}", shared.prefix(load), begun.checkpoint.epoch),
            instead_of: (load.disposition == WriteDisposition::Replace).then(|| place.clone()),
            place,
            indexes: vec![("_id_".to_owned(), vec!["_id".to_owned()])],
            is_made: false,
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn may_be_there(&self) -> bool {
        self.is_made
    }

    pub(super) fn collection<T: Send + Sync>(&self) -> Result<Collection<T>> {
        self.shared.collection(&self.name)
    }

    /// Makes it, where it must be like the collection whose place it takes.
    pub(super) async fn make(&mut self, cx: &Context) -> Result<()> {
        if self.is_made {
            return Ok(());
        }
        if let Some(target) = self.instead_of.clone()
            && self.shared.exists(cx, &target).await?
        {
            self.make_like(cx, &target).await?;
        }
        self.is_made = true;
        Ok(())
    }

    async fn make_like(&mut self, cx: &Context, target: &str) -> Result<()> {
        let mut create = doc! { "create": &self.name };
        create.extend(self.shared.options_of(cx, target).await?);
        match self.shared.server.try_ask(cx, create).await? {
            Err(error) if code(&error) != Some(EXISTS) => {
                return Err(failed("making the staging collection", &error));
            }
            // One that is there is that of an attempt before.
            _ => {}
        }
        let listing = doc! { "listIndexes": target, "cursor": { "batchSize": 1_000 } };
        let found = self.shared.server.ask(cx, "looking at the indexes", listing).await?;
        let batch = found.get_document("cursor").and_then(|cursor| cursor.get_array("firstBatch"));
        let indexes = batch.ok().into_iter().flatten().filter_map(Bson::as_document);
        let others: Vec<_> =
            indexes.filter(|index| index.get_str("name").is_ok_and(|name| name != "_id_")).cloned().collect();
        for index in &others {
            if let (Ok(name), Ok(keys)) = (index.get_str("name"), index.get_document("key")) {
                self.indexes.push((name.to_owned(), keys.keys().cloned().collect()));
            }
        }
        // The index of a clustered collection is made with it.
        let made: Vec<_> = others.into_iter().filter(|index| !index.contains_key("clustered")).collect();
        if made.is_empty() {
            return Ok(());
        }
        let command = doc! { "createIndexes": &self.name, "indexes": made };
        self.shared.server.ask(cx, "making the indexes of the staging collection", command).await.map(drop)
    }

    /// Inserts documents, and returns those that the collection refuses.
    pub(super) async fn insert(
        &self,
        cx: &Context,
        documents: &[RawDocumentBuf],
        is_repeated: bool,
    ) -> Result<Vec<Rejected>> {
        if documents.is_empty() {
            return Ok(Vec::new());
        }
        let staging = self.collection::<RawDocumentBuf>()?;
        let inserting = staging.insert_many(documents).ordered(false);
        let Err(error) = limited_as(Load::Insert, cx, inserting.into_future()).await? else {
            return Ok(Vec::new());
        };
        let failure = || failed("staging rows", &error).detail("collection", &self.place);
        let DriverKind::InsertMany(many) = &*error.kind else { return Err(failure()) };
        if many.write_concern_error.is_some() {
            return Err(failure());
        }
        let mut refused = Vec::new();
        for error in many.write_errors.iter().flatten() {
            let document = documents.get(error.index).ok_or_else(failure)?;
            match error.code {
                // Wrapped ones have numbers that none but an attempt before has given.
                DUPLICATE_KEY if self.instead_of.is_none() => {}
                DUPLICATE_KEY if is_repeated && self.holds(cx, document).await? => {}
                DUPLICATE_KEY => refused.push(rejection(&self.place, document, &self.duplicate(error))),
                NOT_VALID if self.instead_of.is_some() => {
                    refused.push(rejection(&self.place, document, INVALID));
                }
                code if NO_DOCUMENT.contains(&code) => refused.push(self.no_document(document, error)),
                _ => return Err(failure()),
            }
        }
        Ok(refused)
    }

    /// What no collection takes, in the server's words.
    fn no_document(&self, document: &RawDocumentBuf, error: &IndexedWriteError) -> Rejected {
        let inner = if self.instead_of.is_none() { document.get_document("d").ok() } else { None };
        let document = inner.map_or_else(|| document.clone(), ToOwned::to_owned);
        rejection(&self.place, &document, &error.message)
    }

    /// Whether this very document is there.
    async fn holds(&self, cx: &Context, document: &RawDocumentBuf) -> Result<bool> {
        let looking = |error| failed("looking for staged rows", &error);
        let document = Document::try_from(document).map_err(|error| looking(error.into()))?;
        let id = document.get("_id").cloned().unwrap_or(Bson::Null);
        let staging = self.collection::<Document>()?;
        let finding = staging.find_one(doc! { "_id": { "$eq": id } });
        let found = limited(cx, finding.into_future()).await?.map_err(looking)?;
        Ok(found.is_some_and(|found| found == document))
    }

    fn duplicate(&self, error: &IndexedWriteError) -> String {
        let named =
            |(name, _): &&(String, Vec<String>)| error.message.contains(&format!("index: {name} dup key"));
        match self.indexes.iter().find(named) {
            Some((_, key)) => same_key(key, "of the same commit"),
            None => error.message.clone(),
        }
    }
}
