//! Documents in MongoDB: those that are read and written, and bare loops of the driver over them.

use std::fs::File;
use std::io::{BufReader, BufWriter, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use bson::{RawDocumentBuf, doc};
use clap::{Subcommand, ValueEnum};
use futures::TryStreamExt;
use mongodb::{Client, Collection, Database};

use crate::loops::BUFFER;

mod made;

/// What is done with a collection.
#[derive(Subcommand)]
pub(crate) enum Work {
    /// Reads batch after batch and throws them away as they came.
    Drain,
    /// Inserts the documents of a file.
    Insert {
        /// The file to read.
        path: PathBuf,
    },
    /// Removes the collection.
    Drop,
    /// Prints how many documents there are.
    Count,
}

/// What documents look like.
#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum Form {
    /// Eight fields, none of them with fields of its own.
    Small,
    /// An order: with a customer who has an address, and a list of items that have labels.
    Nested,
}

/// How many documents are inserted at once.
const AT_ONCE: usize = 10_000;

/// Writes documents to a file, one behind the other.
pub(crate) fn make(form: Form, count: u64, path: &Path) -> Result<()> {
    let mut file = BufWriter::with_capacity(BUFFER, File::create(path)?);
    for document in made::documents(form, count) {
        file.write_all(&bson::serialize_to_vec(&document)?)?;
    }
    Ok(file.flush()?)
}

/// Does it with a collection of the URL's database.
pub(crate) async fn run(url: &str, name: &str, work: Work) -> Result<()> {
    let client = Client::with_uri_str(url).await?;
    let database = client.default_database().context("the URL names no database")?;
    let collection = database.collection(name);
    match work {
        Work::Drain => drain(&database, name).await,
        Work::Insert { path } => insert(&collection, &path).await,
        Work::Drop => Ok(collection.drop().await?),
        Work::Count => {
            println!("{}", collection.count_documents(doc! {}).await?);
            Ok(())
        }
    }
}

async fn drain(database: &Database, name: &str) -> Result<()> {
    let mut batches = database.run_cursor_command(doc! { "find": name }).batch().await?;
    while let Some(batch) = batches.try_next().await? {
        // They are there, and nobody looks into them.
        batch.doc_slices()?;
    }
    Ok(())
}

/// One connection inserts as many at once as fit well into a message.
async fn insert(collection: &Collection<RawDocumentBuf>, path: &Path) -> Result<()> {
    let mut file = BufReader::with_capacity(BUFFER, File::open(path)?);
    loop {
        let mut documents = Vec::with_capacity(AT_ONCE);
        while documents.len() < AT_ONCE
            && let Some(document) = read(&mut file)?
        {
            documents.push(document);
        }
        if documents.is_empty() {
            return Ok(());
        }
        collection.insert_many(documents).await?;
    }
}

/// The next document, which has its length in front.
fn read(file: &mut impl Read) -> Result<Option<RawDocumentBuf>> {
    let mut length = [0; 4];
    match file.read_exact(&mut length) {
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(None),
        outcome => outcome?,
    }
    let mut bytes = vec![0; usize::try_from(u32::from_le_bytes(length))?];
    let (front, rest) = bytes.split_at_mut_checked(length.len()).context("a document is cut off")?;
    front.copy_from_slice(&length);
    file.read_exact(rest)?;
    Ok(Some(RawDocumentBuf::from_bytes(bytes)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_come_back_from_a_file() {
        let path = std::env::temp_dir().join(format!("towpath-bench-{}.bson", std::process::id()));
        make(Form::Nested, 3, &path).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        let mut file = bytes.as_slice();
        for expected in made::documents(Form::Nested, 3) {
            let document = read(&mut file).unwrap().unwrap();
            assert_eq!(bson::Document::try_from(&document).unwrap(), expected);
        }
        assert_eq!(read(&mut file).unwrap(), None);
    }
}
