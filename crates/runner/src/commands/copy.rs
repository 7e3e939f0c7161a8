//! `towpath copy`: from one URI to another. It writes the pipeline that it stands for, and runs that.

use clap::{Args, ValueEnum};
use serde_json::{Map, Value};
use towpath_core::{Connector, Json};

use super::run::{Telling, execute};
use super::uri::{self, Place};
use crate::failed::{Exit, Failed};
use crate::output::screen::Screen;
use crate::pipeline::{self, ProcessEnvironment, typed};

#[derive(Args)]
pub(crate) struct Arguments {
    /// Where rows come from: a URI such as `https://api.example/users`, or a path.
    source_uri: String,
    /// Where rows go: a URI or a path. A folder, with `/` at its end, gets whole files as they are.
    sink_uri: String,
    /// An option of the source, such as `delimiter=;` or `format={type: csv, header: false}`. Can be repeated.
    #[arg(long, value_name = "KEY=VALUE")]
    source: Vec<String>,
    /// An option of the sink. Can be repeated.
    #[arg(long, value_name = "KEY=VALUE")]
    sink: Vec<String>,
    /// The name of the stream; by default that of the table, or of the last part of the source.
    #[arg(long)]
    name: Option<String>,
    /// How rows land.
    #[arg(long, value_enum)]
    write_disposition: Option<Disposition>,
    /// The column by which the source is read incrementally.
    #[arg(long, value_name = "COLUMN")]
    cursor: Option<String>,
    /// The columns that identify a row.
    #[arg(long, value_name = "COLUMN", value_delimiter = ',')]
    key: Vec<String>,
    /// A step of the transform, such as `filter: amount > 0`. Can be repeated.
    #[arg(long, value_name = "STEP")]
    transform: Vec<String>,
    /// What happens when a row or a split fails.
    #[arg(long, value_enum)]
    on_error: Option<Policy>,
    /// A path for rows that did not make it.
    #[arg(long, value_name = "PATH")]
    dead_letter: Option<String>,
    /// How many requests and splits are in flight at once.
    #[arg(long, value_name = "NUMBER")]
    max_in_flight: Option<usize>,
    /// The budget for rows that were read and not yet written, such as `64MiB`.
    #[arg(long, value_name = "SIZE")]
    memory: Option<String>,
    #[command(flatten)]
    telling: Telling,
}

/// How rows land.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Disposition {
    /// Beside the rows that are there.
    Append,
    /// Instead of all rows that are there.
    Replace,
    /// Instead of the rows with the same key.
    Merge,
}

/// What happens when a row or a split fails.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Policy {
    /// The copy ends.
    Fail,
    /// The rest goes on.
    Continue,
}

/// The option and its value by which files are copied as they are.
const FORMAT: &str = "format";
const BYTES: &str = "bytes";

/// How problems call the pipeline that the command stands for.
const NAME: &str = "the pipeline of this command";

pub(crate) async fn run(arguments: &Arguments, screen: &Screen) -> Result<Exit, Failed> {
    let text = pipeline_text(arguments)?;
    let pipeline = pipeline::parse(NAME, &text, &ProcessEnvironment)?;
    execute(pipeline, arguments.telling, screen).await
}

/// The pipeline as YAML, so that what is wrong is shown as for a file.
fn pipeline_text(arguments: &Arguments) -> Result<String, Failed> {
    let mut source = Side::new(&arguments.source_uri, "--source", &arguments.source)?;
    let mut sink = Side::new(&arguments.sink_uri, "--sink", &arguments.sink)?;
    if arguments.sink_uri.ends_with('/') && copies_files(&source, &sink) {
        source.set(FORMAT, BYTES);
        sink.set(FORMAT, BYTES);
    }
    let default = source.inner_name().unwrap_or_else(|| match uri::stem(&arguments.source_uri) {
        empty if empty.is_empty() => "data".to_owned(),
        stem => stem,
    });
    let head = format!("name: {}\n", literal(&pipeline_name(arguments, &source, &sink).into()));
    let top = [
        ("max_in_flight", arguments.max_in_flight.map(Json::from)),
        ("memory", arguments.memory.clone().map(Json::from)),
    ];
    let stream = literal(&arguments.name.clone().unwrap_or(default).into());
    let (source, sink) = (source.lines(), sink.lines());
    let sides = format!("streams:\n  {stream}:\n    source:\n{source}    sink:\n{sink}");
    let own = own_lines(arguments);
    Ok([head, lines("", top), sides, own, transform(&arguments.transform)?].concat())
}

/// Whether a copy into a folder is one of whole files: both sides can do that, and nobody asked for a format.
fn copies_files(source: &Side, sink: &Side) -> bool {
    let can = |side: &Side, validate: &dyn Fn(Json) -> bool| {
        let mut options = side.from_uri.clone();
        options.insert(FORMAT.to_owned(), BYTES.into());
        side.option(FORMAT).is_none() && validate(options.into())
    };
    let reads =
        |options| source.connector.source_entry().is_some_and(|entry| entry.validate(options).is_ok());
    let writes = |options| sink.connector.sink_entry().is_some_and(|entry| entry.validate(options).is_ok());
    can(source, &reads) && can(sink, &writes)
}

/// What the stream says besides its source, sink and transform.
fn own_lines(arguments: &Arguments) -> String {
    let disposition = arguments.write_disposition.and_then(|value| value.to_possible_value());
    let policy = arguments.on_error.and_then(|value| value.to_possible_value());
    let key = (!arguments.key.is_empty()).then(|| arguments.key.clone().into());
    let own = [
        ("write_disposition", disposition.map(|value| value.get_name().into())),
        ("cursor", arguments.cursor.clone().map(Json::from)),
        ("key", key),
        ("on_error", policy.map(|value| value.get_name().into())),
        ("dead_letter", arguments.dead_letter.clone().map(Json::from)),
    ];
    lines("    ", own)
}

fn transform(steps: &[String]) -> Result<String, Failed> {
    let line = |step: &String| {
        let (name, value) = step.split_once(':').ok_or_else(|| {
            let help = "write a step and its value, such as `filter: amount > 0`".to_owned();
            Failed::usage(format!("`--transform {step}` has no colon"), Some(help))
        })?;
        Ok(format!("      - {}: {}\n", literal(&name.trim().into()), value_text(value.trim())))
    };
    let lines = steps.iter().map(line).collect::<Result<Vec<_>, Failed>>()?;
    let head = if lines.is_empty() { "" } else { "    transform:\n" };
    Ok(head.to_owned() + &lines.concat())
}

fn lines<const N: usize>(indent: &str, entries: [(&str, Option<Json>); N]) -> String {
    let given = entries.into_iter().filter_map(|(key, value)| Some((key, value?)));
    given.map(|(key, value)| format!("{indent}{key}: {}\n", literal(&value))).collect::<Vec<_>>().concat()
}

/// A source or sink: what the URI stands for, and the options over it, as they stand in the pipeline.
struct Side {
    connector: Connector,
    from_uri: Map<String, Json>,
    entries: Vec<(String, String)>,
}

impl Side {
    fn new(address: &str, argument: &str, options: &[String]) -> Result<Self, Failed> {
        let Place { connector, options: from_uri } = uri::place(address)?;
        let mut entries = Map::from_iter([("connector".to_owned(), Value::from(connector.name()))]);
        let from_uri = from_uri.as_object().cloned().unwrap_or_default();
        entries.extend(from_uri.clone());
        let mut entries: Vec<_> = entries.into_iter().map(|(key, value)| (key, literal(&value))).collect();
        for option in options {
            let (key, value) = option.split_once('=').ok_or_else(|| {
                let help = format!("write `{argument} KEY=VALUE`");
                Failed::usage(format!("`{argument} {option}` has no `=`"), Some(help))
            })?;
            entries.retain(|(known, _)| known != key);
            entries.push((key.to_owned(), value_text(value)));
        }
        Ok(Self { connector, from_uri, entries })
    }

    fn set(&mut self, key: &str, value: &str) {
        self.entries.push((key.to_owned(), literal(&value.into())));
    }

    fn lines(&self) -> String {
        let line =
            |(key, value): &(String, String)| format!("      {}: {value}\n", literal(&key.as_str().into()));
        self.entries.iter().map(line).collect()
    }

    /// An option as it stands in the pipeline.
    fn option(&self, name: &str) -> Option<&str> {
        self.entries.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// What is meant at the place that the URI leads to: for a database, the table, or that of the query.
    fn inner_name(&self) -> Option<String> {
        let text = |name| {
            let value = self.option(name)?;
            Some(serde_json::from_str::<String>(value).unwrap_or_else(|_| value.to_owned()))
        };
        let name = match (text("table"), text("query")) {
            (Some(table), _) => uri::last_identifier(&table),
            (None, Some(query)) => uri::queried_table(&query).unwrap_or_else(|| "query".to_owned()),
            (None, None) => return None,
        };
        Some(name).filter(|name| !name.is_empty())
    }
}

/// A value as somebody typed it: a flow map, a flow list or a quoted text as it is; else a scalar, whatever signs it holds.
fn value_text(value: &str) -> String {
    if value.starts_with(['{', '[', '"', '\'']) && !value.contains('\n') {
        return value.to_owned();
    }
    let typed = typed(value);
    // References are filled in by the pipeline, so that secrets stay out of the command.
    if typed.is_string() { typed.to_string() } else { value.to_owned() }
}

/// A value that means itself: JSON is YAML, but for references.
pub(super) fn literal(value: &Json) -> String {
    value.to_string().replace("${", "$${")
}

/// A name that is the same each time for the same two places, so that the target remembers.
fn pipeline_name(arguments: &Arguments, source: &Side, sink: &Side) -> String {
    const LONGEST: usize = 40;
    let without_secrets =
        (uri::without_secrets(&arguments.source_uri), uri::without_secrets(&arguments.sink_uri));
    let short = |uri: &str| uri::slug(uri).chars().take(LONGEST).collect::<String>();
    // Tables of one database are different places.
    let place = |uri: &str, side: &Side| {
        ["table", "query"].into_iter().fold(uri.to_owned(), |place, name| match side.option(name) {
            Some(value) => format!("{place}\n{name} {value}"),
            None => place,
        })
    };
    let (from, to) = (place(&without_secrets.0, source), place(&without_secrets.1, sink));
    let hash = fnv1a(&format!("{from}\n{to}"));
    format!("copy-{}-to-{}-{hash:016x}", short(&without_secrets.0), short(&without_secrets.1))
}

/// FNV-1a: the same in every version of this program.
fn fnv1a(text: &str) -> u64 {
    text.bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(all(test, feature = "file"))]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        arguments: Arguments,
    }

    fn text(arguments: &[&str]) -> String {
        let command = Command::parse_from([&["copy"], arguments].concat());
        pipeline_text(&command.arguments).unwrap()
    }

    #[test]
    fn a_copy_is_the_pipeline_that_it_stands_for() {
        let text = text(&[
            "in/*.csv",
            "out.ndjson",
            "--source",
            "format={type: csv, header: false}",
            "--source",
            "sample_rows=5",
            "--write-disposition",
            "replace",
            "--key",
            "a,b",
            "--transform",
            "filter: a > 0",
            "--memory",
            "64MiB",
        ]);
        let (name, rest) = text.split_once('\n').unwrap();
        assert!(name.starts_with("name: \"copy-in_csv-to-out_ndjson-"), "{name}");
        let expected = r#"memory: "64MiB"
streams:
  "in":
    source:
      "connector": "file"
      "path": "in/*.csv"
      "format": {type: csv, header: false}
      "sample_rows": 5
    sink:
      "connector": "file"
      "path": "out.ndjson"
    write_disposition: "replace"
    key: ["a","b"]
    transform:
      - "filter": "a > 0"
"#;
        assert_eq!(rest, expected);
        pipeline::parse(NAME, &text, &ProcessEnvironment).unwrap();
    }

    #[cfg(feature = "http")]
    #[test]
    fn a_copy_into_a_folder_is_one_of_whole_files() {
        let formats = |arguments: &[&str]| text(arguments).matches("\"format\": \"bytes\"").count();
        assert_eq!(formats(&["https://a/big.iso", "file:./downloads/"]), 2);
        assert_eq!(formats(&["https://a/big.iso", "downloads/"]), 2);
        assert_eq!(formats(&["https://a/rows.json", "downloads"]), 0);
        assert_eq!(formats(&["https://a/big.iso", "downloads/", "--source", "format=csv"]), 0);
        // Said by hand, it is there once for each side.
        let by_hand = ["https://a/x.iso", "downloads/", "--sink", "format=bytes", "--source", "format=bytes"];
        assert_eq!(formats(&by_hand), 2);
    }

    #[test]
    fn a_path_with_a_reference_means_itself_and_an_option_with_one_is_filled_in() {
        let text = text(&["${A}.csv", "b.csv", "--source", "file_column=${A}"]);
        assert!(text.contains(r#""path": "$${A}.csv""#), "{text}");
        assert!(text.contains(r#""file_column": "${A}""#), "{text}");
    }

    #[test]
    fn the_name_depends_on_both_places_and_holds_no_secret() {
        let name = |source, sink| {
            let arguments = Command::parse_from(["copy", source, sink]).arguments;
            let side = |uri| Side::new(uri, "--source", &[]).unwrap();
            pipeline_name(&arguments, &side(source), &side(sink))
        };
        assert_eq!(name("a.csv", "b.csv"), name("a.csv", "b.csv"));
        assert_ne!(name("a.csv", "b.csv"), name("a.csv", "c.csv"));
        assert!(!name("https://ann:hush@a/b?key=hush", "c.csv").contains("hush"));
    }

    #[cfg(all(feature = "postgres", feature = "mysql"))]
    #[test]
    fn a_stream_from_a_database_is_called_like_its_table() {
        let stream = |arguments: &[&str]| {
            let text = text(arguments);
            text.lines().nth(2).unwrap().trim().trim_end_matches(':').to_owned()
        };
        let to = "mysql://h/warehouse";
        for (uri, expected) in [
            ("postgres://h/shop?table=orders", "\"orders\""),
            ("postgres://h/shop?table=sales.Orders", "\"Orders\""),
            ("postgres://h/shop?table=sales.%22Order.Items%22", "\"Order.Items\""),
            ("postgres://h/shop?query=SELECT%201%20FROM%20sales.orders%20o", "\"orders\""),
            ("postgres://h/shop?query=SELECT%201", "\"query\""),
            ("mysql://h/shop?table=%60a%60.%60b%20c%60", "\"b c\""),
        ] {
            assert_eq!(stream(&[uri, to]), expected, "{uri}");
        }
        assert_eq!(stream(&["postgres://h/shop", to, "--source", "table=orders"]), "\"orders\"");
    }

    #[cfg(all(feature = "postgres", feature = "mysql"))]
    #[test]
    fn copies_of_two_tables_do_not_share_what_the_target_remembers() {
        let name = |from: &str, to: &str| text(&[from, to]).lines().next().unwrap().to_owned();
        let (one, other) = ("postgres://h/shop?table=orders", "postgres://h/shop?table=items");
        assert_ne!(name(one, "mysql://h/w"), name(other, "mysql://h/w"));
        assert_ne!(name(one, "mysql://h/w?table=a"), name(one, "mysql://h/w?table=b"));
        assert_eq!(name(one, "mysql://h/w?table=a"), name(one, "mysql://h/w?table=a"));
    }
}
