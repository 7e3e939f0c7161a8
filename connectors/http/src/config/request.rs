//! The options of requests that carry more than a URL.

use std::collections::BTreeMap;
use std::fmt;

use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::{Deserializer, Error};
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
    /// A form of the kind `multipart/form-data`: names with a text, with a list for a name that is repeated, or with a file
    /// `{ content, filename, content_type }`. Files come behind texts.
    Multipart(BTreeMap<String, MultipartField>),
    /// A GraphQL query. Errors in its answer are errors, whatever the status.
    Graphql(Graphql),
}

/// Without what it holds: some APIs want their keys in it.
impl fmt::Debug for RequestBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Json(_) => "Json(***)",
            Self::Form(_) => "Form(***)",
            Self::Multipart(_) => "Multipart(***)",
            Self::Graphql(_) => "Graphql(***)",
        })
    }
}

/// A field of a multipart form.
#[derive(Clone, JsonSchema)]
#[schemars(untagged)]
pub enum MultipartField {
    /// A file.
    File(MultipartFile),
    /// A text, or several.
    Text(OneOrMany),
}

impl MultipartField {
    /// The texts in it, which may hold `{name}`.
    pub(crate) fn texts(&self) -> &[String] {
        match self {
            Self::File(file) => std::slice::from_ref(&file.content),
            Self::Text(texts) => &texts.0,
        }
    }
}

/// A file in a multipart form.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MultipartFile {
    /// What is in it. It may hold `{name}`.
    pub content: String,
    /// Its name; that of the field by default.
    #[serde(default)]
    pub filename: Option<String>,
    /// Its type; `application/octet-stream` by default.
    #[serde(default)]
    pub content_type: Option<String>,
}

impl<'de> Deserialize<'de> for MultipartField {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Json::deserialize(deserializer)?;
        if value.is_object() {
            return MultipartFile::deserialize(value).map(Self::File).map_err(D::Error::custom);
        }
        OneOrMany::deserialize(value).map(Self::Text).map_err(D::Error::custom)
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
