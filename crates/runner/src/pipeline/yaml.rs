//! From YAML to the tree, by the events of the parser.

use std::collections::HashMap;

use saphyr_parser::{Event, Parser, ScalarStyle, ScanError, Span as YamlSpan, StrInput, Tag};

use super::interpolate::{Environment, interpolate};
use super::node::{Entry, Node, Scalar, Span, Value};
use super::problem::Problem;
use super::scalar::typed;

/// How deep values may lie in each other.
const MAX_DEPTH: usize = 64;

/// How many values a file may have, those that aliases repeat included.
const MAX_NODES: usize = 100_000;

/// Reads a document with one map. What is wrong with single values is collected; what makes the rest unreadable ends it.
///
/// # Errors
/// The problems, if there is no tree to go on with.
pub(crate) fn parse(text: &str, environment: &dyn Environment) -> Result<(Node, Vec<Problem>), Vec<Problem>> {
    let mut builder = Builder {
        events: Parser::new_from_str(text),
        lines: text.lines().collect(),
        environment,
        anchors: HashMap::new(),
        nodes: 0,
        problems: Vec::new(),
    };
    match builder.document() {
        Ok(node) => Ok((node, builder.problems)),
        Err(problem) => {
            builder.problems.push(problem);
            Err(builder.problems)
        }
    }
}

struct Builder<'a> {
    events: Parser<'a, StrInput<'a>>,
    lines: Vec<&'a str>,
    environment: &'a dyn Environment,
    anchors: HashMap<usize, Node>,
    nodes: usize,
    problems: Vec<Problem>,
}

type Step<'a> = (Event<'a>, YamlSpan);

impl<'a> Builder<'a> {
    fn document(&mut self) -> Result<Node, Problem> {
        let first = loop {
            match self.next()? {
                (Event::StreamStart | Event::DocumentStart(_) | Event::Nothing, _) => {}
                other => break other,
            }
        };
        if matches!(first.0, Event::StreamEnd) {
            return Err(Problem::new(Span { line: 1, column: 1, width: 1 }, "the pipeline is empty")
                .help("`towpath init` writes one to begin with"));
        }
        let node = self.node(first, 0)?;
        loop {
            match self.next()? {
                (Event::StreamEnd, _) => return Ok(node),
                (Event::DocumentStart(_), span) => {
                    return Err(Problem::new(self.span(span), "a second document begins here")
                        .help("a file holds one pipeline"));
                }
                _ => {}
            }
        }
    }

    fn next(&mut self) -> Result<Step<'a>, Problem> {
        let next = self.events.next().unwrap_or(Ok((Event::StreamEnd, YamlSpan::default())));
        next.map_err(|error| self.syntax(&error))
    }

    fn syntax(&self, error: &ScanError) -> Problem {
        let marker = error.marker();
        let span = Span { line: marker.line().max(1), column: marker.col() + 1, width: 1 };
        let problem = Problem::new(span, format!("this is not YAML: {}", error.info()));
        let line = self.lines.get(span.line - 1).copied().unwrap_or_default();
        if line.contains("${") && line.contains(['{', '[']) {
            return problem.help("between `{ }` and `[ ]`, put `\"${NAME}\"` in quotes");
        }
        if line.contains('\t') {
            return problem.help("YAML is indented by spaces");
        }
        problem
    }

    fn node(&mut self, (event, yaml_span): Step<'a>, depth: usize) -> Result<Node, Problem> {
        let span = self.span(yaml_span);
        self.nodes += 1;
        if depth > MAX_DEPTH || self.nodes > MAX_NODES {
            return Err(Problem::new(span, "the pipeline is nested too deeply, or too large"));
        }
        let (anchor, node) = match event {
            Event::Alias(anchor) => return self.alias(anchor, span),
            Event::Scalar(text, style, anchor, tag) => {
                (anchor, self.scalar(&text, style, tag.as_deref(), span))
            }
            Event::SequenceStart(anchor, tag) => {
                self.refuse_tag(tag.as_deref(), span);
                (anchor, self.list(span, depth)?)
            }
            Event::MappingStart(anchor, tag) => {
                self.refuse_tag(tag.as_deref(), span);
                (anchor, self.map(span, depth)?)
            }
            other => {
                return Err(Problem::new(span, format!("this is not YAML: {other:?} has no place here")));
            }
        };
        if anchor > 0 {
            self.anchors.insert(anchor, node.clone());
        }
        Ok(node)
    }

    /// The values of an alias stand where its anchor is.
    fn alias(&mut self, anchor: usize, span: Span) -> Result<Node, Problem> {
        let node = self.anchors.get(&anchor).cloned();
        let node = node.ok_or_else(|| Problem::new(span, "this alias is part of its own anchor"))?;
        self.nodes += count(&node);
        Ok(node)
    }

    fn list(&mut self, span: Span, depth: usize) -> Result<Node, Problem> {
        let mut items = Vec::new();
        loop {
            match self.next()? {
                (Event::SequenceEnd, _) => return Ok(Node { span, value: Value::List(items) }),
                step => items.push(self.node(step, depth + 1)?),
            }
        }
    }

    fn map(&mut self, span: Span, depth: usize) -> Result<Node, Problem> {
        let (mut entries, mut merged) = (Vec::<Entry>::new(), Vec::new());
        loop {
            let (key, key_span) = match self.next()? {
                (Event::MappingEnd, _) => break,
                (Event::Scalar(key, ..), key_span) => (key.into_owned(), self.span(key_span)),
                (_, key_span) => {
                    return Err(Problem::new(self.span(key_span), "a key must be a plain name"));
                }
            };
            let step = self.next()?;
            let value = self.node(step, depth + 1)?;
            if key == "<<" {
                merged.extend(self.merged(value));
            } else if let Some(first) = entries.iter().find(|entry| entry.key == key) {
                let message = format!("`{key}` is there twice");
                let label = format!("first on line {}", first.key_span.line);
                self.problems.push(Problem::new(key_span, message).label(label));
            } else {
                entries.push(Entry { key, key_span, value });
            }
        }
        for entry in merged {
            if !entries.iter().any(|own| own.key == entry.key) {
                entries.push(entry);
            }
        }
        Ok(Node::map(span, entries))
    }

    /// The entries that `<<: *anchor` brings; own ones win.
    fn merged(&mut self, value: Node) -> Vec<Entry> {
        let span = value.span;
        match value.value {
            Value::Map(entries) => entries,
            Value::List(items) => items.into_iter().flat_map(|item| self.merged(item)).collect(),
            Value::Scalar(_) => {
                self.problems.push(Problem::new(span, "`<<` takes a map, such as `<<: *defaults`"));
                Vec::new()
            }
        }
    }

    fn scalar(&mut self, text: &str, style: ScalarStyle, tag: Option<&Tag>, span: Span) -> Node {
        let is_text = tag.is_some_and(|tag| tag.is_yaml_core_schema() && tag.suffix == "str");
        if !is_text {
            self.refuse_tag(tag, span);
        }
        let is_plain = style == ScalarStyle::Plain && !is_text;
        let (text, hidden) = match interpolate(text, self.environment) {
            Ok(filled) => (filled.text, filled.hidden),
            Err(unfilled) => {
                let span = self.find(span, &unfilled.reference);
                let problem = Problem::new(span, unfilled.message);
                self.problems.push(match unfilled.help {
                    Some(help) => problem.help(help),
                    None => problem,
                });
                (text.to_owned(), None)
            }
        };
        let value = if is_plain { typed(&text) } else { text.into() };
        Node { span, value: Value::Scalar(Scalar { value, is_plain, hidden }) }
    }

    fn refuse_tag(&mut self, tag: Option<&Tag>, span: Span) {
        if let Some(tag) = tag {
            let problem = Problem::new(span, format!("the tag `{tag}` means nothing here"));
            self.problems.push(problem.help("leave it out; quotes make a text"));
        }
    }

    /// Where a part of a scalar stands.
    fn find(&self, scalar: Span, part: &str) -> Span {
        let part = part.lines().next().unwrap_or_default();
        for (index, line) in self.lines.iter().enumerate().skip(scalar.line - 1) {
            let from = if index + 1 == scalar.line { byte_of(line, scalar.column - 1) } else { 0 };
            if let Some(at) = line[from..].find(part) {
                let column = line[..from + at].chars().count() + 1;
                return Span { line: index + 1, column, width: part.chars().count().max(1) };
            }
        }
        scalar
    }

    fn span(&self, span: YamlSpan) -> Span {
        let (line, column) = (span.start.line().max(1), span.start.col() + 1);
        let text = self.lines.get(line - 1).copied().unwrap_or_default();
        let rest = text.chars().skip(column - 1);
        let covered: String = if span.end.line() == line {
            rest.take(span.end.col().saturating_sub(column - 1)).collect()
        } else {
            rest.collect()
        };
        Span { line, column, width: covered.trim_end().chars().count().max(1) }
    }
}

fn byte_of(line: &str, column: usize) -> usize {
    line.char_indices().nth(column).map_or(line.len(), |(at, _)| at)
}

fn count(node: &Node) -> usize {
    let entries = node.entries().iter().map(|entry| count(&entry.value));
    1 + entries.sum::<usize>() + node.items().iter().map(count).sum::<usize>()
}

#[cfg(test)]
pub(crate) mod tests {
    use serde_json::json;

    use super::super::interpolate::tests::Fixed;
    use super::*;

    /// The tree of a text that is right.
    pub(crate) fn tree(text: &str) -> Node {
        let (node, problems) = parse(text, &Fixed::default()).unwrap();
        assert_eq!(problems, []);
        node
    }

    fn problems(text: &str) -> Vec<(usize, usize, String)> {
        let problems = match parse(text, &Fixed([("PORT", "80")].into())) {
            Ok((_, problems)) | Err(problems) => problems,
        };
        let place = |problem: Problem| (problem.span.line, problem.span.column, problem.message);
        problems.into_iter().map(place).collect()
    }

    #[test]
    fn values_keep_their_types_their_order_and_their_places() {
        let node = tree("name: retail\nlist:\n  - 1\n  - \"2\"\nz: {b: true, a: ~}\n");
        assert_eq!(node.json().to_string(), r#"{"name":"retail","list":[1,"2"],"z":{"b":true,"a":null}}"#);
        assert_eq!(node.get("name").unwrap().span, Span { line: 1, column: 7, width: 6 });
        assert_eq!(node.entry("z").unwrap().key_span, Span { line: 5, column: 1, width: 1 });
        assert_eq!(node.get("list").unwrap().items()[1].span, Span { line: 4, column: 5, width: 3 });
    }

    #[test]
    fn what_is_filled_in_is_typed_as_if_it_stood_there_unless_quoted() {
        let text = "plain: ${PORT}\nquoted: \"${PORT}\"\nflow: { port: \"${PORT}\" }\n";
        let (node, _) = parse(text, &Fixed([("PORT", "80")].into())).unwrap();
        assert_eq!(node.json(), json!({"plain": 80, "quoted": "80", "flow": {"port": "80"}}));
    }

    #[test]
    fn anchors_aliases_and_merges_repeat_values() {
        let node = tree("base: &base {a: 1, b: 2}\nsame: *base\nmore: {<<: *base, b: 3}\n");
        assert_eq!(node.json()["same"], json!({"a": 1, "b": 2}));
        assert_eq!(node.json()["more"], json!({"a": 1, "b": 3}));
        assert_eq!(node.get("same").unwrap().get("a").unwrap().span.line, 1);
    }

    #[test]
    fn aliases_cannot_blow_up_the_tree() {
        let mut text = "l0: &l0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]\n".to_owned();
        for level in 1..9 {
            let items = vec![format!("*l{}", level - 1); 10].join(", ");
            text += format!("l{level}: &l{level} [{items}]\n").as_str();
        }
        assert_eq!(problems(&text)[0].2, "the pipeline is nested too deeply, or too large");
    }

    #[test]
    fn a_missing_variable_is_shown_where_it_stands_and_the_rest_goes_on() {
        assert_eq!(
            problems("a: x ${NONE}\nb: |\n  one\n  ${GONE}\n"),
            [
                (1, 6, "the variable `NONE` is not set".to_owned()),
                (4, 3, "the variable `GONE` is not set".to_owned()),
            ]
        );
    }

    #[test]
    fn duplicate_keys_tags_further_documents_and_empty_files_are_refused() {
        assert_eq!(problems("a: 1\nb: 2\na: 3\n"), [(3, 1, "`a` is there twice".to_owned())]);
        assert_eq!(problems("a: !x 1\n")[0].2, "the tag `!x` means nothing here");
        assert_eq!(problems("a: 1\n---\nb: 2\n"), [(2, 1, "a second document begins here".to_owned())]);
        assert_eq!(problems("# nothing\n")[0].2, "the pipeline is empty");
        assert_eq!(tree("a: !!str 12\n").json(), json!({"a": "12"}));
    }

    #[test]
    fn broken_yaml_is_shown_with_its_place() {
        let (line, _, message) = problems("a: [1, 2\nb: 3\n").remove(0);
        assert!(message.starts_with("this is not YAML: "), "{message}");
        assert_eq!(line, 2);
    }

    #[test]
    fn a_reference_that_needs_quotes_is_told_so() {
        let Err(problems) = parse("auth: { token: ${TOKEN} }\n", &Fixed::default()) else {
            panic!("braces in a flow map are not YAML")
        };
        assert_eq!(problems[0].help.as_deref(), Some("between `{ }` and `[ ]`, put `\"${NAME}\"` in quotes"));
    }
}
