//! The promises of the contract as tests. A connector writes a fixture; the macros make one named test for each promise.
//!
//! ```
//! use std::sync::Arc;
//!
//! use async_trait::async_trait;
//! use serde_json::json;
//! use towpath_core::{Context, DynSource, ErrorKind, Json, Result};
//! use towpath_testkit::conformance::{ErrorCase, source::SourceFixture};
//! use towpath_testkit::memory::{CONNECTOR, MemoryData, MemorySource};
//! use towpath_testkit::{context, rows};
//!
//! struct Seeded(MemoryData);
//!
//! impl Seeded {
//!     async fn new() -> Self {
//!         let batch = |ids: Json| rows::batch("id: int64", &ids);
//!         let data = MemoryData::new().split("a", [batch(json!([[1], [2]])), batch(json!([[3]]))]);
//!         Self(data.split("b", [batch(json!([[4]]))]))
//!     }
//! }
//!
//! #[async_trait]
//! impl SourceFixture for Seeded {
//!     async fn open(&self, _cx: &Context) -> Result<Arc<dyn DynSource>> {
//!         Ok(MemorySource::new(&self.0).shared())
//!     }
//!
//!     fn rows(&self) -> Vec<Json> {
//!         self.0.rows()
//!     }
//!
//!     fn broken(&self) -> Vec<ErrorCase> {
//!         let options = json!({"data": "nowhere"});
//!         let case = ErrorCase::source("no such data", ErrorKind::NotFound, CONNECTOR, options, &context());
//!         vec![case.mentions("nowhere")]
//!     }
//!
//!     async fn leftovers(&self) -> Result<Vec<String>> {
//!         let open = self.0.open_reads();
//!         Ok(if open == 0 { Vec::new() } else { vec![format!("{open} open reads")] })
//!     }
//! }
//!
//! mod conformance {
//!     towpath_testkit::source_conformance! { case = super::Seeded::new().await }
//! }
//! # fn main() {}
//! ```
//!
//! This makes `conformance::plan_is_deterministic` and a test for each of the other promises. The expression is evaluated
//! anew in each test, inside a runtime, and gives a [`SourceFixture`](source::SourceFixture) or a
//! [`SinkFixture`](sink::SinkFixture). Several cases of one connector (formats, options) go into modules of their own.
//!
//! What a promise asks depends on the capabilities that the implementation declares. One that does not apply passes and
//! says why on the test's output.

mod errors;
pub mod sink;
pub mod source;

use std::fmt;
use std::future::Future;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use towpath_core::Error;

pub use errors::ErrorCase;

/// How the proof of a promise ended.
pub type Verdict = std::result::Result<Kept, Broken>;

/// A promise that was not broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kept {
    /// It was proven.
    Proven,
    /// It does not apply to an implementation with these capabilities; with the reason.
    NotApplicable(String),
}

impl Kept {
    fn not_applicable(reason: impl Into<String>) -> Self {
        Self::NotApplicable(reason.into())
    }
}

/// How a promise was broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken(String);

impl Broken {
    /// It was broken like this.
    pub fn new(how: impl Into<String>) -> Self {
        Self(how.into())
    }

    /// Says what was done when it happened.
    fn when(self, what: impl fmt::Display) -> Self {
        Self(format!("{what}: {}", self.0))
    }
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<Error> for Broken {
    fn from(error: Error) -> Self {
        Self(format!("an operation that must succeed failed: {error:?}"))
    }
}

/// Breaks the promise unless a condition holds.
macro_rules! ensure {
    ($condition:expr, $($text:tt)+) => {
        if !$condition {
            return Err($crate::conformance::Broken::new(format!($($text)+)));
        }
    };
}
use ensure;

/// How long a proof may take before it counts as hanging.
const PATIENCE: Duration = Duration::from_mins(2);

/// Runs one promise on a new fixture, in a runtime of its own. The macros call it.
///
/// # Panics
/// When the promise is broken or hangs.
#[doc(hidden)]
pub fn hold<F>(name: &str, fixture: impl Future<Output = F>, promise: impl AsyncFnOnce(&F) -> Verdict) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime can be built");
    let proof = async {
        let fixture = fixture.await;
        promise(&fixture).await
    };
    let Ok(verdict) = runtime.block_on(async { tokio::time::timeout(PATIENCE, proof).await }) else {
        panic!("`{name}` hangs: it did not end within {PATIENCE:?}");
    };
    match verdict {
        Ok(Kept::Proven) => {}
        Ok(Kept::NotApplicable(reason)) => println!("`{name}` does not apply: {reason}"),
        Err(broken) => panic!("`{name}` is broken: {broken}"),
    }
}

/// A value after it went through JSON text, as it does on its way through a checkpoint.
fn through_json<T: Serialize + DeserializeOwned>(value: &T) -> std::result::Result<T, Broken> {
    let text = serde_json::to_string(value)
        .map_err(|error| Broken::new(format!("a value cannot be written as JSON: {error}")))?;
    serde_json::from_str(&text).map_err(|error| {
        Broken::new(format!("a value cannot be read back from JSON: {error}; it was {text}"))
    })
}

/// Waits until nothing is left behind: a server may notice a dropped connection a moment later.
async fn nothing_left(leftovers: impl AsyncFn() -> towpath_core::Result<Vec<String>>) -> Result<(), Broken> {
    const LOOKS: u32 = 500;
    let mut left = leftovers().await?;
    for _ in 1..LOOKS {
        if left.is_empty() {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
        left = leftovers().await?;
    }
    ensure!(left.is_empty(), "this was left behind: {}", left.join(", "));
    Ok(())
}

/// Looks for secrets in texts that people see.
fn no_secret_in(secrets: &[String], what: &str, text: &str) -> Result<(), Broken> {
    ensure!(!secrets.iter().any(|secret| text.contains(secret.as_str())), "a secret shows in {what}: {text}");
    Ok(())
}

/// One named test for each promise of a source: `source_conformance! { case = EXPRESSION }`. See
/// [`conformance`](crate::conformance).
#[macro_export]
macro_rules! source_conformance {
    (case = $case:expr $(,)?) => {
        $crate::__source_promises! { __conformance_tests(source, $case) }
    };
}

/// One named test for each promise of a sink: `sink_conformance! { case = EXPRESSION }`. See
/// [`conformance`](crate::conformance).
#[macro_export]
macro_rules! sink_conformance {
    (case = $case:expr $(,)?) => {
        $crate::__sink_promises! { __conformance_tests(sink, $case) }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __conformance_tests {
    ($side:ident, $case:expr, [$($promise:ident)*]) => {
        $(
            #[test]
            fn $promise() {
                $crate::conformance::hold(
                    stringify!($promise),
                    async { $case },
                    async |fixture: &_| $crate::conformance::$side::$promise(fixture).await,
                );
            }
        )*
    };
}

/// A table of promises by name, for tests that pick them.
#[doc(hidden)]
#[macro_export]
macro_rules! __conformance_table {
    ($fixture:path, $case:expr, [$($promise:ident)*]) => {
        &[$((stringify!($promise), |fixture| Box::pin($promise(fixture)))),*]
    };
}
