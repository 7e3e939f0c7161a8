//! Archives as folders: which entries there are, and an entry as the formats read it.
//!
//! A zip is read by the table at its end, a tar by its headers, from one to the next. Either way what is found is an
//! [`Entry`], which a split carries along, so that whoever reads it need not look for it again. All bytes are those of the
//! archive as the store has it, so what holds for a file holds for its entries: one that changed is an error.

mod entry;
mod input;
mod name;
mod options;
mod packed;
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
use towpath_formats::{Compression, Input, decompressed_limit};

pub(crate) use entry::{Body, Entry, Item, joined};
pub(crate) use input::EntryInput;
pub use options::{Archive, ArchiveFormat};
pub(crate) use packed::Unpacked;
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
        let limit = decompressed_limit(self.max_decompressed, compressed);
        if size <= limit {
            return Ok(());
        }
        Err(Error::data(format!("the entry becomes {size} bytes, more than the {limit} that it may"))
            .help("set `max_decompressed` higher if it is meant to be so large"))
    }
}

/// What an archive is, and how it is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Zip,
    Tar,
    /// A tar that is compressed as a whole.
    Packed(Compression),
}

impl Kind {
    /// What an archive is: as the options say, or told by its extension; the codec of a tar always by that.
    ///
    /// # Errors
    /// `Config` when it cannot be told.
    pub(crate) fn of(format: ArchiveFormat, path: &str) -> Result<Self> {
        let name = path.rsplit_once('/').map_or(path, |(_, name)| name).to_ascii_lowercase();
        let (stem, extension) = name.rsplit_once('.').unwrap_or((&name, ""));
        let (codec, is_short) = codec(extension);
        let is_tar = format == ArchiveFormat::Tar || is_short || stem.rsplit('.').next() == Some("tar");
        match (format, extension, codec) {
            (ArchiveFormat::Zip, ..) | (ArchiveFormat::Auto, "zip", _) => Ok(Self::Zip),
            (_, _, Some(codec)) if is_tar => Ok(Self::Packed(codec)),
            (ArchiveFormat::Tar, ..) | (ArchiveFormat::Auto, "tar", _) => Ok(Self::Tar),
            _ => Err(Error::config("what archive it is cannot be told from the name")
                .detail("path", path)
                .help("set `archive.format` to zip or tar, or let `path` leave the file out")),
        }
    }
}

/// The codec of an extension, and whether that means a tar as well.
fn codec(extension: &str) -> (Option<Compression>, bool) {
    let codec = match extension {
        "gz" | "gzip" | "tgz" => Compression::Gzip,
        "zz" | "zlib" => Compression::Zlib,
        "zst" | "zstd" | "tzst" => Compression::Zstd,
        "bz2" | "tbz" | "tbz2" => Compression::Bzip2,
        "xz" | "txz" => Compression::Xz,
        "br" => Compression::Brotli,
        "lz4" => Compression::Lz4,
        _ => return (None, false),
    };
    (Some(codec), extension.starts_with('t'))
}

/// The entries of an archive that are wanted. One that is compressed is given as what it becomes.
pub(crate) fn entries(cx: &Context, input: Arc<dyn Input>, kind: Kind, limits: Arc<Limits>) -> Entries {
    let cx = cx.clone();
    let found = async move {
        match kind {
            #[cfg(feature = "zip")]
            Kind::Zip => {
                let entries = zip::entries(&cx, &input, limits).await?;
                Ok(stream::iter(entries.into_iter().map(Ok)).boxed())
            }
            #[cfg(feature = "tar")]
            Kind::Tar | Kind::Packed(_) => Ok(tar::entries(&cx, input, limits)),
            #[allow(unreachable_patterns, reason = "only where one is lacking")]
            Kind::Zip => Err::<Entries, Error>(lacks("zip")),
            #[allow(unreachable_patterns, reason = "only where one is lacking")]
            Kind::Tar | Kind::Packed(_) => Err(lacks("tar")),
        }
    };
    stream::once(found).try_flatten().boxed()
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
        let told = |format, path: &str| Kind::of(format, path).map_err(|error| error.to_string());
        let auto = |path: &str| told(ArchiveFormat::Auto, path);
        assert_eq!(auto("in/a.ZIP"), Ok(Kind::Zip));
        assert_eq!(auto("in/a.b.tar"), Ok(Kind::Tar));
        for (path, codec) in [
            ("a.tar.gz", Compression::Gzip),
            ("a.TGZ", Compression::Gzip),
            ("a.tar.zst", Compression::Zstd),
            ("a.tbz2", Compression::Bzip2),
            ("a.tar.xz", Compression::Xz),
            ("a.tar.lz4", Compression::Lz4),
        ] {
            assert_eq!(auto(path), Ok(Kind::Packed(codec)), "{path}");
        }
        assert_eq!(told(ArchiveFormat::Tar, "in/a.zip"), Ok(Kind::Tar));
        assert_eq!(told(ArchiveFormat::Tar, "in/a.gz"), Ok(Kind::Packed(Compression::Gzip)));
        assert_eq!(told(ArchiveFormat::Zip, "in/a.tar.gz"), Ok(Kind::Zip));
        for path in ["in/a", "in/a.csv", "in.zip/a", "a.gz", "a.tar/b.gz"] {
            let error = auto(path).unwrap_err();
            assert!(error.contains("`archive.format`"), "{path}: {error}");
        }
    }
}
