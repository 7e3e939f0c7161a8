//! The path to the records.

use std::fmt;
use std::str::FromStr;

use towpath_core::Error;

/// Names of elements from the root on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RecordPath(Vec<Step>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Name(String),
    Any,
}

impl RecordPath {
    /// The elements within the root.
    pub(super) fn children() -> Self {
        Self(vec![Step::Any, Step::Any])
    }

    /// How deep the records are; the root is 1.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether an element of this name may be on the way at this depth, which is 0 for the root.
    pub(super) fn fits(&self, depth: usize, name: &str) -> bool {
        match self.0.get(depth) {
            Some(Step::Any) => true,
            Some(Step::Name(wanted)) => wanted == name,
            None => false,
        }
    }
}

impl FromStr for RecordPath {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let steps = text.strip_prefix('/').unwrap_or(text).split('/').map(|step| match step {
            "*" => Some(Step::Any),
            name if name.is_empty() || name.contains(['[', ']', '@', '(', ' ', '$']) => None,
            name => Some(Step::Name(name.to_owned())),
        });
        steps.collect::<Option<_>>().map(Self).ok_or_else(|| {
            Error::config(format!("`{text}` is not a path to elements"))
                .help("write the names from the root on, such as /feed/entry, with * for any")
        })
    }
}

impl fmt::Display for RecordPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for step in &self.0 {
            match step {
                Step::Any => f.write_str("/*")?,
                Step::Name(name) => write!(f, "/{name}")?,
            }
        }
        Ok(())
    }
}
