//! Which data sets there are: files whose names differ only in their digits are one.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use futures::TryStreamExt;
use serde_json::json;
use towpath_core::{Context, Dataset, Json, Result};

use crate::archive::Item;
use crate::{FileSource, Listing, Store, Walk};

/// The most data sets that are listed.
const MOST: usize = 1_000;

/// The most files that are looked at.
const MOST_FILES: usize = 200_000;

/// Files that belong together.
struct Group {
    first: Item,
    files: usize,
    bytes: u64,
}

pub(crate) async fn discover<S: Store>(source: &FileSource<S>, cx: &Context) -> Result<Vec<Dataset>> {
    if let Some(places) = source.store().places(cx).await? {
        return Ok(places);
    }
    let groups = groups(source, cx).await?;
    let mut names = BTreeSet::new();
    let mut datasets = Vec::new();
    for (globs, group) in groups {
        let path = group.first.path();
        let schema = match source.schema(cx, group.first.clone(), None).await {
            Ok(schema) => Some(schema),
            Err(error) if source.reader(&group.first).is_err() => {
                tracing::warn!(%path, %error, "left out files of no known format");
                continue;
            }
            Err(error) => {
                tracing::warn!(%path, %error, "cannot tell the columns");
                None
            }
        };
        let name = unique(&mut names, &name_of(&path));
        let mut dataset = Dataset::new(name, options(source, &globs, &group));
        dataset.schema = schema;
        dataset.estimate.bytes = Some(group.bytes);
        datasets.push(dataset);
    }
    Ok(datasets)
}

/// What is read, by the globs of its files and of the entries of those that are archives.
async fn groups<S: Store>(source: &FileSource<S>, cx: &Context) -> Result<BTreeMap<(String, String), Group>> {
    let mut walk = source.listing(cx).await?.walk(None);
    let mut groups: BTreeMap<(String, String), Group> = BTreeMap::new();
    let mut files = 0;
    while let Some(found) = walk.next().await? {
        let mut items = source.items(cx, found.file);
        while let Some(item) = items.try_next().await? {
            // Of a compressed archive only the first entry is looked at: all of it would have to be read.
            let Some(item) = source.sample(cx, item).await? else { continue };
            files += 1;
            if files > MOST_FILES {
                tracing::warn!(most = MOST_FILES, "there are more files than are looked at; narrow `path`");
                return Ok(groups);
            }
            let entry = item.entry.as_ref().map(|entry| glob_of(&entry.name));
            let globs = (glob_of(&item.file.path), entry.unwrap_or_default());
            if groups.len() == MOST && !groups.contains_key(&globs) {
                tracing::warn!(most = MOST, "there are more data sets than are listed; narrow `path`");
                return Ok(groups);
            }
            let bytes = item.size();
            let group = groups.entry(globs).or_insert_with(|| Group { first: item, files: 0, bytes: 0 });
            group.files += 1;
            group.bytes += bytes;
        }
    }
    Ok(groups)
}

/// The options by which the files of a group are read.
fn options<S: Store>(source: &FileSource<S>, (glob, entries): &(String, String), group: &Group) -> Json {
    let is_one = group.files == 1;
    let path = if is_one { &group.first.file.path } else { glob };
    let path = source.display(path);
    let Some((archive, entry)) = source.options().archive.as_ref().zip(group.first.entry.as_ref()) else {
        return json!({ "path": path });
    };
    let entries = if is_one && group.first.packed.is_none() { &entry.name } else { entries };
    json!({ "path": path, "archive": { "format": archive.format, "entries": entries } })
}

/// The glob of the files like this one: any digits in its name, any `key=value` folders below the first.
fn glob_of(path: &str) -> String {
    let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
    let mut parts: Vec<String> = Vec::new();
    for part in folder.split('/').filter(|_| !folder.is_empty()) {
        match part.split_once('=') {
            Some(_) => {
                parts.push("**".to_owned());
                break;
            }
            None => parts.push(globset::escape(part)),
        }
    }
    let mut glob = String::new();
    for character in name.chars() {
        match character {
            '0'..='9' if glob.ends_with('*') => {}
            '0'..='9' => glob.push('*'),
            other => glob.push_str(&globset::escape(other.encode_utf8(&mut [0; 4]))),
        }
    }
    parts.push(glob);
    parts.join("/")
}

/// The name without digits and extensions, or the folder's where nothing is left of it.
fn name_of(path: &str) -> String {
    let parts: Vec<&str> = path.split('/').filter(|part| !part.contains('=')).collect();
    let words = |name: &str| {
        let stem = name.split('.').next().unwrap_or(name);
        let cleaned: String = stem.chars().filter(|c| !c.is_ascii_digit()).collect();
        let cleaned = cleaned.trim_matches(|c: char| !c.is_alphanumeric()).to_owned();
        (!matches!(cleaned.as_str(), "" | "part" | "data")).then_some(cleaned)
    };
    let name = parts.last().and_then(|name| words(name));
    let folder = || parts.iter().rev().nth(1).map(|folder| (*folder).to_owned());
    name.or_else(folder).filter(|name| !name.is_empty()).unwrap_or_else(|| "data".to_owned())
}

fn unique(names: &mut BTreeSet<String>, name: &str) -> String {
    let mut candidate = name.to_owned();
    let mut number = 2;
    while !names.insert(candidate.clone()) {
        candidate = format!("{name}_{number}");
        number += 1;
    }
    candidate
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_differ_in_digits_or_partitions_are_one_data_set() {
        for (path, glob, name) in [
            ("in/sales_2026_01.csv", "in/sales_*_*.csv", "sales"),
            ("in/orders.csv.gz", "in/orders.csv.gz", "orders"),
            ("lake/orders/year=2026/month=1/part-00001.parquet", "lake/orders/**/part-*.parquet", "orders"),
            ("2026.csv", "*.csv", "data"),
        ] {
            assert_eq!((glob_of(path).as_str(), name_of(path).as_str()), (glob, name), "{path}");
        }
    }

    #[test]
    fn no_two_data_sets_have_one_name() {
        let mut names = BTreeSet::new();
        let given = ["a", "a", "b", "a"].map(|name| unique(&mut names, name));
        assert_eq!(given, ["a", "a_2", "b", "a_3"]);
    }
}
