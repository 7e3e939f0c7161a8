//! From the tree and the types to the pipeline that the engine runs.

use towpath_core::{Error, Outside, WriteDisposition};
use towpath_engine::{DATASET, Pipeline, SinkSpec, SourceSpec, StreamSpec};
use towpath_transform::{Transform, TransformContext};

use super::decode::{by_serde, decode};
use super::file::{PipelineFile, StreamFile, processors};
use super::for_each;
use super::node::{Entry, Hidden, Node, Scalar, Span, Value};
use super::problem::Problem;
use super::schema::Side;
use super::sides::{Part, Sides};

/// Makes the pipeline, as far as it can be made, and tells all that is wrong with it.
pub(crate) fn resolve(root: &Node) -> (Option<Pipeline>, Vec<Problem>) {
    let mut problems = Vec::new();
    if !root.is_map() {
        problems.push(Problem::new(root.span, "a pipeline is a map with `name`, `streams` and so on"));
        return (None, problems);
    }
    let top = Span { line: 1, column: 1, width: 1 };
    let file = decode(root, top, &[], by_serde::<PipelineFile>, &mut problems);
    let mut resolver = Resolver { root, sides: Sides::new(root, problems) };
    let shared = Shared {
        sink: root.entry("sink").and_then(|entry| resolver.sink(entry, "sink")),
        dead_letter: root.entry("dead_letter").and_then(|entry| resolver.dead_letter(entry, "dead_letter")),
    };
    if let Some(streams) = root.entry("streams").filter(|streams| streams.value.entries().is_empty()) {
        resolver.report(Problem::new(streams.key_span, "there is no stream").help("name at least one"));
    }
    let parts: Vec<_> =
        resolver.stream_entries().iter().map(|entry| resolver.parts(entry, &shared)).collect();
    let streams = file.as_ref().map(|file| resolver.streams(file, parts));
    let (connections, problems) = resolver.sides.finish();
    let pipeline = file.zip(streams).map(|(file, streams)| Pipeline {
        name: file.name,
        max_in_flight: file.max_in_flight,
        memory: file.memory,
        threads: file.threads.unwrap_or_else(processors),
        state_dir: file.state_dir,
        outside: Outside::new(root.hidden().into_iter().flat_map(Hidden::outside)),
        connections,
        streams,
    });
    (pipeline, problems)
}

struct Resolver<'a> {
    root: &'a Node,
    sides: Sides,
}

/// What streams have that do not say it themselves.
struct Shared {
    sink: Option<SinkSpec>,
    dead_letter: Option<SinkSpec>,
}

/// What a stream is made of, as far as it is right.
struct StreamParts {
    source: Option<SourceSpec>,
    sink: Option<SinkSpec>,
    dead_letter: Option<SinkSpec>,
}

impl Resolver<'_> {
    /// The streams in the order of the file.
    fn stream_entries(&self) -> Vec<Entry> {
        self.root.get("streams").map(|streams| streams.entries().to_vec()).unwrap_or_default()
    }

    fn parts(&mut self, stream: &Entry, shared: &Shared) -> StreamParts {
        let (name, node) = (&stream.key, &stream.value);
        let place = |part: &str| format!("streams.{name}.{part}");
        let source = node.entry("source").and_then(|entry| {
            let Part { connector, connection, options } =
                self.sides.part(Side::Source, entry, &place("source"))?;
            Some(SourceSpec { connector, connection, options })
        });
        let sink = match node.entry("sink") {
            Some(entry) => self.sink(entry, &place("sink")),
            None => shared.sink.clone(),
        };
        if node.is_map()
            && node.entry("sink").is_none()
            && self.root.entry("sink").is_none()
            && is_loaded(node)
        {
            let problem = Problem::new(stream.key_span, format!("the stream `{name}` has no sink"));
            self.report(problem.help("give it a `sink`, or the pipeline one for all streams"));
        }
        let dead_letter = match node.entry("dead_letter") {
            Some(entry) => self.dead_letter(entry, &place("dead_letter")),
            None => shared.dead_letter.clone(),
        };
        StreamParts { source, sink, dead_letter }
    }

    fn sink(&mut self, entry: &Entry, place: &str) -> Option<SinkSpec> {
        let Part { connector, connection, options } = self.sides.part(Side::Sink, entry, place)?;
        Some(SinkSpec { connector, connection, options })
    }

    fn dead_letter(&mut self, entry: &Entry, place: &str) -> Option<SinkSpec> {
        let node = &entry.value;
        if node.is_map() {
            return self.sink(entry, place);
        }
        if node.text().is_none() {
            let problem = Problem::new(node.span, "a dead letter is a sink or a path");
            self.report(problem.help("write a path such as `dead/{stream}-{part}.ndjson`"));
            return None;
        }
        self.sink(&as_file(entry), place)
    }

    fn streams(&mut self, file: &PipelineFile, parts: Vec<StreamParts>) -> Vec<StreamSpec> {
        let entries = self.stream_entries();
        let mut specs = Vec::new();
        for (entry, parts) in entries.iter().zip(parts) {
            let Some(stream) = file.streams.get(&entry.key) else { continue };
            self.check(entry, stream);
            let StreamParts { source: Some(source), sink, dead_letter } = parts else { continue };
            let never = (!stream.load).then(|| SinkSpec::never_opened(&source.connection));
            let Some(sink) = never.or(sink) else { continue };
            specs.push(StreamSpec {
                name: entry.key.clone(),
                datasets: stream.datasets.clone(),
                source,
                for_each: None,
                sink,
                transform: stream.transform.clone(),
                cursor: stream.cursor.clone(),
                key: stream.key.as_ref().map(|key| key.0.clone()).unwrap_or_default(),
                write_disposition: stream.write_disposition,
                schema_contract: stream.schema_contract,
                on_error: stream.on_error.unwrap_or(file.on_error),
                dead_letter,
                commit: stream.commit,
            });
        }
        for_each::link(file, &entries, &specs, |problem| self.report(problem))
    }

    /// What can be told of a stream before it runs.
    fn check(&mut self, entry: &Entry, stream: &StreamFile) {
        let has_key = stream.key.as_ref().is_some_and(|key| !key.0.is_empty());
        if stream.write_disposition == Some(WriteDisposition::Merge) && !has_key {
            let span = entry.value.get("write_disposition").map_or(entry.key_span, |node| node.span);
            let problem = Problem::new(span, "`write_disposition: merge` needs a `key`");
            self.report(problem.help("name the columns that identify a row, such as `key: [id]`"));
        }
        if stream.datasets.is_empty() == entry.key.contains(DATASET) {
            let problem = if stream.datasets.is_empty() {
                let span = entry.key_span;
                Problem::new(span, format!("the name holds `{DATASET}`, and the stream names no `datasets`"))
                    .help("name patterns of them, such as `datasets: [\"sales.*\"]`")
            } else {
                let span = entry.value.get("datasets").map_or(entry.key_span, |node| node.span);
                Problem::new(span, format!("each data set needs a name of its own: `{DATASET}` is missing"))
                    .help(format!("call the stream for example `{}_{DATASET}`", entry.key))
            };
            self.report(problem);
        }
        let nodes = entry.value.get("transform").map(Node::items).unwrap_or_default();
        let context = TransformContext {
            run: String::new(),
            source: entry.key.clone(),
            load_time: std::time::SystemTime::UNIX_EPOCH,
        };
        for (step, node) in stream.transform.iter().zip(nodes) {
            if let Err(error) = Transform::new(std::slice::from_ref(step), &context) {
                self.report(of_step(&error, node));
            }
        }
    }

    fn report(&mut self, problem: Problem) {
        self.sides.report(problem);
    }
}

/// Whether a stream has rows of its own to write.
fn is_loaded(stream: &Node) -> bool {
    let load = stream.get("load").map(Node::json);
    load != Some(false.into())
}

/// What is wrong with a step. A wrong expression brings lines that show where: the place in the file shows it better.
fn of_step(error: &Error, node: &Node) -> Problem {
    let (message, shown) = error.message().split_once('\n').unwrap_or((error.message(), ""));
    let value = node.entries().first().map_or(node, |entry| &entry.value);
    let span = match &value.value {
        Value::Scalar(scalar) => place_in(value.span, scalar, shown),
        _ => node.entries().first().map_or(node.span, |entry| entry.key_span),
    };
    let problem = Problem::new(span, message).hiding(node);
    match error.help_text() {
        Some(help) => problem.help(help),
        None => problem,
    }
}

/// The part of a scalar below which a caret is shown, where it stands in the file as it is.
fn place_in(span: Span, scalar: &Scalar, shown: &str) -> Span {
    let text = scalar.value.as_str().unwrap_or_default();
    let quote = usize::from(!scalar.is_plain);
    let as_it_is = scalar.hidden.is_none() && span.width == text.chars().count() + 2 * quote;
    let Some((expression, carets)) = shown.split_once('\n').filter(|_| as_it_is) else { return span };
    let indent = expression.chars().take_while(|character| *character == ' ').count();
    let Some(at) = carets.chars().position(|character| character == '^') else { return span };
    Span { column: span.column + quote + at.saturating_sub(indent), width: 1, ..span }
}

/// A path alone is a sink of the connector `file`.
fn as_file(entry: &Entry) -> Entry {
    let path = &entry.value;
    let name = Scalar { value: "file".into(), is_plain: true, hidden: None };
    let connector = Node { span: path.span, value: Value::Scalar(name) };
    let of = |key: &str, value: Node| Entry { key: key.to_owned(), key_span: entry.key_span, value };
    let entries = vec![of("connector", connector), of("path", path.clone())];
    Entry { value: Node::map(path.span, entries), ..entry.clone() }
}
