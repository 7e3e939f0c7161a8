//! A pipeline that loads what was discovered.

use serde_json::{Map, Value};
use towpath_core::{Connector, Dataset};

use crate::commands::copy::literal;
use crate::pipeline::Side;

/// Where the rows of a draft go.
const SINK: &str = if cfg!(feature = "parquet") { "out/{stream}.parquet" } else { "out/{stream}.ndjson" };

/// A pipeline file with a stream for each data set. What is secret in the options is taken from the environment.
pub(super) fn draft(connector: &Connector, options: &Value, datasets: &[Dataset]) -> String {
    let name = literal(&connector.name().into());
    let schema = Side::Source.schema(connector).unwrap_or_default();
    let is_in_streams = |option: &str| datasets.iter().any(|dataset| dataset.source.get(option).is_some());
    let shared = options.as_object().into_iter().flatten().filter(|(option, _)| !is_in_streams(option));
    let options: String = shared
        .map(|(option, value)| {
            let secret = is_secret(&schema, option);
            let value =
                if secret { format!("${{SOURCE_{}}}", option.to_uppercase()) } else { literal(value) };
            format!("    {option}: {value}\n")
        })
        .collect::<Vec<_>>()
        .concat();
    let streams = datasets.iter().map(stream).collect::<Vec<_>>().concat();
    let sink = literal(&SINK.into());
    format!(
        "name: discovered\n\nconnections:\n  source:\n    connector: {name}\n{options}\n\
         sink: {{ connector: file, path: {sink} }}\n\nstreams:\n{streams}"
    )
}

fn stream(dataset: &Dataset) -> String {
    let mut source = Map::from_iter([("connection".to_owned(), Value::from("source"))]);
    source.extend(dataset.source.as_object().cloned().unwrap_or_default());
    let name = literal(&dataset.name.as_str().into());
    let key = match dataset.key.as_slice() {
        [] => String::new(),
        key => format!("    key: {}\n", literal(&key.to_vec().into())),
    };
    format!("  {name}:\n    source: {}\n{key}", literal(&source.into()))
}

/// How deep types may refer to others; one that refers to itself is looked at so often.
const DEPTH: usize = 16;

/// Whether an option, or a part of it, must not be shown.
fn is_secret(schema: &Value, option: &str) -> bool {
    holds_secret(&schema["properties"][option], schema, DEPTH)
}

fn holds_secret(part: &Value, root: &Value, depth: usize) -> bool {
    match part {
        _ if depth == 0 => false,
        Value::Object(map) => {
            let referred = map.get("$ref").and_then(Value::as_str);
            let referred = referred.and_then(|target| root.pointer(target.trim_start_matches('#')));
            map.get("writeOnly") == Some(&Value::Bool(true))
                || referred.is_some_and(|target| holds_secret(target, root, depth - 1))
                || map.values().any(|value| holds_secret(value, root, depth))
        }
        Value::Array(items) => items.iter().any(|item| holds_secret(item, root, depth)),
        _ => false,
    }
}

#[cfg(all(test, feature = "http"))]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::connectors;

    #[test]
    fn secrets_come_from_the_environment_and_names_are_quoted() {
        let connector = connectors::find("http").unwrap();
        let options =
            json!({"url": "https://api.example/items", "auth": {"type": "bearer", "token": "hidden"}});
        let mut dataset = Dataset::new("it: \"s", json!({"records": "$.data"}));
        dataset.key = vec!["id".to_owned()];
        let text = draft(&connector, &options, &[dataset]);
        assert!(text.contains("auth: ${SOURCE_AUTH}") && !text.contains("hidden"), "{text}");
        assert!(text.contains(r#"  "it: \"s":"#) && text.contains(r#"key: ["id"]"#), "{text}");
    }
}
