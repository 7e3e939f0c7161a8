//! Puts values from outside back where a recording has marks for them.

use std::sync::Arc;

use futures::stream::{self, BoxStream, StreamExt};
use towpath_core::Result;

use super::scrub::{marks, replace};
use crate::redact::{HIDDEN, Redactor};

/// Knows the marks and the values of this run.
#[derive(Clone)]
pub(super) struct Restorer {
    marks: Arc<[(Vec<u8>, Vec<u8>)]>,
    /// How many bytes at the end of a piece may be the beginning of a mark.
    hold: usize,
}

impl Restorer {
    pub(super) fn new(redactor: &Redactor) -> Self {
        let marks = marks(redactor);
        let hold = marks.iter().map(|(mark, _)| mark.len() - 1).max().unwrap_or(0);
        Self { marks: marks.into(), hold }
    }

    pub(super) fn bytes(&self, bytes: &[u8]) -> Vec<u8> {
        let mut bytes = bytes.to_vec();
        if memchr::memmem::find(&bytes, HIDDEN.as_bytes()).is_none() {
            return bytes;
        }
        for (mark, value) in self.marks.iter() {
            if memchr::memmem::find(&bytes, mark).is_some() {
                bytes = replace(&bytes, mark, value);
            }
        }
        bytes
    }

    /// A body with the values, however its pieces are cut.
    pub(super) fn body(
        self,
        pieces: BoxStream<'static, Result<Vec<u8>>>,
    ) -> BoxStream<'static, Result<Vec<u8>>> {
        if self.hold == 0 {
            return pieces;
        }
        let state = Some((self, pieces, Vec::new()));
        let restored = stream::unfold(state, |state| async move {
            let (restorer, mut pieces, mut held) = state?;
            match pieces.next().await {
                None => Some((Ok(restorer.bytes(&held)), None)),
                Some(Ok(piece)) => {
                    held.extend_from_slice(&piece);
                    let ready = restorer.settled(&mut held);
                    Some((Ok(ready), Some((restorer, pieces, held))))
                }
                Some(Err(error)) if held.is_empty() => Some((Err(error), None)),
                // What came before the cut is there.
                Some(Err(error)) => {
                    let rest = restorer.bytes(&held);
                    let last = stream::iter([Err(error)]).boxed();
                    Some((Ok(rest), Some((restorer, last, Vec::new()))))
                }
            }
        });
        restored.filter(|piece| std::future::ready(!matches!(piece, Ok(piece) if piece.is_empty()))).boxed()
    }

    /// Takes what is settled, whatever follows.
    fn settled(&self, held: &mut Vec<u8>) -> Vec<u8> {
        let mut ready = self.bytes(held);
        let from = ready.len().saturating_sub(self.hold);
        // A mark that has begun begins with a star.
        let star = memchr::memchr(HIDDEN.as_bytes()[0], &ready[from..]);
        *held = ready.split_off(star.map_or(ready.len(), |at| from + at));
        ready
    }
}

#[cfg(test)]
mod tests {
    use futures::TryStreamExt;
    use towpath_core::Outside;

    use super::super::scrub::Scrubber;
    use super::*;

    fn redactor(values: &[(&str, &str)]) -> Redactor {
        let mut redactor = Redactor::default();
        let named = values.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        redactor.hide_outside(&Outside::new(named));
        redactor
    }

    const VALUES: [(&str, &str); 3] =
        [("API", "https://a.example/v2"), ("TENANT", "acme \"4711\""), ("YEAR", "2024")];
    const TEXT: &str = r#"{"next":"https:\/\/a.example\/v2\/x?of=acme+%224711%22","at":"2024-01-02","n":2024,"of":"acme \"4711\"","s":"***"}"#;

    #[tokio::test]
    async fn values_come_back_in_their_spellings_however_a_body_is_cut() {
        let redactor = redactor(&VALUES);
        let kept = Scrubber::new(redactor.clone()).bytes(TEXT.as_bytes());
        let shown = String::from_utf8_lossy(&kept).into_owned();
        for value in ["a.example", "acme", "4711", "2024"] {
            assert!(!shown.contains(value), "{shown}");
        }
        for length in [1, 2, 5, 11, 12, 13, 1000] {
            let pieces: Vec<_> = kept.chunks(length).map(|piece| Ok(piece.to_vec())).collect();
            let restored = Restorer::new(&redactor).body(stream::iter(pieces).boxed());
            let restored: Vec<Vec<u8>> = restored.try_collect().await.unwrap();
            assert_eq!(String::from_utf8(restored.concat()).unwrap(), TEXT, "pieces of {length}");
        }
    }

    #[tokio::test]
    async fn another_run_gets_its_own_values() {
        let kept = Scrubber::new(redactor(&VALUES)).bytes(TEXT.as_bytes());
        let other = redactor(&[("API", "http://127.0.0.1:80"), ("YEAR", "2031")]);
        let restored = String::from_utf8(Restorer::new(&other).bytes(&kept)).unwrap();
        assert!(
            restored.contains(r"http:\/\/127.0.0.1:80\/x") && restored.contains(r#""at":"2031-01-02""#),
            "{restored}"
        );
        assert!(restored.contains(r#""of":"***"#), "what it does not know stays hidden: {restored}");
    }

    #[tokio::test]
    async fn what_came_before_a_cut_is_there() {
        let pieces = vec![Ok(b"abc**".to_vec()), Err(towpath_core::Error::unavailable("cut"))];
        let mut body = Restorer::new(&redactor(&VALUES)).body(stream::iter(pieces).boxed());
        assert_eq!(body.next().await.unwrap().unwrap(), b"abc");
        assert_eq!(body.next().await.unwrap().unwrap(), b"**");
        assert!(body.next().await.unwrap().is_err());
        assert!(body.next().await.is_none());
    }
}
