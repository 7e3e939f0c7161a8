//! Requests before they are sent, and their answers.

use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use reqwest::header::{CONTENT_TYPE, HeaderMap};
use reqwest::{Method, StatusCode};
use url::Url;

use crate::auth::{Home, Token};
use crate::body::Body;
use crate::limits::Limits;
use crate::responses::{Responses, Ruling};
use crate::robots::Robots;

/// A request.
pub(crate) struct Call {
    pub(crate) method: Method,
    pub(crate) url: Url,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Option<Bytes>,
    /// Who credentials are meant for.
    pub(crate) home: Arc<Home>,
    /// A status that is no success and still no error.
    pub(crate) also: Option<StatusCode>,
    /// Further such statuses.
    pub(crate) takes: Arc<[StatusCode]>,
    /// Headers for the host of this URL only.
    pub(crate) private: Option<(Url, HeaderMap)>,
    /// Whether it reads, whatever its method.
    pub(crate) reads: bool,
    /// The rules for answers that are refusals.
    pub(crate) responses: Option<Arc<Responses>>,
    /// Whether a `Content-Encoding` is left as it is.
    pub(crate) raw: bool,
    /// What is asked before each of its URLs, redirects included.
    pub(crate) robots: Option<Arc<Robots>>,
}

impl Call {
    /// A request that reads.
    pub(crate) fn read(method: Method, url: Url, home: Arc<Home>) -> Self {
        Self {
            method,
            url,
            headers: HeaderMap::new(),
            body: None,
            home,
            also: None,
            takes: Arc::default(),
            private: None,
            reads: true,
            responses: None,
            raw: false,
            robots: None,
        }
    }

    /// Goes on to where the server redirects. What an answer with 303 points at is read with GET.
    pub(super) fn redirect(&mut self, status: StatusCode, target: Url) {
        self.url = target;
        if status == StatusCode::SEE_OTHER && self.method != Method::HEAD {
            self.method = Method::GET;
            self.body = None;
            self.headers.remove(CONTENT_TYPE);
        }
    }
}

/// A successful answer.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    /// Where it came from after all redirects.
    pub(crate) url: Url,
    /// Whether that is not where it was asked for.
    pub(crate) redirected: bool,
    /// When it came.
    pub(crate) at: SystemTime,
    /// The token that the request carried.
    pub(crate) token: Option<Arc<Token>>,
    pub(crate) body: Body,
    /// What the rules say of a refusal. Its body has been read.
    pub(crate) ruling: Option<Ruling>,
}

/// The answer to a request for a token.
pub(crate) struct Exchanged {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) limits: Limits,
    pub(crate) body: Bytes,
}
