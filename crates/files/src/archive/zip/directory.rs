//! The table at the end of a zip, which says what is in it and where.

use std::sync::Arc;

use rawzip::{CompressionMethod, RECOMMENDED_BUFFER_SIZE, ZipArchive, ZipFileHeaderRecord, ZipLocator};
use towpath_core::{ByteSize, Context, Error, ErrorKind, Result};
use towpath_formats::{Input, Unpacker};

use super::window::Window;
use super::{DEFLATE, LOCAL_HEADER, STORED, ZSTD, names};
use crate::archive::name::clean;
use crate::archive::{Body, Entry, Limits, of_entry, too_many};

/// How far from the end its record may begin: it is followed by a comment of 16 bits, and preceded by what finds the larger
/// one of a large archive.
const TAIL: u64 = 66 << 10;

/// How often a parser begins anew with more bytes, until it is given up.
const ROUNDS: usize = 8;

/// How much is fetched of a place that a parser looks for.
const LOOK: u64 = 4 << 10;

/// The largest table that is read.
const MOST: ByteSize = ByteSize::mib(64);

/// How much of it is fetched at a time.
const STEP: u64 = 8 << 20;

/// Where the table is.
struct Table {
    start: u64,
    /// Where the record of its end begins.
    end: u64,
    /// How many entries it should have.
    entries: u64,
}

/// The files of a zip that are wanted, in the order of its table.
pub(in crate::archive) async fn entries(
    cx: &Context,
    input: &Arc<dyn Input>,
    limits: Arc<Limits>,
) -> Result<Vec<Entry>> {
    let size = input.size().ok_or_else(|| Error::unexpected("an archive without a length"))?;
    let mut window = Window::new(size);
    window.fetch(&**input, size.saturating_sub(TAIL), size, TAIL).await?;
    let table = find(&mut window, &**input).await?;
    one_disk(&window, &table)?;
    let bytes = table.end.saturating_sub(table.start);
    if bytes > MOST.bytes() {
        return Err(Error::unsupported(format!(
            "the table of the zip has {}, and {MOST} is the most that is read",
            ByteSize::new(bytes)
        ))
        .help("split the archive"));
    }
    window.fetch(&**input, table.start, table.end, STEP).await?;
    cx.cpu(move || Reading::new(&limits, size).read(&window, &table)).await
}

/// Finds the table, with as many further looks into the archive as that takes.
async fn find(window: &mut Window, input: &dyn Input) -> Result<Table> {
    for _ in 0..ROUNDS {
        let found = open(window).map(|archive| Table {
            start: archive.directory_offset(),
            end: archive.eocd_offset(),
            entries: archive.entries_hint(),
        });
        match window.take_missing() {
            Some(at) => window.fetch(input, at, at.saturating_add(LOOK), LOOK).await?,
            None => return found,
        }
    }
    Err(unreadable())
}

fn open(window: &Window) -> Result<ZipArchive<&Window>> {
    let mut buffer = vec![0; RECOMMENDED_BUFFER_SIZE];
    let locator = ZipLocator::new().max_search_space(TAIL);
    locator
        .locate_in_reader(window, &mut buffer, window.size())
        .map_err(|(_, error)| unreadable().source(error))
}

fn unreadable() -> Error {
    Error::data("the table at the end of the zip cannot be read").help("is it a zip, and all of it?")
}

/// Refuses a zip of which other parts are elsewhere.
fn one_disk(window: &Window, table: &Table) -> Result<()> {
    let Some(end) = window.get(table.end, 22) else { return Err(unreadable()) };
    let number = |at: usize| u16::from_le_bytes([end[at], end[at + 1]]);
    let of_large = |disk: u16| disk == 0 || disk == u16::MAX;
    let larger = table.end.checked_sub(20).and_then(|at| window.get(at, 20));
    let disks = larger.filter(|record| record.starts_with(b"PK\x06\x07"));
    let disks =
        disks.map_or(1, |record| u32::from_le_bytes([record[16], record[17], record[18], record[19]]));
    if of_large(number(4)) && of_large(number(6)) && number(8) == number(10) && disks <= 1 {
        return Ok(());
    }
    Err(Error::unsupported("the zip is one part of several")
        .help("join them: `zip -s 0 parts.zip --out whole.zip`"))
}

/// The table while it is read.
struct Reading<'a> {
    limits: &'a Limits,
    size: u64,
    /// Where all entries lie, at least.
    ranges: Vec<(u64, u64)>,
    found: Vec<Entry>,
}

impl<'a> Reading<'a> {
    fn new(limits: &'a Limits, size: u64) -> Self {
        Self { limits, size, ranges: Vec::new(), found: Vec::new() }
    }

    fn read(mut self, window: &Window, table: &Table) -> Result<Vec<Entry>> {
        let archive = open(window)?;
        let broken = |error| Error::data("the table of the zip is broken").source(error);
        let mut buffer = vec![0; rawzip::MAX_CENTRAL_DIRECTORY_RECORD_SIZE];
        let mut records = archive.entries(&mut buffer);
        let mut count = 0;
        while let Some(record) = records.next_entry().map_err(broken)? {
            if count == self.limits.max_entries {
                return Err(too_many(self.limits.max_entries));
            }
            self.add(count, &record)?;
            count += 1;
        }
        // Some programs write no more than the lower half of a large number.
        if count != table.entries && count & 0xffff != table.entries {
            let told = table.entries;
            return Err(Error::data(format!("the table of the zip has {count} entries instead of {told}"))
                .help("get the whole file"));
        }
        self.check_ranges()?;
        self.check_names()?;
        Ok(self.found)
    }

    fn add(&mut self, index: u64, record: &ZipFileHeaderRecord<'_>) -> Result<()> {
        let raw = names::text(record.file_path().as_bytes());
        let (header, compressed) = (record.local_header_offset(), record.compressed_size_hint());
        let least = LOCAL_HEADER + record.file_path().len() as u64;
        let end = header.checked_add(least).and_then(|start| start.checked_add(compressed));
        let Some(end) = end.filter(|end| *end <= self.size) else {
            return Err(of_entry(
                Error::data("an entry of the zip lies behind its end").help("get the whole file"),
                &raw,
            ));
        };
        self.ranges.push((header, end));
        if record.is_dir() || raw.ends_with('/') || record.mode().is_symlink() {
            return Ok(());
        }
        let name = clean(&raw).map_err(|why| of_entry(Error::data(why), &raw))?;
        if !self.limits.wanted.has(&name) {
            return Ok(());
        }
        let entry = Entry {
            index,
            name,
            size: record.uncompressed_size_hint(),
            body: Body::Zip {
                header,
                compressed,
                method: record.compression_method().as_u16(),
                crc: record.crc32(),
            },
        };
        if record.flags().is_encrypted() || record.flags().is_masked() {
            return Err(of_entry(
                Error::unsupported("the entry is encrypted").help("leave it out by `entries`, or decrypt it"),
                &entry.name,
            ));
        }
        check_method(record.compression_method(), compressed, entry.size)
            .and_then(|()| self.limits.check_size(entry.size, compressed))
            .map_err(|error| of_entry(error, &entry.name))?;
        self.found.push(entry);
        Ok(())
    }

    /// Entries that share bytes are how a small file becomes more than any disk holds.
    fn check_ranges(&mut self) -> Result<()> {
        self.ranges.sort_unstable();
        let overlaps = self.ranges.windows(2).find(|pair| pair[0].1 > pair[1].0);
        overlaps.map_or(Ok(()), |pair| {
            Err(Error::data("entries of the zip overlap, as no program writes them")
                .detail("byte", pair[1].0))
        })
    }

    fn check_names(&self) -> Result<()> {
        let mut names: Vec<&str> = self.found.iter().map(|entry| entry.name.as_str()).collect();
        names.sort_unstable();
        match names.windows(2).find(|pair| pair[0] == pair[1]) {
            None => Ok(()),
            Some(pair) => Err(of_entry(
                Error::new(ErrorKind::DataInvalid, "two entries have one name")
                    .help("write the archive anew"),
                pair[0],
            )),
        }
    }
}

fn check_method(method: CompressionMethod, compressed: u64, size: u64) -> Result<()> {
    match method.as_u16() {
        STORED if compressed != size => Err(Error::data(format!(
            "the entry is stored as it is, in {compressed} bytes, and should have {size}"
        ))),
        STORED => Ok(()),
        DEFLATE => Unpacker::deflate().map(drop),
        ZSTD => Unpacker::zstd().map(drop),
        _ => Err(Error::unsupported(format!("the entry is compressed by method {method}")).help(
            "stored, deflate and zstd are read; write the archive anew, or leave the entry out by `entries`",
        )),
    }
}
