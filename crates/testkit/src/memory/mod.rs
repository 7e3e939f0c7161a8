//! A source and a sink in memory that keep the contract to the letter: the reference that engine and conformance suite
//! are tested with.
//!
//! What they read and write lives in shared handles, [`MemoryData`] and [`MemoryTarget`], which survive the "death" of
//! a source or sink as a database survives its client's.
//!
//! ```
//! use serde_json::json;
//! use towpath_testkit::memory::{MemoryData, MemorySink, MemorySource, MemoryTarget};
//! use towpath_testkit::rows;
//!
//! let data = MemoryData::new().split("a", [rows::batch("id: int64", &json!([[1], [2]]))]);
//! let source = MemorySource::new(&data).shared();
//! let target = MemoryTarget::new();
//! let sink = MemorySink::new(&target).max_writers(4).shared();
//! # let _ = (source, sink);
//! assert!(target.rows("a").is_empty());
//! ```

mod data;
mod sink;
mod source;
mod target;

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use towpath_core::{Connector, Error, Result};

pub use data::MemoryData;
pub use sink::{MemorySink, MemorySinkConfig, MemoryWriter};
pub use source::{MemorySource, MemorySourceConfig};
pub use target::MemoryTarget;

/// The memory connector, for tests that open by options: `data:` and `target:` name a [`MemoryData::named`] and a
/// [`MemoryTarget::named`].
pub const CONNECTOR: Connector = Connector::new("memory", "Reads from and writes to the memory of a test.")
    .source::<MemorySource>()
    .sink::<MemorySink>();

/// Handles by name, for options that can only hold text.
type Registry<T> = LazyLock<Mutex<HashMap<String, T>>>;

fn named<T: Clone + Default>(registry: &Registry<T>, name: &str) -> T {
    lock(registry).entry(name.to_owned()).or_default().clone()
}

fn find<T: Clone>(registry: &Registry<T>, what: &str, name: &str) -> Result<T> {
    lock(registry).get(name).cloned().ok_or_else(|| {
        Error::new(towpath_core::ErrorKind::NotFound, format!("no {what} has the name `{name}`"))
            .connector("memory")
            .help("make it first with `named`")
    })
}

/// A test that panicked while it held the lock has failed already; the others go on.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
