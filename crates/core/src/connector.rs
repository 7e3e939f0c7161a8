//! A connector as data: its name, what it can be, how its options look, how it is opened.

use std::fmt;
use std::sync::Arc;

use futures::future::BoxFuture;
use schemars::Schema;
use schemars::generate::SchemaSettings;
use serde::de::DeserializeOwned;

use crate::{Context, DynSink, DynSource, Error, Json, Result, Sink, Source};

/// A connector, described by a constant in its crate: `pub const CONNECTOR: Connector`.
///
/// The runner's one list of connectors holds these. Parser, JSON Schema, documentation and checks all read it.
///
/// ```
/// use towpath_core::Connector;
///
/// const CONNECTOR: Connector = Connector::new("nothing", "Reads and writes nothing.");
/// assert_eq!(CONNECTOR.name(), "nothing");
/// assert!(CONNECTOR.source_entry().is_none());
/// ```
#[derive(Clone, Copy)]
pub struct Connector {
    name: &'static str,
    summary: &'static str,
    schemes: &'static [&'static str],
    from_uri: Option<fn(&str) -> Result<Json>>,
    example: &'static str,
    joined: &'static [&'static str],
    source: Option<SourceEntry>,
    sink: Option<SinkEntry>,
}

/// A source or sink that is being opened.
type Opening<T> = BoxFuture<'static, Result<Arc<T>>>;

/// The source side of a connector.
#[derive(Clone, Copy)]
pub struct SourceEntry {
    /// The JSON Schema of its options.
    pub schema: fn() -> Schema,
    open: fn(Json, Context) -> Opening<dyn DynSource>,
    validate: fn(Json) -> Result<(), OptionError>,
}

/// The sink side of a connector.
#[derive(Clone, Copy)]
pub struct SinkEntry {
    /// The JSON Schema of its options.
    pub schema: fn() -> Schema,
    open: fn(Json, Context) -> Opening<dyn DynSink>,
    validate: fn(Json) -> Result<(), OptionError>,
}

/// A wrong option: where it stands (`auth.token`, `urls[2]`, empty for the top) and what is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OptionError {
    /// The path of the option.
    pub path: String,
    /// What is wrong, in serde's words.
    pub message: String,
}

impl Connector {
    /// A connector of this name, which is also its feature, its folder and its page.
    pub const fn new(name: &'static str, summary: &'static str) -> Self {
        Self {
            name,
            summary,
            schemes: &[],
            from_uri: None,
            example: "",
            joined: &[],
            source: None,
            sink: None,
        }
    }

    /// Adds the source.
    pub const fn source<S: Source>(mut self) -> Self {
        self.source = Some(SourceEntry {
            schema: schema_of::<S::Config>,
            open: |options, cx| {
                Box::pin(async move {
                    let config = parse::<S::Config>(options).map_err(OptionError::into_error)?;
                    Ok(Arc::new(S::open(config, &cx).await?) as Arc<dyn DynSource>)
                })
            },
            validate: |options| parse::<S::Config>(options).map(drop),
        });
        self
    }

    /// Adds the sink.
    pub const fn sink<S: Sink>(mut self) -> Self {
        self.sink = Some(SinkEntry {
            schema: schema_of::<S::Config>,
            open: |options, cx| {
                Box::pin(async move {
                    let config = parse::<S::Config>(options).map_err(OptionError::into_error)?;
                    Ok(Arc::new(S::open(config, &cx).await?) as Arc<dyn DynSink>)
                })
            },
            validate: |options| parse::<S::Config>(options).map(drop),
        });
        self
    }

    /// Adds the URI schemes that `towpath copy` maps to this connector, and the options that a URI stands for.
    pub const fn uri(mut self, schemes: &'static [&'static str], options: fn(&str) -> Result<Json>) -> Self {
        self.schemes = schemes;
        self.from_uri = Some(options);
        self
    }

    /// Adds an example pipeline for its page; it is parsed in the tests.
    pub const fn example(mut self, pipeline: &'static str) -> Self {
        self.example = pipeline;
        self
    }

    /// Names options that are lists of which the first fitting item counts. Set at a connection and at one of its streams, the
    /// stream's items come first and the connection's behind them; of every other option the stream's value stands instead.
    pub const fn joins(mut self, options: &'static [&'static str]) -> Self {
        self.joined = options;
        self
    }

    /// Its name.
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// What it is, in a sentence.
    pub const fn summary(&self) -> &'static str {
        self.summary
    }

    /// The URI schemes that mean this connector.
    pub const fn schemes(&self) -> &'static [&'static str] {
        self.schemes
    }

    /// An example pipeline.
    pub const fn example_pipeline(&self) -> &'static str {
        self.example
    }

    /// The options of which a stream's items stand before those of its connection.
    pub const fn joined_options(&self) -> &'static [&'static str] {
        self.joined
    }

    /// Its source side.
    pub const fn source_entry(&self) -> Option<&SourceEntry> {
        self.source.as_ref()
    }

    /// Its sink side.
    pub const fn sink_entry(&self) -> Option<&SinkEntry> {
        self.sink.as_ref()
    }

    /// The options that a URI stands for.
    ///
    /// # Errors
    /// `Config` for a URI that it cannot read; `Unsupported` if it has none.
    pub fn options_of_uri(&self, uri: &str) -> Result<Json> {
        match self.from_uri {
            Some(options) => options(uri).map_err(|error| error.connector(self.name)),
            None => Err(Error::unsupported("this connector has no URIs").connector(self.name)),
        }
    }
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connector")
            .field("name", &self.name)
            .field("source", &self.source.is_some())
            .field("sink", &self.sink.is_some())
            .finish_non_exhaustive()
    }
}

impl SourceEntry {
    /// Opens the source with these options.
    ///
    /// # Errors
    /// `Config` for wrong options, and what [`Source::open`] returns.
    pub async fn open(&self, options: Json, cx: &Context) -> Result<Arc<dyn DynSource>> {
        (self.open)(options, cx.clone()).await
    }

    /// Checks the options without opening anything.
    ///
    /// # Errors
    /// The first wrong option.
    pub fn validate(&self, options: Json) -> Result<(), OptionError> {
        (self.validate)(options)
    }
}

impl SinkEntry {
    /// Opens the sink with these options.
    ///
    /// # Errors
    /// `Config` for wrong options, and what [`Sink::open`] returns.
    pub async fn open(&self, options: Json, cx: &Context) -> Result<Arc<dyn DynSink>> {
        (self.open)(options, cx.clone()).await
    }

    /// Checks the options without opening anything.
    ///
    /// # Errors
    /// The first wrong option.
    pub fn validate(&self, options: Json) -> Result<(), OptionError> {
        (self.validate)(options)
    }
}

impl OptionError {
    fn into_error(self) -> Error {
        let error = Error::config(self.message);
        if self.path.is_empty() { error } else { error.detail("option", self.path) }
    }
}

fn schema_of<C: schemars::JsonSchema>() -> Schema {
    SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<C>()
}

fn parse<C: DeserializeOwned>(options: Json) -> Result<C, OptionError> {
    serde_path_to_error::deserialize(options).map_err(|error| {
        let path = error.path().to_string();
        OptionError {
            path: if path == "." { String::new() } else { path },
            message: error.inner().to_string(),
        }
    })
}
