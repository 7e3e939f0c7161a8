//! Files as they are, in chunks: what a source and a sink with `format: bytes` share.
//!
//! ```text
//! source ── Cutter (bytes as they arrive, to chunks) ──> rows ──> Chunks (rows, to chunks) ──> sink
//!    └── name::clean (a name from outside, made harmless)              └── name::check, Hasher
//! ```

mod cutter;
mod digest;
pub mod name;
pub(crate) mod read;
mod rows;

pub use cutter::Cutter;
pub use digest::{Algorithm, Digest, Hasher};
pub use rows::{Chunk, Chunks, File, Named, batch, reference};
