//! Archives as folders: which entries there are, and an entry as the formats read it.
//!
//! A zip is read by the table at its end, a tar by its headers, from one to the next. Either way what is found is an
//! [`Entry`], which a split carries along, so that whoever reads it need not look for it again. All bytes are those of the
//! archive as the store has it, so what holds for a file holds for its entries: one that changed is an error.

mod entry;
mod input;
mod name;
mod options;
#[cfg(feature = "tar")]
mod tar;
#[cfg(test)]
mod testing;
mod wanted;
#[cfg(feature = "zip")]
mod zip;

use std::sync::Arc;

use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt, stream};
use towpath_core::{ByteSize, Context, Error, Result};
use towpath_formats::Input;

pub(crate) use entry::{Body, Entry, Item, joined};
pub(crate) use input::EntryInput;
pub use options::{Archive, ArchiveFormat};
use wanted::Wanted;

use crate::SourceOptions;

/// The entries of an archive, as they are found.
pub(crate) type Entries = BoxStream<'static, Result<Entry>>;

/// What is read of archives, and how much they may hold.
#[derive(Debug)]
pub(crate) struct Limits {
    pub(crate) wanted: Wanted,
    pub(crate) max_entries: u64,
    pub(crate) max_decompressed: Option<ByteSize>,
}

/// The least limit that follows from a size, and how many times its size an entry may become: those of any compressed file.
const LEAST_LIMIT: u64 = 64 << 30;
const RATIO: u64 = 1_000;

impl Limits {
    pub(crate) fn new(archive: &Archive, options: &SourceOptions) -> Result<Self> {
        Ok(Self {
            wanted: Wanted::new(&archive.entries)?,
            max_entries: archive.max_entries,
            max_decompressed: options.max_decompressed,
        })
    }

    /// Whether an entry may become so large.
    fn check_size(&self, size: u64, compressed: u64) -> Result<()> {
        let by_size = LEAST_LIMIT.max(compressed.saturating_mul(RATIO));
        let limit = self.max_decompressed.map_or(by_size, ByteSize::bytes);
        if size <= limit {
            return Ok(());
        }
        Err(Error::data(format!("the entry becomes {size} bytes, more than the {limit} that it may"))
            .help("set `max_decompressed` higher if it is meant to be so large"))
    }
}

/// The entries of an archive that are wanted. `path` tells what archive it is where the options do not.
pub(crate) fn entries(
    cx: &Context,
    input: Arc<dyn Input>,
    format: ArchiveFormat,
    path: &str,
    limits: Arc<Limits>,
) -> Entries {
    let format = match told(format, path) {
        Ok(format) => format,
        Err(error) => return stream::iter([Err(error)]).boxed(),
    };
    let cx = cx.clone();
    let found = async move {
        match format {
            #[cfg(feature = "zip")]
            ArchiveFormat::Zip => {
                let entries = zip::entries(&cx, &input, limits).await?;
                Ok(stream::iter(entries.into_iter().map(Ok)).boxed())
            }
            #[cfg(feature = "tar")]
            ArchiveFormat::Tar => Ok(tar::entries(&cx, input, limits)),
            #[allow(unreachable_patterns, reason = "only where one is lacking")]
            ArchiveFormat::Zip | ArchiveFormat::Auto => Err(lacks("zip")),
            #[allow(unreachable_patterns, reason = "only where one is lacking")]
            ArchiveFormat::Tar => Err(lacks("tar")),
        }
    };
    stream::once(found).try_flatten().boxed()
}

/// What archive it is.
fn told(format: ArchiveFormat, path: &str) -> Result<ArchiveFormat> {
    if format != ArchiveFormat::Auto {
        return Ok(format);
    }
    let (_, extension) = path.rsplit_once('.').unwrap_or_default();
    match extension.to_ascii_lowercase().as_str() {
        "zip" => Ok(ArchiveFormat::Zip),
        "tar" => Ok(ArchiveFormat::Tar),
        _ => Err(Error::config("what archive it is cannot be told from the name")
            .help("set `archive.format` to zip or tar, or let `path` leave the file out")),
    }
}

fn lacks(feature: &str) -> Error {
    Error::config(format!(
        "this towpath lacks the archive format `{feature}`; build it with --features {feature}"
    ))
}

/// Says of which entry an error is.
fn of_entry(error: Error, name: &str) -> Error {
    error.detail("entry", name)
}

fn too_many(limit: u64) -> Error {
    Error::data(format!("the archive has more than {limit} entries"))
        .help("set `archive.max_entries` higher if it is meant to have so many")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_archive_it_is_tells_its_extension() {
        assert_eq!(told(ArchiveFormat::Auto, "in/a.ZIP").unwrap(), ArchiveFormat::Zip);
        assert_eq!(told(ArchiveFormat::Auto, "in/a.b.tar").unwrap(), ArchiveFormat::Tar);
        assert_eq!(told(ArchiveFormat::Tar, "in/a.zip").unwrap(), ArchiveFormat::Tar);
        for path in ["in/a", "in/a.csv", "in.zip/a"] {
            let error = told(ArchiveFormat::Auto, path).unwrap_err().to_string();
            assert!(error.contains("`archive.format`"), "{path}: {error}");
        }
    }
}
