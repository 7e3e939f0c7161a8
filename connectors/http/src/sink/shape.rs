//! Requests held against the columns of the rows: which columns they need, and what they look like for a row.

use arrow::array::RecordBatch;
use arrow_schema::{Schema, SchemaRef};
use bytes::Bytes;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use towpath_core::{Context, Error, Json, Result};
use url::Url;

use super::rows;
use super::target::Target;
use crate::config::{BodyFormat, BodyTemplate, SinkBody, Values};
use crate::request::{Tree, header_name};
use crate::template::{Template, Value};

/// The requests for rows of certain columns.
pub(super) struct Shape {
    schema: SchemaRef,
    /// Columns whose values are filled in.
    used: Vec<usize>,
    /// Columns of the rows in the body; `None` for all.
    body_columns: Option<Vec<usize>>,
    /// Those whose rows keep their order.
    pub(super) order: Vec<usize>,
    url: Option<UrlShape>,
    headers: Vec<(HeaderName, Template)>,
    key: Option<Template>,
    body: BodyShape,
}

struct UrlShape {
    whole: Template,
    /// The part before the query.
    path: Template,
    query: Vec<(String, Template)>,
}

enum BodyShape {
    None,
    Json(Option<Tree>),
    /// A document around the array of many rows, its only value.
    Around(Tree),
    Ndjson(Option<Vec<Tree>>),
    Form(Vec<(String, Template)>),
}

/// Why a row cannot be sent.
#[derive(Debug)]
pub(super) struct Unfit {
    pub(super) reason: String,
    pub(super) column: Option<(String, String)>,
}

/// What a row makes of a request.
pub(super) struct Filled {
    pub(super) url: Url,
    /// Headers for the host of the connection only.
    pub(super) private: HeaderMap,
    /// What stands in the header for idempotency, if it is the row that says it.
    pub(super) key: Option<HeaderValue>,
    pub(super) body: Option<Bytes>,
}

/// Rows as texts: each in the form that its request needs.
pub(super) struct Texts {
    /// The object of each row; empty where no body holds any.
    objects: Vec<Bytes>,
    /// The values of columns that are filled in.
    values: Vec<Option<Vec<Bytes>>>,
}

type Names = Vec<(String, Values)>;

impl Shape {
    /// Holds the options against the columns.
    ///
    /// # Errors
    /// `Config` when they name a column that is not there.
    pub(super) fn new(target: &Target, schema: &SchemaRef) -> Result<Self> {
        let columns: Names =
            schema.fields().iter().map(|field| (field.name().clone(), Values::List(Vec::new()))).collect();
        let strict = |text: &str| {
            Template::parse_or(text, &columns, |name| no_column(&format!("`{text}` names `{name}`"), schema))
        };
        let mut url = None;
        if target.is_single() {
            let path = target.url_template.split('?').next().unwrap_or_default();
            let query = target.query.iter().map(|(name, value)| Ok((name.clone(), strict(value)?)));
            let query = query.collect::<Result<Vec<_>>>()?;
            url = Some(UrlShape { whole: strict(&target.url_template)?, path: strict(path)?, query });
        }
        let mut headers = Vec::new();
        for (name, value) in &target.headers {
            let template = Template::loose(value.expose(), &columns);
            if template.params().next().is_none() {
                // Its text is a secret.
                return Err(no_column(&format!("the header `{name}` names a column"), schema));
            }
            headers.push((header_name(name.as_str())?, template));
        }
        let order = target.keep_order_of.iter().map(|name| {
            schema.index_of(name).map_err(|_| no_column(&format!("`keep_order_of` names `{name}`"), schema))
        });
        let order = order.collect::<Result<Vec<_>>>()?;
        let url_columns: Vec<usize> = url.iter().flat_map(UrlShape::params).collect();
        let all = 0..schema.fields().len();
        let body_columns =
            target.omit_url_columns.then(|| all.filter(|c| !url_columns.contains(c)).collect());
        let body = BodyShape::new(target, &columns, schema, body_columns.as_deref())?;
        let key = target.idempotency_key.as_deref().map(strict).transpose()?;
        let mut used = url_columns;
        used.extend(headers.iter().flat_map(|(_, template)| template.params()));
        used.extend(key.iter().flat_map(Template::params));
        used.extend(&order);
        body.params(&mut used);
        used.retain(|index| *index < columns.len());
        used.sort_unstable();
        used.dedup();
        Ok(Self { schema: schema.clone(), used, body_columns, order, url, headers, key, body })
    }

    pub(super) fn content_type(&self) -> Option<&'static str> {
        match &self.body {
            BodyShape::None => None,
            BodyShape::Json(_) | BodyShape::Around(_) => Some("application/json"),
            BodyShape::Ndjson(_) => Some("application/x-ndjson"),
            BodyShape::Form(_) => Some("application/x-www-form-urlencoded"),
        }
    }

    /// The texts of these rows.
    pub(super) async fn texts(&self, cx: &Context, rows: &RecordBatch) -> Result<Texts> {
        let holds_rows = !matches!(self.body, BodyShape::None | BodyShape::Form(_));
        let objects = match &self.body_columns {
            _ if !holds_rows => Vec::new(),
            None => rows::objects(cx, rows.clone()).await?,
            Some(columns) => rows::objects(cx, rows.project(columns)?).await?,
        };
        let mut values = vec![None; self.schema.fields().len()];
        for column in &self.used {
            values[*column] = Some(rows::values(cx, rows, *column).await?);
        }
        Ok(Texts { objects, values })
    }

    /// The body for several rows.
    pub(super) fn body_of(&self, texts: &Texts, range: std::ops::Range<usize>) -> Bytes {
        let objects = &texts.objects[range.clone()];
        let length: usize = objects.iter().map(|object| object.len() + 1).sum();
        let mut body = Vec::with_capacity(length + 1);
        match &self.body {
            BodyShape::Ndjson(None) => {
                for object in objects {
                    body.extend_from_slice(object);
                    body.push(b'\n');
                }
            }
            BodyShape::Ndjson(Some(lines)) => {
                for row in range {
                    write_lines(lines, &texts.row(row), &mut body);
                }
            }
            BodyShape::Around(tree) => {
                write_array(objects, &mut body);
                let text = String::from_utf8(body).expect("JSON is written as UTF-8");
                body = Vec::with_capacity(length + 64);
                write_tree(tree, &[Value { text, bare: true, ..Value::default() }], &mut body);
            }
            BodyShape::Json(_) => write_array(objects, &mut body),
            // Options for single rows.
            BodyShape::None | BodyShape::Form(_) => {}
        }
        body.into()
    }

    /// The request for one row.
    ///
    /// # Errors
    /// Why the row makes none.
    pub(super) fn fill(&self, texts: &Texts, row: usize) -> Result<Filled, Unfit> {
        let values = texts.row(row);
        let url = match &self.url {
            Some(shape) => self.url(shape, &values)?,
            None => return Err(Unfit { reason: "it has no URL".to_owned(), column: None }),
        };
        let mut private = HeaderMap::new();
        for (name, template) in &self.headers {
            if template.params().any(|column| is_null(&values[column])) {
                continue;
            }
            let mut value = header_value(&template.fill(&values, false), name.as_str())?;
            value.set_sensitive(true);
            private.insert(name.clone(), value);
        }
        let key = match &self.key {
            None => None,
            Some(template) => {
                self.need(template, &values, "`idempotency_key`")?;
                Some(header_value(&template.fill(&values, false), "idempotency_key")?)
            }
        };
        let body = match &self.body {
            BodyShape::None => None,
            BodyShape::Json(None) | BodyShape::Around(_) => Some(texts.objects[row].clone()),
            BodyShape::Json(Some(tree)) => {
                let mut body = Vec::new();
                write_tree(tree, &values, &mut body);
                Some(body.into())
            }
            BodyShape::Ndjson(None) => Some([&texts.objects[row][..], b"\n"].concat().into()),
            BodyShape::Ndjson(Some(lines)) => {
                let mut body = Vec::new();
                write_lines(lines, &values, &mut body);
                Some(body.into())
            }
            BodyShape::Form(fields) => {
                let mut form = url::form_urlencoded::Serializer::new(String::new());
                for (name, template) in fields {
                    if !template.params().any(|column| is_null(&values[column])) {
                        form.append_pair(name, &template.fill(&values, false));
                    }
                }
                Some(form.finish().into())
            }
        };
        Ok(Filled { url, private, key, body })
    }

    /// What two rows have in common whose order counts.
    pub(super) fn order_of(&self, texts: &Texts, row: usize) -> Vec<Bytes> {
        self.order.iter().filter_map(|column| Some(texts.values[*column].as_ref()?[row].clone())).collect()
    }

    fn url(&self, shape: &UrlShape, values: &[Value]) -> Result<Url, Unfit> {
        self.need(&shape.whole, values, "the URL")?;
        if let Some(column) = shape.path.params().find(|column| values[*column].text.is_empty()) {
            // The URL of one would become that of all.
            return Err(self.unfit(column, values, "is empty, and stands in the path"));
        }
        let path = shape.path.fill(values, true);
        let climbs = |segment: &str| matches!(segment, "." | "..");
        if let (Some(column), true) = (shape.path.params().next(), path.split('/').any(climbs)) {
            return Err(self.unfit(column, values, "would lead to another path"));
        }
        let mut url = Url::parse(&shape.whole.fill(values, true))
            .map_err(|error| Unfit { reason: format!("it makes no URL: {error}"), column: None })?;
        for (name, template) in &shape.query {
            if !template.params().any(|column| is_null(&values[column])) {
                url.query_pairs_mut().append_pair(name, &template.fill(values, false));
            }
        }
        Ok(url)
    }

    /// Refuses a row that has no value for something.
    fn need(&self, template: &Template, values: &[Value], place: &str) -> Result<(), Unfit> {
        match template.params().find(|column| is_null(&values[*column])) {
            Some(column) => Err(self.unfit(column, values, &format!("is null, and {place} needs it"))),
            None => Ok(()),
        }
    }

    fn unfit(&self, column: usize, values: &[Value], what: &str) -> Unfit {
        let name = self.schema.field(column).name().clone();
        let reason = format!("`{name}` {what}");
        Unfit { reason, column: Some((name, values[column].text.clone())) }
    }
}

impl UrlShape {
    fn params(&self) -> impl Iterator<Item = usize> {
        self.whole.params().chain(self.query.iter().flat_map(|(_, template)| template.params()))
    }
}

impl BodyShape {
    fn new(
        target: &Target,
        columns: &Names,
        schema: &Schema,
        body_columns: Option<&[usize]>,
    ) -> Result<Self> {
        let mut row = columns.clone();
        row.push(("row".to_owned(), Values::List(Vec::new())));
        Ok(match &target.body {
            SinkBody::Format(BodyFormat::None) => Self::None,
            SinkBody::Format(BodyFormat::Json) => Self::Json(None),
            SinkBody::Format(BodyFormat::Ndjson) => Self::Ndjson(None),
            SinkBody::Format(BodyFormat::Form) => {
                let is_in = |column: &usize| body_columns.is_none_or(|columns| columns.contains(column));
                let fields = (0..columns.len()).filter(is_in);
                Self::Form(
                    fields.map(|column| (columns[column].0.clone(), Template::whole(column))).collect(),
                )
            }
            SinkBody::Template(BodyTemplate::Json(json)) if target.is_single() => {
                Self::Json(Some(Tree::new(json, &row)))
            }
            SinkBody::Template(BodyTemplate::Json(json)) => {
                let tree = Tree::new(json, &[("rows".to_owned(), Values::List(Vec::new()))]);
                let mut found = Vec::new();
                tree.params(&mut found);
                if found.is_empty() {
                    return Err(Error::config("`body.json` has no place for the rows")
                        .help("write \"{rows}\" where the array of rows goes, or set `rows: single`"));
                }
                Self::Around(tree)
            }
            SinkBody::Template(BodyTemplate::Ndjson(lines)) => {
                Self::Ndjson(Some(lines.iter().map(|line| Tree::new(line, &row)).collect()))
            }
            SinkBody::Template(BodyTemplate::Form(fields)) => {
                let fields = fields.iter().map(|(name, text)| {
                    let unknown =
                        |column: &str| no_column(&format!("`body.form.{name}` names `{column}`"), schema);
                    Ok((name.clone(), Template::parse_or(text, columns, unknown)?))
                });
                Self::Form(fields.collect::<Result<_>>()?)
            }
        })
    }

    fn params(&self, found: &mut Vec<usize>) {
        match self {
            Self::None | Self::Json(None) | Self::Around(_) | Self::Ndjson(None) => {}
            Self::Json(Some(tree)) => tree.params(found),
            Self::Ndjson(Some(lines)) => lines.iter().for_each(|line| line.params(found)),
            Self::Form(fields) => found.extend(fields.iter().flat_map(|(_, template)| template.params())),
        }
    }
}

impl Texts {
    /// The length of a row in the body.
    pub(super) fn length(&self, row: usize) -> usize {
        self.objects.get(row).map_or(0, Bytes::len)
    }

    /// The values of a row by column, and behind them the row itself.
    fn row(&self, row: usize) -> Vec<Value> {
        let columns = self.values.iter().map(|texts| texts.as_ref().map(|texts| &texts[row]));
        let object = self.objects.get(row);
        columns.chain([object]).map(|json| json.map_or_else(Value::default, |json| value(json))).collect()
    }
}

/// A value as templates take it. A text loses its quotes; everything else stands as JSON has it.
fn value(json: &[u8]) -> Value {
    let text = String::from_utf8_lossy(json);
    match serde_json::from_slice::<Json>(json) {
        Ok(Json::String(text)) => Value { text, bare: false, ..Value::default() },
        _ => Value { text: text.into_owned(), bare: true, ..Value::default() },
    }
}

fn is_null(value: &Value) -> bool {
    value.bare && value.text == "null"
}

fn header_value(text: &str, name: &str) -> Result<HeaderValue, Unfit> {
    HeaderValue::from_bytes(text.as_bytes()).map_err(|_| Unfit {
        reason: format!("its values for `{name}` hold characters that no header can"),
        column: None,
    })
}

fn write_array(objects: &[Bytes], out: &mut Vec<u8>) {
    out.push(b'[');
    for (index, object) in objects.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        out.extend_from_slice(object);
    }
    out.push(b']');
}

fn write_lines(lines: &[Tree], values: &[Value], out: &mut Vec<u8>) {
    for line in lines {
        write_tree(line, values, out);
        out.push(b'\n');
    }
}

/// Writes a document with its values filled in.
fn write_tree(tree: &Tree, values: &[Value], out: &mut Vec<u8>) {
    match tree {
        Tree::Plain(json) => out.extend_from_slice(json.to_string().as_bytes()),
        Tree::Text(template) => template.write_json(values, out),
        Tree::Array(items) => {
            out.push(b'[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                write_tree(item, values, out);
            }
            out.push(b']');
        }
        Tree::Object(fields) => {
            out.push(b'{');
            for (index, (name, value)) in fields.iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                out.extend_from_slice(Json::String(name.clone()).to_string().as_bytes());
                out.push(b':');
                write_tree(value, values, out);
            }
            out.push(b'}');
        }
    }
}

fn no_column(what: &str, schema: &Schema) -> Error {
    let known: Vec<_> = schema.fields().iter().map(|field| format!("`{}`", field.name())).collect();
    Error::config(format!("{what}, which the rows do not have"))
        .help(format!("their columns are {}", known.join(", ")))
}
