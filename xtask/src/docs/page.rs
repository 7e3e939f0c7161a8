//! A connector's page, in Markdown.

use std::fmt::Write as _;

use serde::Deserialize;
use serde_json::Value;

use super::options::{Entry, Section, sections};

const GENERATED: &str = "<!-- Written by `cargo xtask docs` from the config types; change those instead. -->";

/// What `towpath connectors --json` says about a connector.
#[derive(Deserialize)]
pub(super) struct Connector {
    pub(super) name: String,
    summary: String,
    #[serde(default)]
    schemes: Vec<String>,
    source: Option<Side>,
    sink: Option<Side>,
    example: Option<String>,
}

/// One direction of a connector.
#[derive(Deserialize)]
struct Side {
    schema: Value,
}

/// The list of all connectors.
pub(super) fn index(connectors: &[Connector]) -> String {
    let mut text =
        format!("# Connectors\n\n{GENERATED}\n\n| connector | source | sink | |\n|---|---|---|---|\n");
    for Connector { name, summary, source, sink, .. } in connectors {
        let mark = |side: &Option<Side>| if side.is_some() { "yes" } else { "no" };
        line(
            &mut text,
            &format!("| [{name}]({name}.md) | {} | {} | {} |", mark(source), mark(sink), cell(summary)),
        );
    }
    text
}

/// The page of one connector.
pub(super) fn connector(connector: &Connector) -> String {
    let mut text = format!("# {}\n\n{GENERATED}\n\n{}\n", connector.name, connector.summary.trim());
    if !connector.schemes.is_empty() {
        let schemes: Vec<_> = connector.schemes.iter().map(|scheme| format!("`{scheme}:`")).collect();
        line(
            &mut text,
            &format!("\n`towpath copy` takes addresses that begin with {}.", schemes.join(" or ")),
        );
    }
    if let Some(example) = &connector.example {
        line(&mut text, &format!("\n```yaml\n{}\n```", example.trim_end()));
    }
    side(&mut text, "Source", connector.source.as_ref());
    side(&mut text, "Sink", connector.sink.as_ref());
    text
}

fn side(text: &mut String, title: &str, side: Option<&Side>) {
    line(text, &format!("\n## {title}"));
    let Some(side) = side else {
        line(text, &format!("\nThis connector is no {}.", title.to_lowercase()));
        return;
    };
    for part in sections(&side.schema) {
        section(text, title, &part);
    }
}

fn section(text: &mut String, side: &str, section: &Section) {
    if !section.path.is_empty() {
        line(text, &format!("\n### {}", heading(side, &section.path)));
    }
    paragraph(text, &section.text);
    if section.options.is_empty() && section.kinds.is_empty() {
        paragraph(text, "No options.");
    }
    table(text, side, &section.options);
    for kind in &section.kinds {
        line(text, &format!("\n#### `{}`", kind.title));
        paragraph(text, &kind.text);
        table(text, side, &kind.options);
    }
}

fn table(text: &mut String, side: &str, options: &[Entry]) {
    if options.is_empty() {
        return;
    }
    line(text, "\n| option | type | default | |\n|---|---|---|---|");
    for Entry { name, type_name, details, default, text: description } in options {
        let mut type_name = cell(type_name);
        if let Some(path) = details {
            write!(type_name, " ([options](#{}))", anchor(&heading(side, path)))
                .expect("a String takes all text");
        }
        line(text, &format!("| `{name}` | {type_name} | {} | {} |", cell(default), cell(description)));
    }
}

fn heading(side: &str, path: &str) -> String {
    format!("{side} `{path}`")
}

/// The anchor that Markdown renderers derive from a heading.
fn anchor(heading: &str) -> String {
    let heading = heading.to_lowercase().replace(' ', "-");
    heading
        .chars()
        .filter(|character| character.is_alphanumeric() || matches!(character, '-' | '_'))
        .collect()
}

/// Text for a cell of a table: paragraphs become line breaks.
fn cell(text: &str) -> String {
    let paragraphs =
        text.trim().split("\n\n").map(|paragraph| paragraph.split_whitespace().collect::<Vec<_>>().join(" "));
    paragraphs.collect::<Vec<_>>().join("<br>").replace('|', "\\|")
}

fn paragraph(text: &mut String, paragraph: &str) {
    if !paragraph.trim().is_empty() {
        line(text, &format!("\n{}", paragraph.trim()));
    }
}

fn line(text: &mut String, line: &str) {
    text.push_str(line);
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn example() -> Connector {
        serde_json::from_value(json!({
            "name": "canal",
            "summary": "Boats on a canal.",
            "schemes": ["canal"],
            "source": {"schema": {"description": "Reads boats.", "properties": {
                "lock": {"type": "object", "properties": {"gate_count": {"type": "integer", "default": 2}}},
                "side": {"enum": ["left", "right"], "description": "Which | bank.\n\nBoth\nhave paths."},
            }}},
            "sink": null,
            "example": "name: boats\n",
        }))
        .unwrap()
    }

    #[test]
    fn a_page_shows_every_option_and_links_to_the_inner_ones() {
        let page = connector(&example());
        let expected = "\
# canal

<!-- Written by `cargo xtask docs` from the config types; change those instead. -->

Boats on a canal.

`towpath copy` takes addresses that begin with `canal:`.

```yaml
name: boats
```

## Source

Reads boats.

| option | type | default | |
|---|---|---|---|
| `lock` | object ([options](#source-lock)) |  |  |
| `side` | `left` or `right` |  | Which \\| bank.<br>Both have paths. |

### Source `lock`

| option | type | default | |
|---|---|---|---|
| `gate_count` | integer | `2` |  |

## Sink

This connector is no sink.
";
        assert_eq!(page, expected);
    }

    #[test]
    fn the_index_says_what_each_connector_can_do() {
        let index = index(&[example()]);
        assert!(index.ends_with("| [canal](canal.md) | yes | no | Boats on a canal. |\n"), "{index}");
    }

    #[test]
    fn anchors_are_those_of_the_headings() {
        assert_eq!(anchor(&heading("Source", "auth.client_id")), "source-authclient_id");
    }
}
