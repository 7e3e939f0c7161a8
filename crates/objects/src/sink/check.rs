//! Trying all that a load will do, and telling every permission that is missing.

use bytes::Bytes;
use object_store::PutMode;
use towpath_core::{Error, ErrorKind, Result};

use super::commit::no_conditions;
use super::home::Site;
use crate::extras::Appearance;
use crate::write::Put;

/// What the object of the trial holds.
const CONTENT: Bytes = Bytes::from_static(b"check");

/// The refusals so far. Whoever may not do one thing may still try the next.
#[derive(Default)]
struct Denied(Vec<Error>);

impl Denied {
    /// What a step gave, unless it was not permitted.
    fn but<T>(&mut self, step: Result<T>) -> Result<Option<T>> {
        match step {
            Ok(done) => Ok(Some(done)),
            Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                self.0.push(error);
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// The first refusal, with what would help against all of them.
    fn into_result(self) -> Result<()> {
        let mut help: Vec<&str> = Vec::new();
        for text in self.0.iter().filter_map(Error::help_text) {
            if !help.contains(&text) {
                help.push(text);
            }
        }
        let help = help.join("; ");
        match self.0.into_iter().next() {
            Some(error) if help.is_empty() => Err(error),
            Some(error) => Err(error.help(help)),
            None => Ok(()),
        }
    }
}

impl Site {
    /// Does all that a load will do: begins an upload and gives it up, writes, also on conditions, lists, removes.
    pub(super) async fn check(&self, appearance: &Appearance, is_plain: bool) -> Result<()> {
        let key = self.home.probe();
        let bucket = &self.bucket;
        let mut denied = Denied::default();
        if let Some(id) = denied.but(bucket.begin_upload(&key, "check", appearance).await)? {
            denied.but(bucket.put_part(&key, &id, 0, CONTENT).await)?;
            denied.but(bucket.abort(&key, &id).await)?;
        }
        denied.but(self.uploads().await)?;
        if !is_plain {
            denied.but(bucket.keys(&self.home.staged()).await)?;
            if denied.but(bucket.put(&key, CONTENT, PutMode::Overwrite).await)?.is_some() {
                let is_ignored = denied.but(self.is_created_twice(&key).await);
                denied.but(bucket.delete(vec![key]).await)?;
                if is_ignored? == Some(true) {
                    return Err(no_conditions());
                }
            }
        }
        denied.into_result()
    }

    /// Whether an object that exists can be created once more, with the bytes that it has.
    pub(super) async fn is_created_twice(&self, key: &str) -> Result<bool> {
        let found = self.bucket.read_whole(key).await?;
        let bytes = found.map(|found| found.bytes).unwrap_or_default();
        Ok(self.bucket.put(key, bytes, PutMode::Create).await? != Put::Refused)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_permission_that_is_missing_is_told_once() {
        let refused = |grant: &str| Err(Error::new(ErrorKind::PermissionDenied, "no").help(grant.to_owned()));
        let mut denied = Denied::default();
        assert_eq!(denied.but(Ok(7)).unwrap(), Some(7));
        for grant in ["grant `a`", "grant `b`", "grant `a`"] {
            assert_eq!(denied.but::<()>(refused(grant)).unwrap(), None);
        }
        assert!(denied.but::<()>(Err(Error::unavailable("away"))).is_err());
        let error = denied.into_result().unwrap_err();
        assert_eq!(error.help_text(), Some("grant `a`; grant `b`"));
        assert!(Denied::default().into_result().is_ok());
    }
}
