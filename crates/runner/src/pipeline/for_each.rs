//! Streams that are read for each row of another: which one, and what becomes of its rows.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{Deserializer, Error, MapAccess, SeqAccess, Visitor};
use towpath_engine::{ForEachSpec, MissingParent, StreamSpec};

use super::file::PipelineFile;
use super::node::{Entry, Node, Span};
use super::problem::Problem;
use crate::nearest::nearest;

/// The parent of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ForEachPart(ForEach);

#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ForEach {
    /// The name of the stream. Its source and its transforms count; whether and where it is loaded makes no difference.
    stream: String,
    /// Fields of its rows that this stream's rows get as columns: a list of names, or names with the field that each
    /// comes from, such as `{ customer_id: id }`.
    #[serde(default)]
    include: Include,
    /// What happens with a row that cannot be used, because a field is missing, null or empty, or its value cannot stand
    /// where it is wanted.
    #[serde(default)]
    missing: MissingParent,
    /// Reads only for rows that are new since the last run, by the `cursor` of that stream or by what its source keeps in
    /// mind. By default each run reads for all rows.
    #[serde(default)]
    incremental: bool,
}

/// Columns with the fields that they come from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Include(Vec<(String, String)>);

/// Makes streams the parents of others, and leaves out those that are not loaded.
pub(super) fn link(
    file: &PipelineFile,
    entries: &[Entry],
    specs: &[StreamSpec],
    mut report: impl FnMut(Problem),
) -> Vec<StreamSpec> {
    for entry in entries {
        if let Some(problem) = file.streams.get(&entry.key).and_then(|_| problem(file, entry)) {
            report(problem);
        }
    }
    let by_name: BTreeMap<_, _> = specs.iter().map(|spec| (spec.name.as_str(), spec)).collect();
    let loaded = specs.iter().filter(|spec| file.streams.get(&spec.name).is_none_or(|stream| stream.load));
    // Where a parent is wrong, that was reported.
    loaded.filter_map(|spec| with_parent(file, &by_name, spec, specs.len())).collect()
}

/// A stream with its parent, and that one with its own. `depth` ends circles.
fn with_parent(
    file: &PipelineFile,
    specs: &BTreeMap<&str, &StreamSpec>,
    spec: &StreamSpec,
    depth: usize,
) -> Option<StreamSpec> {
    let mut spec = spec.clone();
    if let Some(ForEachPart(for_each)) =
        file.streams.get(&spec.name).and_then(|stream| stream.for_each.as_ref())
    {
        let parent = specs.get(for_each.stream.as_str())?;
        spec.for_each = Some(ForEachSpec {
            stream: Box::new(with_parent(file, specs, parent, depth.checked_sub(1)?)?),
            include: for_each.include.0.clone(),
            missing: for_each.missing,
            incremental: for_each.incremental,
        });
    }
    Some(spec)
}

/// What is wrong with a stream's parent.
fn problem(file: &PipelineFile, entry: &Entry) -> Option<Problem> {
    let (name, stream) = (&entry.key, &file.streams[&entry.key]);
    let Some(ForEachPart(for_each)) = &stream.for_each else {
        let is_parent = || parents(file).any(|parent| parent == name);
        let is_idle = !stream.load && !is_parent();
        let span = place(entry, "load");
        return is_idle.then(|| {
            Problem::new(span, format!("the stream `{name}` is neither loaded nor read for another one"))
                .help("remove `load: false`, or name the stream in another one's `for_each`")
        });
    };
    let span = place(entry, "for_each");
    let parent = &for_each.stream;
    let Some(above) = file.streams.get(parent) else {
        let near = nearest(parent, file.streams.keys().map(String::as_str)).map(str::to_owned);
        let known: Vec<_> = file.streams.keys().filter(|known| *known != name).map(String::as_str).collect();
        let problem = Problem::new(span, format!("there is no stream `{parent}`")).suggest(near);
        return Some(if known.is_empty() {
            problem
        } else {
            problem.help(format!("there are {}", known.join(", ")))
        });
    };
    if !stream.datasets.is_empty() {
        let span = place(entry, "datasets");
        return Some(Problem::new(span, "a stream with `for_each` has no `datasets`"));
    }
    if !above.datasets.is_empty() {
        let text = format!("`{parent}` stands for several streams, one for each of its `datasets`");
        return Some(Problem::new(span, text).help("name a stream of one data set"));
    }
    if let Some(circle) = circle(file, name) {
        let text = format!("`{name}` would be read for its own rows: {}", circle.join(" for each of "));
        return Some(Problem::new(span, text));
    }
    if !stream.load && !parents(file).any(|parent| parent == name) {
        let text = format!("the stream `{name}` is neither loaded nor read for another one");
        return Some(
            Problem::new(place(entry, "load"), text)
                .help("remove `load: false`, or name the stream in another one's `for_each`"),
        );
    }
    None
}

fn parents(file: &PipelineFile) -> impl Iterator<Item = &String> {
    file.streams.values().filter_map(|stream| stream.for_each.as_ref()).map(|part| &part.0.stream)
}

/// The way from a stream through its parents back to itself.
fn circle<'a>(file: &'a PipelineFile, name: &'a str) -> Option<Vec<&'a str>> {
    let mut way = vec![name];
    while way.len() <= file.streams.len() {
        let part = file.streams.get(*way.last()?)?.for_each.as_ref()?;
        way.push(&part.0.stream);
        if part.0.stream == name {
            return Some(way);
        }
    }
    None
}

/// Where an option of a stream stands; of `for_each` its `stream`.
fn place(entry: &Entry, option: &str) -> Span {
    let node = entry.value.get(option);
    let inner = node.and_then(|node| node.get("stream")).or(node);
    inner.map_or(entry.key_span, |node: &Node| node.span)
}

impl<'de> Deserialize<'de> for ForEachPart {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct PartVisitor;
        impl<'de> Visitor<'de> for PartVisitor {
            type Value = ForEachPart;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the name of a stream, or a map with `stream`")
            }
            fn visit_str<E: Error>(self, stream: &str) -> Result<ForEachPart, E> {
                let (include, missing) = (Include::default(), MissingParent::default());
                let stream = stream.to_owned();
                Ok(ForEachPart(ForEach { stream, include, missing, incremental: false }))
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<ForEachPart, A::Error> {
                ForEach::deserialize(MapAccessDeserializer::new(map)).map(ForEachPart)
            }
        }
        deserializer.deserialize_any(PartVisitor)
    }
}

impl<'de> Deserialize<'de> for Include {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct IncludeVisitor;
        impl<'de> Visitor<'de> for IncludeVisitor {
            type Value = Include;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of fields, or columns with the fields that they come from")
            }
            fn visit_str<E: Error>(self, field: &str) -> Result<Include, E> {
                Ok(Include(vec![(field.to_owned(), field.to_owned())]))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, fields: A) -> Result<Include, A::Error> {
                let fields = Vec::<String>::deserialize(SeqAccessDeserializer::new(fields))?;
                Ok(Include(fields.into_iter().map(|field| (field.clone(), field)).collect()))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Include, A::Error> {
                let mut include = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    include.push(entry);
                }
                Ok(Include(include))
            }
        }
        deserializer.deserialize_any(IncludeVisitor)
    }
}

impl JsonSchema for ForEachPart {
    fn schema_name() -> Cow<'static, str> {
        "ForEach".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let full = ForEach::json_schema(generator);
        json_schema!({
            "description": "The name of a stream, or a map with `stream` and more.",
            "anyOf": [{ "type": "string" }, full],
        })
    }
}

impl JsonSchema for Include {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Include".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "anyOf": [
                { "type": "string" },
                { "type": "array", "items": { "type": "string" } },
                { "type": "object", "additionalProperties": { "type": "string" } },
            ],
        })
    }
}

#[cfg(all(test, feature = "file", feature = "http"))]
mod tests {
    use towpath_engine::{MissingParent, Pipeline};

    use crate::pipeline::interpolate::tests::Fixed;
    use crate::pipeline::parse;

    fn pipeline(streams: &str) -> Result<Pipeline, String> {
        let text =
            format!("name: a\nsink: {{ connector: file, path: \"{{stream}}.ndjson\" }}\nstreams:\n{streams}");
        parse("a.yaml", &text, &Fixed::default()).map_err(|problems| problems.to_string())
    }

    fn wrong(streams: &str) -> String {
        pipeline(streams).expect_err("it is wrong")
    }

    const CUSTOMERS: &str = "  customers: { source: { connector: http, url: http://a/customers } }\n";

    fn orders(for_each: &str) -> String {
        format!(
            "{CUSTOMERS}  orders: {{ for_each: {for_each}, source: {{ connector: http, url: \"http://a/{{parent.id}}\" }} }}\n"
        )
    }

    #[test]
    fn a_child_holds_its_parent() {
        let found = pipeline(&orders("customers")).unwrap();
        let names: Vec<_> = found.streams.iter().map(|stream| stream.name.as_str()).collect();
        assert_eq!(names, ["customers", "orders"]);
        let for_each = found.streams[1].for_each.as_ref().unwrap();
        assert_eq!((for_each.stream.name.as_str(), for_each.missing), ("customers", MissingParent::Error));
        assert!(for_each.include.is_empty() && !for_each.incremental);
    }

    #[test]
    fn every_option_of_for_each_reaches_the_pipeline() {
        let options = "{ stream: customers, include: { customer_id: id, who: name }, missing: skip, incremental: true }";
        let found = pipeline(&orders(options)).unwrap();
        let for_each = found.streams[1].for_each.as_ref().unwrap();
        let include = [("customer_id", "id"), ("who", "name")].map(|(a, b)| (a.to_owned(), b.to_owned()));
        assert_eq!(
            (for_each.include.as_slice(), for_each.missing),
            (include.as_slice(), MissingParent::Skip)
        );
        assert!(for_each.incremental);
        let found = pipeline(&orders("{ stream: customers, include: [id] }")).unwrap();
        let include = &found.streams[1].for_each.as_ref().unwrap().include;
        assert_eq!(include.as_slice(), [("id".to_owned(), "id".to_owned())]);
    }

    #[test]
    fn a_parent_that_is_not_loaded_needs_no_sink() {
        let text = orders("customers").replace("customers: {", "customers: { load: false,");
        let text = format!("name: a\nstreams:\n{text}")
            .replace("orders: {", "orders: { sink: { connector: file, path: o.ndjson },");
        let found = parse("a.yaml", &text, &Fixed::default()).unwrap_or_else(|problems| panic!("{problems}"));
        let names: Vec<_> = found.streams.iter().map(|stream| stream.name.as_str()).collect();
        assert_eq!(names, ["orders"]);
        assert_eq!(found.streams[0].parents().count(), 1);
    }

    #[test]
    fn a_stream_that_is_neither_loaded_nor_read_for_another_is_an_error() {
        let text = wrong(&CUSTOMERS.replace("customers: {", "customers: { load: false,"));
        assert!(text.contains("`customers` is neither loaded nor read for another one"), "{text}");
    }

    #[test]
    fn an_unknown_parent_is_shown_at_its_place_with_the_nearest_name() {
        let text = wrong(&orders("custmers"));
        let expected = "\
error: there is no stream `custmers`
 --> a.yaml:5:23
  |
5 |   orders: { for_each: custmers, source: { connector: http, url: \"http://a/{parent.id}\" } }
  |                       ^^^^^^^^ did you mean `customers`?
  = help: there are customers
";
        assert_eq!(text, expected);
        assert!(wrong(&orders("{ stream: custmers }")).contains("a.yaml:5:33"));
    }

    #[test]
    fn circles_of_parents_are_errors() {
        let stream = |name: &str, parent: &str| {
            format!(
                "  {name}: {{ for_each: {parent}, source: {{ connector: http, url: \"http://a/{{parent.id}}\" }} }}\n"
            )
        };
        let text = wrong(&(stream("a", "b") + &stream("b", "c") + &stream("c", "a")));
        assert!(
            text.contains("`a` would be read for its own rows: a for each of b for each of c for each of a"),
            "{text}"
        );
        assert!(wrong(&stream("a", "a")).contains("`a` would be read for its own rows"));
    }

    #[test]
    fn data_sets_are_no_parents_and_no_children() {
        let many = "  \"t_{dataset}\": { datasets: [\"*\"], source: { connector: file, path: x.csv } }\n";
        let child = "  o: { for_each: \"t_{dataset}\", source: { connector: http, url: \"http://a/{parent.id}\" } }\n";
        assert!(wrong(&format!("{many}{child}")).contains("stands for several streams"));
        let text = orders("customers").replace("  orders: {", "  \"o_{dataset}\": { datasets: [\"*\"],");
        assert!(wrong(&text).contains("a stream with `for_each` has no `datasets`"));
    }

    #[test]
    fn the_schema_knows_both_forms() {
        let schema = jsonschema::validator_for(&crate::pipeline::pipeline_schema()).unwrap();
        let is_valid = |for_each: &str| {
            let text = format!("name: a\nstreams:\n{}", orders(for_each));
            schema.is_valid(&crate::pipeline::yaml::parse(&text, &Fixed::default()).unwrap().0.json())
        };
        for right in [
            "customers",
            "{ stream: customers, include: [id], missing: skip, incremental: true }",
            "{ stream: customers, include: { customer_id: id } }",
        ] {
            assert!(is_valid(right), "{right}");
        }
        for wrong in [
            "3",
            "{ include: [id] }",
            "{ stream: customers, mising: skip }",
            "{ stream: customers, missing: no }",
        ] {
            assert!(!is_valid(wrong), "{wrong}");
        }
    }

    #[test]
    fn a_wrong_option_of_for_each_is_shown_at_its_place() {
        let text = wrong(&orders("{ stream: customers, inclde: [id] }"));
        assert!(
            text.contains("unknown field `inclde`") && text.contains("did you mean `include`?"),
            "{text}"
        );
    }
}
