//! Writing objects: each is an upload that is not completed, and a manifest completes all of a commit's uploads.
//!
//! ```text
//! out/.towpath/PIPELINE/STREAM/manifest.json   the checkpoint, the commits, and the one under way
//!                              commits/*.json  the files of each commit, or of several that were put together
//!                              staged/RUN/*    objects that are put together at the commit, where the path is one file
//! ```
//!
//! An upload to its final key is visible to nobody before it is completed. So a commit notes in the manifest what it is about
//! to do (the intent), completes the uploads, and notes that it is done. Whoever finds an intent goes on with it: every step
//! can be done twice. The manifest is only ever changed where it is still the one that was read (`If-Match`); so of two runs
//! one wins, and the other gets `Conflict`.

mod bytes;
mod check;
mod claim;
mod clean;
mod commit;
mod destination;
mod home;
mod manifest;
mod options;
mod output;
mod plain;
mod settle;
mod staging;
mod stretches;
mod upload;

pub use bytes::{ByteSink, ByteWriter};
pub use destination::{ObjectDestination, Provider, SinkParts};
pub use options::{Layout, UploadSettings};
pub use output::ObjectOutput;
pub use staging::{HeldObject, ObjectFile, ObjectStaging};
