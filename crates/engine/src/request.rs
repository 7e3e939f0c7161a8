//! What a source is asked for.

use towpath_core::{Checkpoint, CursorRange, ScanRequest, WriteDisposition};
use towpath_transform::Transform;

/// What a run reads: behind the last finished run, or on with an interrupted one.
pub(crate) fn scan_request(
    checkpoint: &Checkpoint,
    cursor: Option<&str>,
    disposition: WriteDisposition,
    transform: &Transform,
    parallelism: usize,
) -> ScanRequest {
    let held = checkpoint.progress.as_ref();
    let mut request = ScanRequest::default();
    request.columns = transform.columns_needed();
    request.filter = transform.filter();
    request.one_snapshot = disposition == WriteDisposition::Replace;
    request.repeatable = disposition == WriteDisposition::Merge;
    request.since = checkpoint.since.clone();
    request.planned = held.map(|held| held.planned.clone()).unwrap_or_default();
    request.parallelism = parallelism;
    if let Some(field) = cursor {
        let until = held.and_then(|held| held.until.clone());
        request.cursor = Some(CursorRange::new(field, checkpoint.cursor.clone(), until));
        if let Some(columns) = &mut request.columns
            && !columns.iter().any(|column| column == field)
        {
            columns.push(field.to_owned());
        }
    }
    request
}
