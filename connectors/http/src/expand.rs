//! From templates and parameters to the URLs of a stream, each at its index, none of them held in memory.

use serde::{Deserialize, Serialize};
use towpath_core::{Error, Json, Parent, Result};
use url::Url;

use crate::config::{Combine, SourceConfig, Values};
use crate::parent;
use crate::request::{Outline, Wanted};
use crate::template::{Template, Value};

/// All URLs of a stream.
#[derive(Debug, Clone)]
pub(crate) struct Targets {
    /// The parameters, and behind them what is named of a parent's row.
    params: Vec<(String, Values)>,
    /// The values of a parent's row, as many as are named.
    row: Vec<Value>,
    /// Whether they are those of a row.
    has_row: bool,
    combine: Combine,
    templates: Vec<Target>,
    query: Vec<(String, Template)>,
    outline: Outline,
    total: u64,
}

/// What the windows of a run depend on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Moment {
    /// When it began, in microseconds.
    pub(crate) now: i64,
    /// The cursor's last value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) after: Option<Json>,
}

/// A template, and how many URLs it makes.
#[derive(Debug, Clone)]
struct Target {
    url: Template,
    /// The parameters that it, the query, headers or body use.
    used: Vec<usize>,
    /// Those of them that the URL does not show.
    unseen: Vec<usize>,
    /// What it names of a parent's row.
    of_row: Vec<usize>,
    count: u64,
}

impl Targets {
    /// Reads the templates and holds them against the parameters.
    pub(crate) fn new(config: &SourceConfig) -> Result<Self> {
        let params = parent::names(config);
        let own = config.params.len();
        if let Some((name, _)) = params.iter().find(|(_, values)| values.is_empty()) {
            return Err(Error::config(format!("`params.{name}` has no values")));
        }
        let mut query = Vec::new();
        for (name, values) in &config.query {
            for value in &values.0 {
                query.push((name.clone(), Template::parse(value, &params)?));
            }
        }
        let outline = Outline::new(config, &params)?;
        refuse_missing(&params, outline.body_params(), "the body")?;
        refuse_missing(&params, outline.job_params(), "the job")?;
        let outlined = outline.params();
        let in_query: Vec<usize> = query.iter().flat_map(|(_, template)| template.params()).collect();
        let mut targets = Vec::new();
        for text in urls(config)? {
            let url = Template::parse(&text, &params)?;
            refuse_missing(&params, url.params(), &format!("`{text}`"))?;
            let mut used: Vec<usize> = url.params().chain(in_query.iter().copied()).collect();
            let of_row = used.iter().chain(&outlined).copied().filter(|param| *param >= own).collect();
            used.retain(|param| *param < own);
            let is_unseen = |param: &usize| *param < own && !used.contains(param);
            let mut unseen: Vec<usize> = outlined.iter().copied().filter(is_unseen).collect();
            unseen.sort_unstable();
            unseen.dedup();
            used.extend(&unseen);
            used.sort_unstable();
            used.dedup();
            let count = count(&params, &used, config.combine)?;
            targets.push(Target { url, used, unseen, of_row, count });
        }
        let is_used = |index: usize| targets.iter().any(|target| target.used.contains(&index));
        if let Some(unused) = (0..own).find(|index| !is_used(*index)) {
            let name = &params[unused].0;
            return Err(Error::config(format!("`params.{name}` is used nowhere")).help(format!(
                "write {{{name}}} into the URL, path, query, a header or the body, or remove it"
            )));
        }
        let total = total(&targets)?;
        let row = vec![parent::placeholder(); params.len() - own];
        let combine = config.combine;
        let expanded =
            Self { params, row, has_row: false, combine, templates: targets, query, outline, total };
        parent::keeps_credentials(config, expanded.rows_name_the_host()?)?;
        // The first of each template shows whether they are URLs at all.
        let mut first = 0;
        for target in &expanded.templates {
            expanded.request(first)?;
            first += target.count;
        }
        Ok(expanded)
    }

    /// Those of a run, whose windows end where it begins.
    pub(crate) fn at(&self, moment: &Moment) -> Result<Self> {
        let mut found = self.clone();
        for (name, values) in &mut found.params {
            let resolved = values.resolve(moment.now, moment.after.as_ref());
            resolved.map_err(|reason| Error::config(format!("`params.{name}`: {reason}")))?;
        }
        for target in &mut found.templates {
            target.count = count(&found.params, &target.used, found.combine)?;
        }
        found.total = total(&found.templates)?;
        Ok(found)
    }

    /// Those for a row of a parent.
    ///
    /// # Errors
    /// `DataInvalid` for a value that cannot be filled in.
    pub(crate) fn for_row(&self, row: &Parent) -> Result<Self> {
        let row = parent::values(&self.params[self.params.len() - self.row.len()..], row)?;
        Ok(Self { row, has_row: true, ..self.clone() })
    }

    /// The fields of a parent's row that requests are made of.
    pub(crate) fn parent_fields(&self) -> Vec<String> {
        let own = self.params.len() - self.row.len();
        let is_named = |param: &usize| self.templates.iter().any(|target| target.of_row.contains(param));
        let named = (own..self.params.len()).filter(is_named);
        named.map(|param| parent::field(&self.params[param].0).to_owned()).collect()
    }

    /// Whether the host of a URL depends on a parent's row.
    fn rows_name_the_host(&self) -> Result<bool> {
        let mut other = self.clone();
        other.row.fill(Value { text: "1".to_owned(), ..Value::default() });
        let mut first = 0;
        for target in &self.templates {
            let is_whole = target.url.only_param().is_some_and(|param| target.of_row.contains(&param));
            if is_whole || (!target.of_row.is_empty() && self.url(first)?.host() != other.url(first)?.host())
            {
                return Ok(true);
            }
            first += target.count;
        }
        Ok(false)
    }

    /// Whether the moment of a run makes a difference.
    pub(crate) fn are_of_the_moment(&self) -> bool {
        self.params.iter().any(|(_, values)| values.is_of_the_moment())
    }

    /// A parameter that is the cursor's last value.
    pub(crate) fn cursor_param(&self) -> Option<&str> {
        let mut params = self.params.iter();
        params.find(|(_, values)| values.is_cursor()).map(|(name, _)| name.as_str())
    }

    /// The value behind which rows are wanted, where a parameter looks back before the cursor's last value.
    pub(crate) fn reaches_back_to(&self, after: &Json) -> Option<Json> {
        let back = self.params.iter().filter_map(|(_, values)| values.reaches_back_to(after));
        back.max_by_key(|(lookback, _)| *lookback).map(|(_, value)| value)
    }

    /// Whether the server prepares what is read.
    pub(crate) fn has_job(&self) -> bool {
        self.outline.has_job()
    }

    /// Whether they are those for a row of a parent.
    pub(crate) fn has_row(&self) -> bool {
        self.has_row
    }

    /// How many URLs there are.
    pub(crate) fn len(&self) -> u64 {
        self.total
    }

    /// The URL at an index below [`len`](Self::len).
    pub(crate) fn url(&self, index: u64) -> Result<Url> {
        let (target, index) = self.target(index)?;
        self.url_of(target, &self.values(target, index))
    }

    /// The request at an index.
    pub(crate) fn request(&self, index: u64) -> Result<Wanted> {
        let (target, index) = self.target(index)?;
        let values = self.values(target, index);
        self.outline.fill(self.url_of(target, &values)?, &values)
    }

    /// The request for a URL that needs no parameters but those that it shows.
    pub(crate) fn request_of(&self, url: Url) -> Result<Wanted> {
        self.outline.fill(url, &[])
    }

    /// What must not be shown of requests.
    pub(crate) fn secrets(&self) -> impl Iterator<Item = &str> {
        self.outline.secrets()
    }

    /// Whether requests differ in more than the URL.
    pub(crate) fn fills_requests(&self) -> bool {
        !self.outline.params().is_empty()
    }

    /// The values by which requests for the same URL differ.
    pub(crate) fn label(&self, index: u64) -> Result<Option<String>> {
        let (target, index) = self.target(index)?;
        if target.unseen.is_empty() {
            return Ok(None);
        }
        let values = self.values(target, index);
        let shown = |param: &usize| format!("{}={}", self.params[*param].0, values[*param].text);
        let shown: Vec<String> = target.unseen.iter().map(shown).collect();
        Ok(Some(shown.join(", ")))
    }

    fn url_of(&self, target: &Target, values: &[Value]) -> Result<Url> {
        let whole = target.url.only_param().filter(|param| target.of_row.contains(param));
        let mut url = match whole {
            Some(param) => parent::whole_url(self.has_row.then(|| &values[param]))?,
            None => parse(&target.url.fill(values, true), self.has_row)?,
        };
        if whole.is_none() && self.has_row && !target.of_row.is_empty() {
            let own = self.params.len() - self.row.len();
            let mut plain = values[..own].to_vec();
            plain.extend(values[own..].iter().map(parent::harmless));
            parent::stays_in_place(&url, &parse(&target.url.fill(&plain, true), true)?)?;
        }
        let text = url.as_str();
        if !matches!(url.scheme(), "http" | "https") {
            return Err(Error::config(format!("`{text}` is neither an http nor an https URL")));
        }
        url.set_fragment(None);
        let sent = |template: &Template| !template.params().any(|param| values[param].missing);
        if self.query.iter().any(|(_, template)| sent(template)) {
            let mut pairs = url.query_pairs_mut();
            for (name, template) in self.query.iter().filter(|(_, template)| sent(template)) {
                pairs.append_pair(name, &template.fill(values, false));
            }
        }
        Ok(url)
    }

    fn target(&self, mut index: u64) -> Result<(&Target, u64)> {
        for target in &self.templates {
            if index < target.count {
                return Ok((target, index));
            }
            index -= target.count;
        }
        Err(Error::config("the pipeline has fewer URLs than when this run was planned")
            .help("finish the run with the old options, or `towpath state reset`"))
    }

    /// The values of all parameters for the URL at this index of a target; empty for those that it does not use.
    fn values(&self, target: &Target, mut index: u64) -> Vec<Value> {
        let mut values = vec![Value::default(); self.params.len()];
        // The last parameter changes fastest.
        for param in target.used.iter().rev() {
            let (_, all) = &self.params[*param];
            let at = match self.combine {
                Combine::Zip => index,
                Combine::Product => {
                    let at = index % all.len();
                    index /= all.len();
                    at
                }
            };
            values[*param] = Value {
                text: all.get(at).into_owned(),
                bare: all.is_bare(at),
                end: all.end(at).unwrap_or_default(),
                missing: all.is_missing(),
            };
        }
        let own = self.params.len() - self.row.len();
        values[own..].clone_from_slice(&self.row);
        values
    }
}

fn parse(text: &str, has_row: bool) -> Result<Url> {
    Url::parse(text).map_err(|error| {
        let text = format!("`{text}` is not a URL: {error}");
        if has_row {
            return Error::data(text).help("a value of the parent's row cannot stand in it");
        }
        Error::config(text).help("write it as https://host/path, or set `base_url` and use `path`")
    })
}

/// The URLs as they are written, with `base_url` before paths.
fn urls(config: &SourceConfig) -> Result<Vec<String>> {
    let given = [
        ("url", config.url.iter().collect::<Vec<_>>()),
        ("urls", config.urls.iter().collect()),
        ("path", config.path.iter().collect()),
        ("paths", config.paths.iter().collect()),
    ];
    let mut given = given.into_iter().filter(|(_, texts)| !texts.is_empty());
    let Some((option, texts)) = given.next() else {
        return Err(Error::config("nothing to read")
            .help("set `url`, `urls`, or with a `base_url` `path` or `paths`"));
    };
    if let Some((other, _)) = given.next() {
        return Err(Error::config(format!("`{option}` and `{other}` cannot both be set")));
    }
    if option.starts_with("url") {
        return Ok(texts.into_iter().cloned().collect());
    }
    let paths = texts.into_iter().map(|path| join(config.base_url.as_deref(), path));
    paths.collect()
}

/// A path behind the base URL, which keeps its own path.
pub(crate) fn join(base_url: Option<&str>, path: &str) -> Result<String> {
    let base = base_url.ok_or_else(|| {
        Error::config("`path` needs a `base_url`").help("set `base_url` on the connection, or use `url`")
    })?;
    if path.contains("://") {
        return Err(Error::config(format!("`{path}` is a URL and not a path")).help("use `url`"));
    }
    let path = path.trim_start_matches('/');
    let base = base.trim_end_matches('/');
    Ok(if path.is_empty() || path.starts_with('?') {
        format!("{base}{path}")
    } else {
        format!("{base}/{path}")
    })
}

/// A first run has to have something to fill in where nothing can be left out.
fn refuse_missing(
    params: &[(String, Values)],
    used: impl IntoIterator<Item = usize>,
    place: &str,
) -> Result<()> {
    let missing = used.into_iter().map(|param| &params[param]).find(|(_, values)| values.is_missing());
    let Some((name, _)) = missing else { return Ok(()) };
    Err(Error::config(format!("{place} needs `{name}` in a first run, when the cursor has no value yet"))
        .help(format!(
            "set `params.{name}.initial`, or use it in `query` or `headers`, where it can be left out"
        )))
}

fn total(targets: &[Target]) -> Result<u64> {
    let total = targets.iter().try_fold(0_u64, |total, target| total.checked_add(target.count));
    total.ok_or_else(too_many)
}

fn count(params: &[(String, Values)], used: &[usize], combine: Combine) -> Result<u64> {
    let mut lengths = used.iter().map(|index| (&params[*index].0, params[*index].1.len()));
    match combine {
        Combine::Product => {
            lengths.try_fold(1_u64, |total, (_, length)| total.checked_mul(length)).ok_or_else(too_many)
        }
        Combine::Zip => {
            let Some((first, length)) = lengths.next() else { return Ok(1) };
            match lengths.find(|(_, other)| *other != length) {
                None => Ok(length),
                Some((name, other)) => Err(Error::config(format!(
                    "`combine: zip` needs lists of the same length, and `params.{first}` has {length} values, \
                     `params.{name}` {other}"
                ))),
            }
        }
    }
}

fn too_many() -> Error {
    Error::config("`params` make more URLs than can be counted").help("use shorter lists and ranges")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::source_config;
    use serde_json::{Value, json};

    fn expand(options: Value) -> Vec<String> {
        let targets = Targets::new(&source_config(options)).unwrap();
        (0..targets.len()).map(|index| targets.url(index).unwrap().into()).collect()
    }

    fn refused(options: Value) -> String {
        Targets::new(&source_config(options)).unwrap_err().to_string()
    }

    #[test]
    fn parameters_make_every_combination() {
        assert_eq!(
            expand(json!({
                "url": "https://a/repos/{owner}/{page}",
                "params": {"owner": ["x", "y z"], "page": {"from": 1, "to": 2}},
            })),
            [
                "https://a/repos/x/1",
                "https://a/repos/x/2",
                "https://a/repos/y%20z/1",
                "https://a/repos/y%20z/2"
            ]
        );
    }

    #[test]
    fn zipped_parameters_go_side_by_side() {
        let options = |years: Value| json!({"url": "https://a/{owner}/{year}", "combine": "zip", "params": {"owner": ["x", "y"], "year": years}});
        assert_eq!(
            expand(options(json!({"from": 2025, "to": 2026}))),
            ["https://a/x/2025", "https://a/y/2026"]
        );
        assert_eq!(
            refused(options(json!([1]))),
            "`combine: zip` needs lists of the same length, and `params.owner` has 2 values, `params.year` 1"
        );
    }

    #[test]
    fn a_url_is_made_only_of_the_parameters_that_it_uses() {
        assert_eq!(
            expand(json!({"urls": ["https://a/{n}", "https://b/"], "params": {"n": [1, 2]}})),
            ["https://a/1", "https://a/2", "https://b/"]
        );
    }

    #[test]
    fn the_query_may_use_parameters_and_repeat() {
        assert_eq!(
            expand(json!({
                "base_url": "https://a/v2/", "path": "/x?a=b",
                "query": {"q": "from:{who}", "tag": ["1", true]}, "params": {"who": "me & you"},
            })),
            ["https://a/v2/x?a=b&q=from%3Ame+%26+you&tag=1&tag=true"]
        );
    }

    #[test]
    fn braces_are_doubled_to_mean_themselves() {
        assert_eq!(expand(json!({"url": "https://a/?q={{x}}"})), ["https://a/?q={x}"]);
        assert!(refused(json!({"url": "https://a/{x"})).starts_with("`https://a/{x` has a single `{`"));
    }

    #[test]
    fn a_wrong_parameter_is_named() {
        assert_eq!(
            refused(json!({"url": "https://a/{ownr}", "params": {"owner": "x"}})),
            "`https://a/{ownr}` names the parameter `ownr`, which `params` does not have; `params` has `owner`"
        );
        assert_eq!(
            refused(json!({"url": "https://a/", "params": {"owner": "x"}})),
            "`params.owner` is used nowhere; write {owner} into the URL, path, query, a header or the body, or remove it"
        );
        assert_eq!(refused(json!({"url": "https://a/{x}", "params": {"x": []}})), "`params.x` has no values");
    }

    #[test]
    fn what_to_read_is_said_once() {
        assert!(refused(json!({})).starts_with("nothing to read; set `url`"));
        assert_eq!(refused(json!({"url": "https://a", "path": "/x"})), "`url` and `path` cannot both be set");
        assert!(refused(json!({"path": "/x"})).starts_with("`path` needs a `base_url`"));
        assert!(refused(json!({"url": "/x"})).contains("`/x` is not a URL"));
        assert!(refused(json!({"url": "ftp://a/x"})).contains("neither an http nor an https URL"));
    }

    #[test]
    fn more_urls_than_can_be_counted_are_refused() {
        let range = json!({"from": 0, "to": i64::MAX});
        let options = json!({"url": "https://a/{x}/{y}", "params": {"x": range, "y": range}});
        assert!(refused(options).starts_with("`params` make more URLs than can be counted"));
    }
}
