//! Looking whether a server is there and knows us, where the request itself would create a job.

use std::sync::Arc;

use reqwest::{Method, StatusCode};
use towpath_core::Result;

use super::Reading;
use crate::request::Wanted;

impl Reading {
    /// Asks for the URL that creates a job by a method that creates none, and says what was not tested by that.
    ///
    /// # Errors
    /// When the server cannot be reached, gives no token, or does not know us.
    pub(crate) async fn look_without_job(&self) -> Result<()> {
        // Where GET creates the job, HEAD might do so too.
        let method = if self.request.method == Method::GET { Method::OPTIONS } else { Method::HEAD };
        let wanted = Wanted { method: method.clone(), body: None, job: None, ..Wanted::clone(&self.request) };
        let answer = self.send(&wanted, |call| {
            call.takes = inconclusive();
            call.responses = None;
        });
        let status = answer.await?.status;
        let (creates, url) = (&self.request.method, self.show());
        self.cx.metrics().warn(format!(
            "no job was created to test this: whether {creates} {url} creates one, and whether its result can be read, is known \
             when it runs (the server is there, and answered {status} to {method})"
        ));
        Ok(())
    }
}

/// Answers to another method than the right one that say nothing about the right one: all but those that it would get as well.
fn inconclusive() -> Arc<[StatusCode]> {
    const TELLING: [u16; 9] = [401, 407, 408, 421, 425, 429, 502, 503, 504];
    (400..600).filter(|status| !TELLING.contains(status)).flat_map(StatusCode::from_u16).collect()
}
