//! The options of requests that carry more than a URL.

use std::collections::BTreeMap;
use std::fmt;

use schemars::JsonSchema;
use serde::Deserialize;
use towpath_core::Json;

use super::values::OneOrMany;

/// The method of a reading request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum ReadMethod {
    /// GET.
    Get,
    /// POST.
    Post,
    /// PUT.
    Put,
}

/// The body of a reading request. Its texts may hold `{name}`, filled in from `params`; braces around anything else stand
/// for themselves. A text that is nothing but `{name}` becomes a number in JSON where the parameter is one.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RequestBody {
    /// A JSON document.
    Json(Json),
    /// A form: names with a value, or with a list for a name that is repeated.
    Form(BTreeMap<String, OneOrMany>),
    /// A GraphQL query. Errors in its answer are errors, whatever the status.
    Graphql(Graphql),
}

/// Without what it holds: some APIs want their keys in it.
impl fmt::Debug for RequestBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Json(_) => "Json(***)",
            Self::Form(_) => "Form(***)",
            Self::Graphql(_) => "Graphql(***)",
        })
    }
}

/// A GraphQL query.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Graphql {
    /// The query; nothing is filled into it.
    pub query: String,
    /// Its variables. Their texts may hold `{name}`.
    #[serde(default)]
    pub variables: BTreeMap<String, Json>,
    /// Which of several operations of the query is meant.
    #[serde(default)]
    pub operation_name: Option<String>,
}
