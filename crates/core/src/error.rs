//! One error for every layer: what kind of failure, whether to try again, where it happened, and why.

use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A result of this crate's operations.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What kind of failure it is, for people and for policies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ErrorKind {
    /// The pipeline file or an option is wrong.
    Config,
    /// The system does not know who we are: missing, wrong or expired credentials.
    Unauthenticated,
    /// The system knows us and refuses.
    PermissionDenied,
    /// The object, table, page or file does not exist.
    NotFound,
    /// The system asks for fewer requests.
    RateLimited,
    /// The columns do not fit the target or the schema contract.
    SchemaMismatch,
    /// A value or a body cannot be read.
    DataInvalid,
    /// Somebody else has written or is writing: a fenced run, a token that does not fit.
    Conflict,
    /// The connector or the server cannot do this.
    Unsupported,
    /// The system cannot be reached, does not answer in time, or has no space left.
    Unavailable,
    /// The run was told to stop.
    Cancelled,
    /// Nobody expected this: a bug, or a driver's error without a better kind.
    Unexpected,
}

impl ErrorKind {
    /// The kind in words, as error messages show it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Config => "configuration",
            Self::Unauthenticated => "unauthenticated",
            Self::PermissionDenied => "permission denied",
            Self::NotFound => "not found",
            Self::RateLimited => "rate limited",
            Self::SchemaMismatch => "schema mismatch",
            Self::DataInvalid => "invalid data",
            Self::Conflict => "conflict",
            Self::Unsupported => "unsupported",
            Self::Unavailable => "unavailable",
            Self::Cancelled => "cancelled",
            Self::Unexpected => "unexpected",
        }
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Whether the layers may try the same operation again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Retry {
    /// Trying again would fail again.
    Never,
    /// Trying again after a back-off may succeed.
    Transient,
    /// The server said when to come back.
    After(Duration),
    /// It was transient, and every attempt was used.
    Exhausted,
    /// Reading on from this position cannot succeed any more; reading the split again from its start may.
    Restart,
}

/// A failure: its kind, whether to retry, the connector and operation, details and the cause.
///
/// The text says what failed, where, and what to do. Never put a secret into a message or a detail.
///
/// ```
/// use towpath_core::{Error, ErrorKind};
///
/// let error = Error::new(ErrorKind::NotFound, "no such file")
///     .connector("file")
///     .operation("read")
///     .detail("path", "landing/sales.csv")
///     .help("check `path`");
/// assert_eq!(
///     error.to_string(),
///     "file: read: no such file (path: landing/sales.csv); check `path`"
/// );
/// assert!(!error.is_retryable());
/// ```
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    retry: Retry,
    connector: Option<Cow<'static, str>>,
    operation: Option<Cow<'static, str>>,
    message: String,
    details: Vec<(Cow<'static, str>, String)>,
    help: Option<String>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    /// A failure of this kind. `Unavailable` and `RateLimited` start as transient, all others as final.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        let retry = match kind {
            ErrorKind::Unavailable | ErrorKind::RateLimited => Retry::Transient,
            _ => Retry::Never,
        };
        Self(Box::new(Inner {
            kind,
            retry,
            connector: None,
            operation: None,
            message: message.into(),
            details: Vec::new(),
            help: None,
            source: None,
        }))
    }

    /// A wrong option or pipeline.
    pub fn config(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Config, message)
    }

    /// A value or body that cannot be read.
    pub fn data(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::DataInvalid, message)
    }

    /// Columns that do not fit.
    pub fn schema(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::SchemaMismatch, message)
    }

    /// Something that cannot be done here.
    pub fn unsupported(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Unsupported, message)
    }

    /// A system that cannot be reached; transient.
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Unavailable, message)
    }

    /// A broken invariant.
    pub fn unexpected(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Unexpected, message)
    }

    /// The run was told to stop.
    pub fn cancelled() -> Self {
        Self::new(ErrorKind::Cancelled, "stopped before it was done")
    }

    /// Sets whether the layers may try again.
    pub fn retry(mut self, retry: Retry) -> Self {
        self.0.retry = retry;
        self
    }

    /// Names the connector, unless a deeper layer already did.
    pub fn connector(mut self, connector: impl Into<Cow<'static, str>>) -> Self {
        self.0.connector.get_or_insert(connector.into());
        self
    }

    /// Names the operation, unless a deeper layer already did.
    pub fn operation(mut self, operation: impl Into<Cow<'static, str>>) -> Self {
        self.0.operation.get_or_insert(operation.into());
        self
    }

    /// Adds a fact about where it happened. A name that is already there is kept as it is.
    pub fn detail(mut self, name: impl Into<Cow<'static, str>>, value: impl fmt::Display) -> Self {
        let name = name.into();
        if !self.0.details.iter().any(|(known, _)| *known == name) {
            self.0.details.push((name, value.to_string()));
        }
        self
    }

    /// Says what to do about it.
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.0.help = Some(help.into());
        self
    }

    /// Adds the cause.
    pub fn source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// What kind of failure it is.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Whether and when the layers may try again.
    pub fn retry_policy(&self) -> Retry {
        self.0.retry
    }

    /// Whether trying again may help.
    pub fn is_retryable(&self) -> bool {
        matches!(self.0.retry, Retry::Transient | Retry::After(_))
    }

    /// What failed, without place, help and cause.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The connector in which it happened.
    pub fn connector_name(&self) -> Option<&str> {
        self.0.connector.as_deref()
    }

    /// The operation that failed.
    pub fn operation_name(&self) -> Option<&str> {
        self.0.operation.as_deref()
    }

    /// The value of a detail.
    pub fn detail_value(&self, name: &str) -> Option<&str> {
        self.0.details.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// What to do about it.
    pub fn help_text(&self) -> Option<&str> {
        self.0.help.as_deref()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = &*self.0;
        if let Some(connector) = &inner.connector {
            write!(f, "{connector}: ")?;
        }
        if let Some(operation) = &inner.operation {
            write!(f, "{operation}: ")?;
        }
        f.write_str(&inner.message)?;
        for (index, (name, value)) in inner.details.iter().enumerate() {
            write!(f, "{}{name}: {value}", if index == 0 { " (" } else { ", " })?;
        }
        if !inner.details.is_empty() {
            f.write_str(")")?;
        }
        let mut cause: Option<&(dyn StdError + 'static)> = self.source_ref();
        let mut last = inner.message.clone();
        while let Some(error) = cause {
            // Many libraries repeat their cause in their own text.
            let text = error.to_string();
            if !last.contains(&text) {
                write!(f, ": {text}")?;
                last = text;
            }
            cause = error.source();
        }
        if inner.retry == Retry::Exhausted {
            f.write_str(" [every retry failed]")?;
        }
        if let Some(help) = &inner.help {
            write!(f, "; {help}")?;
        }
        Ok(())
    }
}

impl Error {
    fn source_ref(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as &(dyn StdError + 'static))
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Error({:?}, {:?}, \"{self}\")", self.0.kind, self.0.retry)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source_ref()
    }
}

impl From<arrow::error::ArrowError> for Error {
    fn from(error: arrow::error::ArrowError) -> Self {
        use arrow::error::ArrowError;
        let kind = match &error {
            ArrowError::SchemaError(_) => ErrorKind::SchemaMismatch,
            ArrowError::NotYetImplemented(_) => ErrorKind::Unsupported,
            ArrowError::MemoryError(_) | ArrowError::ExternalError(_) | ArrowError::IoError(..) => {
                ErrorKind::Unexpected
            }
            _ => ErrorKind::DataInvalid,
        };
        Self::new(kind, error.to_string())
    }
}

impl From<std::io::Error> for Error {
    /// Classifies an operating system error; a full disk and a broken connection are `Unavailable`.
    fn from(error: std::io::Error) -> Self {
        use std::io::ErrorKind as Io;
        let kind = match error.kind() {
            Io::NotFound => ErrorKind::NotFound,
            Io::PermissionDenied | Io::ReadOnlyFilesystem => ErrorKind::PermissionDenied,
            Io::AlreadyExists => ErrorKind::Conflict,
            Io::InvalidData | Io::UnexpectedEof => ErrorKind::DataInvalid,
            Io::Unsupported => ErrorKind::Unsupported,
            Io::StorageFull | Io::QuotaExceeded => {
                return Self::new(ErrorKind::Unavailable, error.to_string())
                    .retry(Retry::Never)
                    .help("free some space and run again: what was committed is intact");
            }
            Io::ConnectionRefused
            | Io::ConnectionReset
            | Io::ConnectionAborted
            | Io::NotConnected
            | Io::BrokenPipe
            | Io::TimedOut
            | Io::WouldBlock
            | Io::HostUnreachable
            | Io::NetworkUnreachable
            | Io::NetworkDown
            | Io::Interrupted
            | Io::ResourceBusy => ErrorKind::Unavailable,
            _ => ErrorKind::Unexpected,
        };
        Self::new(kind, error.to_string())
    }
}

/// Adds place and help to the error of a result.
pub trait ResultExt<T> {
    /// Names the operation.
    fn operation(self, operation: &'static str) -> Result<T>;
    /// Adds a fact about where it happened.
    fn detail(self, name: &'static str, value: impl fmt::Display) -> Result<T>;
}

impl<T, E: Into<Error>> ResultExt<T> for std::result::Result<T, E> {
    fn operation(self, operation: &'static str) -> Result<T> {
        self.map_err(|error| error.into().operation(operation))
    }

    fn detail(self, name: &'static str, value: impl fmt::Display) -> Result<T> {
        self.map_err(|error| error.into().detail(name, value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_says_what_where_why_and_what_to_do() {
        let error = Error::unavailable("cannot connect")
            .connector("http")
            .operation("get")
            .detail("url", "https://api.example/x")
            .source(std::io::Error::other("connection refused"))
            .help("is the server running?");
        assert_eq!(
            error.to_string(),
            "http: get: cannot connect (url: https://api.example/x): connection refused; is the server running?"
        );
    }

    #[test]
    fn a_deeper_layer_names_connector_operation_and_details_first() {
        let error = Error::data("x").connector("file").operation("read").detail("line", 3);
        let error = error.connector("http").operation("run").detail("line", 9);
        assert_eq!(error.to_string(), "file: read: x (line: 3)");
    }

    #[test]
    fn a_cause_that_is_already_in_the_text_is_not_repeated() {
        let error = Error::data("broken: disk on fire").source(std::io::Error::other("disk on fire"));
        assert_eq!(error.to_string(), "broken: disk on fire");
    }

    #[test]
    fn only_unavailable_and_rate_limited_are_transient_by_themselves() {
        assert!(Error::unavailable("x").is_retryable());
        assert!(Error::new(ErrorKind::RateLimited, "x").is_retryable());
        assert!(!Error::data("x").is_retryable());
        assert!(!Error::unavailable("x").retry(Retry::Exhausted).is_retryable());
    }

    #[test]
    fn a_full_disk_is_not_tried_again() {
        let error = Error::from(std::io::Error::from(std::io::ErrorKind::StorageFull));
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert!(!error.is_retryable());
        assert!(error.help_text().is_some());
    }
}
