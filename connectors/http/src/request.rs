//! What a request carries besides its URL: method, headers and body, with places for parameters and for the next page.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use reqwest::Method;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use serde_json::{Map, json};
use towpath_core::{Error, Json, Result};
use url::Url;

use crate::config::{MultipartField, ReadMethod, RequestBody, SourceConfig, Values};
use crate::job::{JobOutline, SplitJob};
use crate::multipart::{self, Field};
use crate::query;
use crate::template::{Template, Value};

/// Shorter words of headers with parameters are no secrets, but `Bearer` and the like.
const SHORTEST_SECRET: usize = 8;

/// The requests of a stream, before parameters are filled in.
#[derive(Clone)]
pub(crate) struct Outline {
    method: Method,
    headers: Vec<(HeaderName, Template)>,
    body: Option<BodyOutline>,
    job: Option<Arc<JobOutline>>,
}

/// A body, before parameters are filled in.
#[derive(Clone)]
pub(crate) enum BodyOutline {
    Json(Tree),
    Form(Vec<(String, Template)>),
    /// Fields with their contents.
    Multipart(Vec<(Field, Template)>),
    Graphql {
        query: String,
        operation: Option<String>,
        variables: Tree,
    },
}

/// A JSON value whose texts are templates.
#[derive(Clone)]
pub(crate) enum Tree {
    Plain(Json),
    Text(Template),
    Array(Vec<Tree>),
    Object(Vec<(String, Tree)>),
}

/// A request that is ready but for its credentials.
#[derive(Clone)]
pub(crate) struct Wanted {
    pub(crate) method: Method,
    pub(crate) url: Url,
    /// Headers for the host of the connection only.
    pub(crate) headers: HeaderMap,
    pub(crate) body: Option<Content>,
    /// What comes of it, where the server prepares its answer.
    pub(crate) job: Option<SplitJob>,
}

/// A body, before it is bytes.
#[derive(Clone)]
pub(crate) enum Content {
    Json(Json),
    Form(Vec<(String, String)>),
    Multipart(Vec<Field>),
    /// The whole document; variables are set below `variables`.
    Graphql(Json),
}

/// Without headers and body, which may hold secrets.
impl fmt::Debug for Outline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outline").field("method", &self.method).finish_non_exhaustive()
    }
}

impl Outline {
    pub(crate) fn new(config: &SourceConfig, params: &[(String, Values)]) -> Result<Self> {
        let mut headers = Vec::new();
        for (name, value) in &config.headers {
            let template = Template::loose(value.expose(), params);
            if template.params().next().is_some() {
                headers.push((header_name(name)?, template));
            }
        }
        let body = config.body.as_ref().map(|body| BodyOutline::new(body, params));
        let method = match (config.method, &body) {
            (Some(ReadMethod::Get), Some(_)) => {
                return Err(
                    Error::config("`method: GET` has no `body`").help("remove `method`, or set it to POST")
                );
            }
            (Some(ReadMethod::Get), _) | (None, None) => Method::GET,
            (Some(ReadMethod::Post), _) | (None, Some(_)) => Method::POST,
            (Some(ReadMethod::Put), _) => Method::PUT,
        };
        let job = config.job.as_ref().map(|job| JobOutline::new(config, job, params)).transpose()?;
        Ok(Self { method, headers, body, job: job.map(Arc::new) })
    }

    /// The parameters that it uses.
    pub(crate) fn params(&self) -> Vec<usize> {
        let mut found: Vec<usize> = self.headers.iter().flat_map(|(_, template)| template.params()).collect();
        found.extend(self.body_params());
        found.extend(self.job_params());
        found
    }

    /// Whether it creates a job.
    pub(crate) fn has_job(&self) -> bool {
        self.job.is_some()
    }

    /// The parameters that its job uses.
    pub(crate) fn job_params(&self) -> Vec<usize> {
        self.job.iter().flat_map(|job| job.params()).collect()
    }

    /// The parameters that the body uses.
    pub(crate) fn body_params(&self) -> Vec<usize> {
        self.body.as_ref().map(BodyOutline::params).unwrap_or_default()
    }

    /// What must not be shown: the fixed parts of headers, word by word.
    pub(crate) fn secrets(&self) -> impl Iterator<Item = &str> {
        let words = self.headers.iter().flat_map(|(_, template)| template.literals());
        words.flat_map(str::split_ascii_whitespace).filter(|word| word.len() >= SHORTEST_SECRET)
    }

    /// The request for a URL.
    pub(crate) fn fill(&self, url: Url, values: &[Value]) -> Result<Wanted> {
        let mut headers = HeaderMap::new();
        for (name, template) in &self.headers {
            if template.params().any(|param| values[param].missing) {
                continue;
            }
            headers.insert(name.clone(), secret_value(name, &template.fill(values, false))?);
        }
        let body = self.body.as_ref().map(|body| body.fill(values));
        let job = self.job.as_ref().map(|job| SplitJob::new(job, values));
        Ok(Wanted { method: self.method.clone(), url, headers, body, job })
    }
}

/// The headers that hold a parameter, which are not the same for each request.
pub(crate) fn is_filled_in(config: &SourceConfig, header: &str) -> bool {
    let params = crate::parent::names(config);
    config
        .headers
        .get(header)
        .is_some_and(|value| Template::loose(value.expose(), &params).params().next().is_some())
}

impl BodyOutline {
    pub(crate) fn new(body: &RequestBody, params: &[(String, Values)]) -> Self {
        match body {
            RequestBody::Json(json) => Self::Json(Tree::new(json, params)),
            RequestBody::Form(form) => {
                let fields = form.iter().flat_map(|(name, values)| {
                    values.0.iter().map(|value| (name.clone(), Template::loose(value, params)))
                });
                Self::Form(fields.collect())
            }
            RequestBody::Multipart(form) => Self::Multipart(multipart_fields(form, params)),
            RequestBody::Graphql(graphql) => {
                let variables = graphql.variables.iter();
                let variables =
                    variables.map(|(name, value)| (name.clone(), Tree::new(value, params))).collect();
                Self::Graphql {
                    query: graphql.query.clone(),
                    operation: graphql.operation_name.clone(),
                    variables: Tree::Object(variables),
                }
            }
        }
    }

    /// The parameters that it uses.
    pub(crate) fn params(&self) -> Vec<usize> {
        let mut found = Vec::new();
        match self {
            Self::Json(tree) | Self::Graphql { variables: tree, .. } => tree.params(&mut found),
            Self::Form(fields) => found.extend(fields.iter().flat_map(|(_, template)| template.params())),
            Self::Multipart(fields) => {
                found.extend(fields.iter().flat_map(|(_, template)| template.params()));
            }
        }
        found
    }

    pub(crate) fn fill(&self, values: &[Value]) -> Content {
        match self {
            Self::Json(tree) => Content::Json(tree.fill(values)),
            Self::Form(fields) => {
                let fields =
                    fields.iter().map(|(name, template)| (name.clone(), template.fill(values, false)));
                Content::Form(fields.collect())
            }
            Self::Multipart(fields) => {
                let fill = |(field, template): &(Field, Template)| Field {
                    content: template.fill(values, false),
                    ..field.clone()
                };
                Content::Multipart(fields.iter().map(fill).collect())
            }
            Self::Graphql { query, operation, variables } => {
                let mut document = json!({ "query": query, "variables": variables.fill(values) });
                if let Some(operation) = operation {
                    document["operationName"] = json!(operation);
                }
                Content::Graphql(document)
            }
        }
    }
}

/// The fields of a multipart form, files behind texts as servers like it that stream them.
fn multipart_fields(
    form: &BTreeMap<String, MultipartField>,
    params: &[(String, Values)],
) -> Vec<(Field, Template)> {
    let (mut texts, mut files) = (Vec::new(), Vec::new());
    for (name, field) in form {
        match field {
            MultipartField::Text(values) => texts
                .extend(values.0.iter().map(|value| (Field::text(name, ""), Template::loose(value, params)))),
            MultipartField::File(file) => {
                let content_type = file.content_type.as_deref().unwrap_or("application/octet-stream");
                let field = Field {
                    filename: Some(file.filename.as_ref().unwrap_or(name).clone()),
                    content_type: Some(content_type.to_owned()),
                    ..Field::text(name, "")
                };
                files.push((field, Template::loose(&file.content, params)));
            }
        }
    }
    texts.append(&mut files);
    texts
}

impl Tree {
    pub(crate) fn new(json: &Json, params: &[(String, Values)]) -> Self {
        match json {
            Json::String(text) => Self::Text(Template::loose(text, params)),
            Json::Array(items) => Self::Array(items.iter().map(|item| Self::new(item, params)).collect()),
            Json::Object(fields) => {
                let fields = fields.iter().map(|(name, value)| (name.clone(), Self::new(value, params)));
                Self::Object(fields.collect())
            }
            plain => Self::Plain(plain.clone()),
        }
    }

    pub(crate) fn params(&self, found: &mut Vec<usize>) {
        match self {
            Self::Plain(_) => {}
            Self::Text(template) => found.extend(template.params()),
            Self::Array(items) => items.iter().for_each(|item| item.params(found)),
            Self::Object(fields) => fields.iter().for_each(|(_, value)| value.params(found)),
        }
    }

    fn fill(&self, values: &[Value]) -> Json {
        match self {
            Self::Plain(json) => json.clone(),
            Self::Text(template) => template.fill_json(values),
            Self::Array(items) => items.iter().map(|item| item.fill(values)).collect(),
            Self::Object(fields) => {
                let fields = fields.iter().map(|(name, value)| (name.clone(), value.fill(values)));
                Json::Object(fields.collect())
            }
        }
    }
}

impl Content {
    pub(crate) fn content_type(&self) -> Cow<'static, str> {
        match self {
            Self::Json(_) | Self::Graphql(_) => "application/json".into(),
            Self::Form(_) => "application/x-www-form-urlencoded".into(),
            Self::Multipart(fields) => multipart::content_type(fields).into(),
        }
    }

    pub(crate) fn bytes(&self) -> Bytes {
        match self {
            Self::Json(json) | Self::Graphql(json) => json.to_string().into(),
            Self::Form(fields) => {
                url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish().into()
            }
            Self::Multipart(fields) => multipart::bytes(fields),
        }
    }
}

impl Wanted {
    /// Sets a query parameter.
    pub(crate) fn set_query(&mut self, name: &str, value: &str) {
        query::set(&mut self.url, name, value);
    }

    /// Sets a header.
    ///
    /// # Errors
    /// `DataInvalid` when the value cannot be one.
    pub(crate) fn set_header(&mut self, name: &str, value: &str) -> Result<()> {
        let value = HeaderValue::from_str(value).map_err(|_| {
            Error::data(format!("the next page's cursor cannot stand in the header `{name}`"))
        })?;
        self.headers.insert(header_name(name)?, value);
        Ok(())
    }

    /// Sets a field of the body: a path of names in JSON, a field of a form, a variable of GraphQL.
    ///
    /// # Errors
    /// `Config` when something that is no object stands in the way.
    pub(crate) fn set_body(&mut self, path: &str, value: Json) -> Result<()> {
        let body = self.body.get_or_insert_with(|| Content::Json(Json::Object(Map::new())));
        let names = path.strip_prefix("$.").unwrap_or(path).split('.');
        let text = |value: &Json| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        match body {
            Content::Form(fields) => {
                fields.retain(|(name, _)| name != path);
                fields.push((path.to_owned(), text(&value)));
                Ok(())
            }
            Content::Multipart(fields) => {
                fields.retain(|field| field.name != path);
                fields.insert(0, Field::text(path, text(&value)));
                Ok(())
            }
            Content::Json(json) => set(json, names, value, path),
            Content::Graphql(json) => set(&mut json["variables"], names, value, path),
        }
    }

    /// The headers that say what the body is.
    pub(crate) fn describe_body(&self, headers: &mut HeaderMap) {
        let content_type = self.body.as_ref().map(Content::content_type);
        if let Some(value) = content_type.and_then(|text| HeaderValue::from_str(&text).ok()) {
            headers.insert(CONTENT_TYPE, value);
        }
    }
}

fn set<'a>(mut at: &mut Json, names: impl Iterator<Item = &'a str>, value: Json, path: &str) -> Result<()> {
    for name in names {
        if at.is_null() {
            *at = Json::Object(Map::new());
        }
        let Json::Object(fields) = at else {
            return Err(Error::config(format!(
                "`body` has no place for `{path}`: something stands in its way"
            ))
            .help("check `param` in `pagination` against `body`"));
        };
        at = fields.entry(name).or_insert(Json::Null);
    }
    *at = value;
    Ok(())
}

pub(crate) fn header_name(name: &str) -> Result<HeaderName> {
    name.parse().map_err(|_| Error::config(format!("`{name}` is no name of a header")))
}

fn secret_value(name: &HeaderName, text: &str) -> Result<HeaderValue> {
    let mut value = HeaderValue::from_str(text).map_err(|_| {
        Error::config(format!("the value of the header `{name}` holds characters that no header can"))
    })?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn wanted(body: Option<Content>) -> Wanted {
        let url = Url::parse("http://a/").unwrap();
        Wanted { method: Method::POST, url, headers: HeaderMap::new(), body, job: None }
    }

    #[test]
    fn a_field_is_set_wherever_it_stands() {
        let mut request = wanted(Some(Content::Json(json!({"a": {"b": 1, "c": 2}}))));
        request.set_body("$.a.b", json!("x")).unwrap();
        request.set_body("d.e", json!(5)).unwrap();
        assert_eq!(
            request.body.as_ref().unwrap().bytes(),
            json!({"a": {"b": "x", "c": 2}, "d": {"e": 5}}).to_string()
        );
        let error = request.set_body("d.e.f", json!(1)).unwrap_err();
        assert!(error.message().contains("no place for `d.e.f`"), "{error}");
        let mut request = wanted(Some(Content::Form(vec![("a".to_owned(), "1".to_owned())])));
        request.set_body("a", json!(2)).unwrap();
        request.set_body("b", json!("x y")).unwrap();
        assert_eq!(request.body.unwrap().bytes(), "a=2&b=x+y");
    }
}
