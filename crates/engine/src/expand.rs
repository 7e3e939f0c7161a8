//! One stream for each of many data sets.

use globset::{Glob, GlobMatcher};
use towpath_core::{Dataset, Error, ErrorKind, Json, Result, WriteDisposition};

use crate::{Engine, Pipeline, Shutdown, StreamSpec};

/// What stands in a stream's name for the name of the data set.
pub const DATASET: &str = "{dataset}";

/// Makes a stream of each data set that fits the patterns of a [`StreamSpec::datasets`], in the order in which the
/// source lists them. A pattern that begins with `!` takes data sets out again.
///
/// A stream whose data sets cannot be listed stays as it is, and fails with the reason when it runs: it must not keep
/// others from running.
///
/// # Errors
/// `Config` for a wrong pattern, or when two streams get one name.
pub async fn expand(mut pipeline: Pipeline, shutdown: &Shutdown) -> Result<Pipeline> {
    if pipeline.streams.iter().all(|spec| spec.datasets.is_empty()) {
        return Ok(pipeline);
    }
    let engine = Engine::new(pipeline.clone())?;
    let mut streams = Vec::new();
    for spec in std::mem::take(&mut pipeline.streams) {
        match engine.streams_of(&spec, shutdown).await {
            Ok(expanded) => streams.extend(expanded),
            Err(error) if error.kind() == ErrorKind::Config => return Err(error),
            Err(_) => streams.push(spec),
        }
    }
    for (index, spec) in streams.iter().enumerate() {
        if streams[..index].iter().any(|other| other.name == spec.name) {
            let text = format!("two streams are called `{}`", spec.name);
            return Err(Error::config(text).help(format!("write something around `{DATASET}`")));
        }
    }
    pipeline.streams = streams;
    Ok(pipeline)
}

impl Engine {
    /// The streams that a spec stands for: itself, or one for each data set.
    ///
    /// # Errors
    /// What the source returns; `Config` for a wrong pattern; `NotFound` when no data set fits.
    pub(crate) async fn streams_of(&self, spec: &StreamSpec, shutdown: &Shutdown) -> Result<Vec<StreamSpec>> {
        if spec.datasets.is_empty() {
            return Ok(vec![spec.clone()]);
        }
        let patterns = Patterns::new(&spec.datasets)?;
        let found = self.discover(&spec.name, shutdown).await?;
        let fitting: Vec<_> = found.iter().filter(|dataset| patterns.fit(&dataset.name)).collect();
        if fitting.is_empty() {
            let held: Vec<_> = found.iter().take(20).map(|dataset| dataset.name.as_str()).collect();
            let text = format!(
                "no data set fits {}; the source holds {}",
                spec.datasets.join(", "),
                held.join(", ")
            );
            return Err(Error::new(ErrorKind::NotFound, text).help("`towpath discover` lists all of them"));
        }
        Ok(fitting.into_iter().map(|dataset| stream_of(spec, dataset)).collect())
    }
}

fn stream_of(spec: &StreamSpec, dataset: &Dataset) -> StreamSpec {
    let mut stream = spec.clone();
    stream.name = spec.name.replace(DATASET, &dataset.name);
    stream.datasets = Vec::new();
    if let (Json::Object(options), Json::Object(found)) = (&mut stream.source.options, &dataset.source) {
        options.extend(found.clone());
    }
    if stream.key.is_empty() && stream.write_disposition == Some(WriteDisposition::Merge) {
        stream.key.clone_from(&dataset.key);
    }
    stream
}

/// Patterns that take in, and patterns that take out again.
struct Patterns {
    wanted: Vec<GlobMatcher>,
    unwanted: Vec<GlobMatcher>,
}

impl Patterns {
    fn new(patterns: &[String]) -> Result<Self> {
        let matcher = |pattern: &str| {
            let glob = Glob::new(pattern).map_err(|error| {
                Error::config(format!("`{pattern}` is not a pattern of data sets: {}", error.kind()))
                    .help("write for example `sales.*`, or `!*_old` to leave some out")
            })?;
            Ok(glob.compile_matcher())
        };
        let (unwanted, wanted): (Vec<_>, Vec<_>) =
            patterns.iter().partition(|pattern| pattern.starts_with('!'));
        Ok(Self {
            wanted: wanted.into_iter().map(|pattern| matcher(pattern)).collect::<Result<_>>()?,
            unwanted: unwanted.into_iter().map(|pattern| matcher(&pattern[1..])).collect::<Result<_>>()?,
        })
    }

    /// With nothing but patterns that take out, all others are wanted.
    fn fit(&self, name: &str) -> bool {
        let is_wanted = self.wanted.is_empty() || self.wanted.iter().any(|pattern| pattern.is_match(name));
        is_wanted && !self.unwanted.iter().any(|pattern| pattern.is_match(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fitting(patterns: &[&str]) -> Vec<&'static str> {
        let patterns: Vec<_> = patterns.iter().map(ToString::to_string).collect();
        let patterns = Patterns::new(&patterns).unwrap();
        ["orders", "orders_old", "sales.items", "sales.log"]
            .into_iter()
            .filter(|name| patterns.fit(name))
            .collect()
    }

    #[test]
    fn patterns_take_in_and_out() {
        assert_eq!(fitting(&["orders"]), ["orders"]);
        assert_eq!(fitting(&["orders*", "!*_old"]), ["orders"]);
        assert_eq!(fitting(&["sales.*"]), ["sales.items", "sales.log"]);
        assert_eq!(fitting(&["!sales.*"]), ["orders", "orders_old"]);
        assert_eq!(fitting(&["sales.{items,log}"]), ["sales.items", "sales.log"]);
    }

    #[test]
    fn a_wrong_pattern_is_named() {
        let error = Patterns::new(&["sales.[".to_owned()]).err().unwrap();
        assert!(error.to_string().contains("`sales.[` is not a pattern"), "{error}");
    }
}
