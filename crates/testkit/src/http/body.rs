//! The body of an answer, chunk by chunk.

use std::io;

use bytes::Bytes;
use futures::{StreamExt, stream};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;

use super::Response;

pub(super) type Body = UnsyncBoxBody<Bytes, io::Error>;

/// Builds the body. `guard` is dropped just before the last bytes leave, so that a client which then sends its next
/// request is never counted twice, or when the client goes away.
pub(super) fn body(response: &Response, guard: impl Send + 'static) -> Body {
    let (chunks, cut) = up_to_cut(&response.chunks, response.cut_after);
    let mut items: Vec<io::Result<Bytes>> = chunks.into_iter().map(Ok).collect();
    if cut {
        items.push(Err(io::Error::new(io::ErrorKind::ConnectionAborted, "cut by the test")));
    }
    let (last, delay) = (items.len(), response.chunk_delay);
    let mut guard = Some(guard).filter(|_| last > 0);
    let frames = stream::iter(items.into_iter().zip(1..))
        .then(move |(item, number)| async move {
            if !delay.is_zero() {
                tokio::time::sleep(delay).await;
            }
            if item.is_err() {
                // What was given before the cut leaves first.
                tokio::task::yield_now().await;
            }
            (item.map(Frame::data), number)
        })
        .map(move |(frame, number)| {
            if number == last {
                drop(guard.take());
            }
            frame
        });
    BodyExt::boxed_unsync(StreamBody::new(frames))
}

/// The chunks before the cut, and whether there is one.
fn up_to_cut(chunks: &[Bytes], cut_after: Option<usize>) -> (Vec<Bytes>, bool) {
    let Some(mut left) = cut_after else { return (chunks.to_vec(), false) };
    let mut kept = Vec::new();
    for chunk in chunks {
        let part = chunk.slice(..chunk.len().min(left));
        left -= part.len();
        kept.push(part);
    }
    (kept, true)
}
