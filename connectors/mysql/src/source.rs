//! Reading.

use schemars::JsonSchema;
use serde::Deserialize;
use towpath_core::{
    BatchStream, Context, Dataset, Error, Position, Result, Resume, ScanPlan, ScanRequest, Source,
    SourceCapabilities, Split,
};

use crate::NAME;

/// The options of the source.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SourceConfig {
    /// Where the system is.
    pub url: String,
}

/// The reading side. The traits of `towpath_core` say what each method must promise.
#[derive(Debug)]
pub struct MysqlSource {
    config: SourceConfig,
}

impl MysqlSource {
    fn unsupported(&self, operation: &'static str) -> Error {
        let error =
            Error::unsupported("the source does not do this yet").connector(NAME).operation(operation);
        error.detail("url", &self.config.url)
    }
}

impl Source for MysqlSource {
    type Config = SourceConfig;

    async fn open(config: SourceConfig, _cx: &Context) -> Result<Self> {
        Ok(Self { config })
    }

    fn capabilities(&self) -> SourceCapabilities {
        SourceCapabilities { resume: Resume::Exact, ordered: false, bounded: true }
    }

    async fn check(&self, _cx: &Context) -> Result<()> {
        Err(self.unsupported("check"))
    }

    async fn discover(&self, _cx: &Context) -> Result<Vec<Dataset>> {
        Err(self.unsupported("discover"))
    }

    async fn plan(&self, _cx: &Context, _request: &ScanRequest) -> Result<ScanPlan> {
        Err(self.unsupported("plan"))
    }

    fn read(&self, _cx: &Context, _split: &Split, _from: Position) -> Result<BatchStream> {
        Err(self.unsupported("read"))
    }
}
