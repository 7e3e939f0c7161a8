//! Fields of a parent's row in templates: `{parent.id}`, for a stream that is read for each row of another.

use towpath_core::{Error, Json, Parent, Result};
use url::Url;

use crate::config::{MultipartField, RequestBody, Scalar, SourceConfig, Values};
use crate::template::Value;

/// What begins the name of a field.
const PREFIX: &str = "parent.";

/// The URL that stands for one that a row names, as long as there is no row.
const SOME_URL: &str = "http://parent.invalid/";

/// What templates may name: the parameters, and behind them the fields of the parent's row.
pub(crate) fn names(config: &SourceConfig) -> Vec<(String, Values)> {
    let mut names: Vec<_> =
        config.params.iter().map(|(name, values)| (name.clone(), values.clone())).collect();
    // A parameter of that name keeps it.
    if config.params.contains_key("parent") {
        return names;
    }
    let mut fields = Vec::new();
    let urls = config.url.iter().chain(&config.urls).chain(&config.path).chain(&config.paths);
    let query = config.query.values().flat_map(|values| &values.0);
    let headers = config.headers.values().map(towpath_core::Secret::expose);
    let texts = urls.chain(&config.base_url).chain(query).chain(headers);
    texts.for_each(|text| find(text, &mut fields));
    let job_paths = config.job.iter().flat_map(|job| job.status.path.iter().chain(&job.result.path));
    job_paths.for_each(|text| find(text, &mut fields));
    let job_body = config.job.as_ref().and_then(|job| job.status.body.as_ref());
    config.body.iter().chain(job_body).for_each(|body| find_in_body(body, &mut fields));
    let nothing = || Values::List(vec![Scalar { text: String::new(), bare: false }]);
    names.extend(fields.into_iter().map(|name| (name, nothing())));
    names
}

fn find_in_body(body: &RequestBody, fields: &mut Vec<String>) {
    match body {
        RequestBody::Json(json) => find_in(json, fields),
        RequestBody::Form(form) => {
            form.values().flat_map(|values| &values.0).for_each(|text| find(text, fields));
        }
        RequestBody::Multipart(form) => {
            form.values().flat_map(MultipartField::texts).for_each(|text| find(text, fields));
        }
        RequestBody::Graphql(graphql) => {
            graphql.variables.values().for_each(|json| find_in(json, fields));
        }
    }
}

fn find_in(json: &Json, fields: &mut Vec<String>) {
    match json {
        Json::String(text) => find(text, fields),
        Json::Array(items) => items.iter().for_each(|item| find_in(item, fields)),
        Json::Object(object) => object.values().for_each(|value| find_in(value, fields)),
        _ => {}
    }
}

fn find(text: &str, fields: &mut Vec<String>) {
    for (at, _) in text.match_indices(PREFIX).filter(|(at, _)| text[..*at].ends_with(['{', '+'])) {
        let Some((name, _)) = text[at..].split_once('}') else { continue };
        if name.len() > PREFIX.len()
            && !name.contains(['{', ' '])
            && !fields.iter().any(|known| known == name)
        {
            fields.push(name.to_owned());
        }
    }
}

/// The field of a name in a template.
pub(crate) fn field(name: &str) -> &str {
    name.strip_prefix(PREFIX).unwrap_or(name)
}

/// What stands for the fields as long as there is no row: something that can stand everywhere.
pub(crate) fn placeholder() -> Value {
    Value { text: "0".to_owned(), bare: true, ..Value::default() }
}

/// What stands for a value that would be harmless, with as many parts of a path.
pub(crate) fn harmless(value: &Value) -> Value {
    let parts: Vec<_> = value.text.split('/').map(|_| placeholder().text).collect();
    Value { text: parts.join("/"), ..placeholder() }
}

/// The values of these names in a row.
///
/// # Errors
/// `DataInvalid` for a value that cannot be filled in.
pub(crate) fn values(names: &[(String, Values)], row: &Parent) -> Result<Vec<Value>> {
    let value = |name: &str| {
        let (text, bare) = match row.get(field(name)) {
            None => return Err(Error::data(format!("the row has no `{}`", field(name)))),
            Some(Json::String(text)) => (text.clone(), false),
            Some(Json::Bool(value)) => (value.to_string(), true),
            Some(Json::Number(number)) => (whole(number).unwrap_or_else(|| number.to_string()), true),
            Some(_) => {
                let text =
                    format!("`{}` is no single value, and cannot be filled in for `{{{name}}}`", field(name));
                return Err(Error::data(text).help("name a field in it, such as `{parent.owner.id}`"));
            }
        };
        Ok(Value { text, bare, ..Value::default() })
    };
    names.iter().map(|(name, _)| value(name)).collect()
}

/// A whole number that came as another, as a column becomes in which there are both.
fn whole(number: &serde_json::Number) -> Option<String> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    let float = number.as_f64().filter(|_| number.is_f64())?;
    (float.fract() == 0.0 && float.abs() <= EXACT).then(|| format!("{float:.0}"))
}

/// The URL that a row names as a whole.
///
/// # Errors
/// `DataInvalid` when it is none.
pub(crate) fn whole_url(row: Option<&Value>) -> Result<Url> {
    let text = row.map_or(SOME_URL, |value| value.text.as_str());
    let url = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    url.ok_or_else(|| Error::data(format!("`{text}` is no http or https URL")))
}

/// Sees to it that values have stayed in their places: `plain` is the URL with values that are harmless.
///
/// # Errors
/// `DataInvalid` when a value is `..` or the like, which would lead elsewhere.
pub(crate) fn stays_in_place(url: &Url, plain: &Url) -> Result<()> {
    let segments = |url: &Url| url.path_segments().map_or(0, Iterator::count);
    if segments(url) == segments(plain) {
        return Ok(());
    }
    Err(Error::data("a value of the parent's row cannot stand in a path: it would lead to another one")
        .detail("leads to", url.path()))
}

/// What only the pipeline may decide: to which host credentials go.
///
/// # Errors
/// `Config` when the rows of another stream would.
pub(crate) fn keeps_credentials(config: &SourceConfig, rows_name_the_host: bool) -> Result<()> {
    let has_credentials =
        config.auth.is_some() || !config.headers.is_empty() || config.client_certificate.is_some();
    if rows_name_the_host && has_credentials && config.base_url.is_none() {
        return Err(Error::config(
            "rows of another stream would decide which host gets credentials and headers",
        )
        .help("set `base_url`: they go to its host only, and other hosts are asked without them"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::source_config;
    use serde_json::json;

    #[test]
    fn fields_are_found_wherever_they_stand() {
        let config = source_config(json!({
            "base_url": "https://a", "path": "/x/{parent.id}/{n}", "query": {"q": ["{parent.a.b}", "{parent.id}"]},
            "headers": {"x-h": "{parent.h}"}, "params": {"n": 1},
            "body": {"graphql": {"query": "{ parent.no }", "variables": {"v": {"w": ["{parent.v}"]}}}},
        }));
        let names: Vec<_> = names(&config).into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["n", "parent.id", "parent.a.b", "parent.h", "parent.v"]);
    }

    #[test]
    fn a_parameter_called_parent_keeps_its_name() {
        let config = source_config(json!({
            "url": "https://a/{parent.start}", "params": {"parent": {"start": "2024-01-01", "step": "1d"}},
        }));
        assert_eq!(names(&config).len(), 1);
    }

    #[test]
    fn whole_numbers_are_written_without_a_fraction() {
        let names = [("parent.id".to_owned(), Values::List(Vec::new()))];
        let text = |value: Json| {
            let row = Parent([("id".to_owned(), value)].into_iter().collect());
            values(&names, &row).map(|values| values[0].text.clone())
        };
        assert_eq!(text(json!(42.0)).unwrap(), "42");
        assert_eq!(text(json!(4.5)).unwrap(), "4.5");
        assert_eq!(text(json!(9_007_199_254_740_993_i64)).unwrap(), "9007199254740993");
        assert!(text(json!([1])).unwrap_err().to_string().contains("`id` is no single value"));
    }
}
