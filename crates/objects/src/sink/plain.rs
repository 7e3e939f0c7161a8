//! Objects without a manifest, for people who just want files.
//!
//! Nothing but the objects is written, so the engine keeps the checkpoint, and a run that is killed between the objects and
//! the checkpoint writes their rows once more.

use arrow_schema::SchemaRef;
use towpath_core::{Checkpoint, Delivery, Error, LoadSpec, Result, SinkCapabilities, WriteDisposition};
use towpath_files::sink::Target;

/// Without a list of the files that were written, only the one of a plain path can be replaced.
pub(super) fn capabilities(mut capabilities: SinkCapabilities) -> SinkCapabilities {
    capabilities.delivery = Delivery::AtLeastOnce;
    if capabilities.dispositions.contains(&WriteDisposition::Append) {
        capabilities.dispositions = vec![WriteDisposition::Append];
    }
    capabilities
}

pub(super) fn begin(target: &Target, load: &LoadSpec) -> Result<(Checkpoint, Option<SchemaRef>)> {
    if load.disposition == WriteDisposition::Replace && !target.template().is_plain() {
        return Err(Error::unsupported("with `layout: plain` nobody knows which objects are to be replaced")
            .detail("path", target.template().text())
            .help("leave `layout` out, or let `path` be one object, without `{part}`"));
    }
    Ok((Checkpoint::begin(None, load)?, None))
}
