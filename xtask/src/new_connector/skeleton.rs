//! The files of a new connector, from the templates.

use super::Plan;

/// A template: its path in the crate, its text, and whether a connector needs it.
struct Template {
    path: &'static str,
    text: &'static str,
    needed: fn(&Plan) -> bool,
}

macro_rules! template {
    ($path:literal, $needed:expr) => {
        Template {
            path: $path,
            text: include_str!(concat!("../../templates/connector/", $path, ".template")),
            needed: $needed,
        }
    };
}

const TEMPLATES: &[Template] = &[
    template!("Cargo.toml", |_| true),
    template!("README.md", |_| true),
    template!("src/lib.rs", |_| true),
    template!("src/source.rs", |plan| plan.source),
    template!("src/sink.rs", |plan| plan.sink),
    template!("tests/conformance.rs", |_| true),
];

/// The files by path below the crate's folder.
pub(super) fn files(plan: &Plan) -> Vec<(&'static str, String)> {
    let needed = TEMPLATES.iter().filter(|template| (template.needed)(plan));
    needed.map(|template| (template.path, fill(template.text, plan))).collect()
}

/// Lines between `{{#source}}` and `{{/source}}` stay only in a source, those behind `{{^source}}` only elsewhere;
/// names take the place of `{{name}}`.
fn fill(template: &str, plan: &Plan) -> String {
    let mut text = String::new();
    let mut keep = true;
    for line in template.lines() {
        match line.trim() {
            "{{#both}}" => keep = plan.source && plan.sink,
            "{{#source}}" => keep = plan.source,
            "{{^source}}" => keep = !plan.source,
            "{{#sink}}" => keep = plan.sink,
            "{{^sink}}" => keep = !plan.sink,
            "{{/both}}" | "{{/source}}" | "{{/sink}}" => keep = true,
            _ if keep => {
                text.push_str(line);
                text.push('\n');
            }
            _ => {}
        }
    }
    text.replace("{{name}}", plan.name.as_str())
        .replace("{{package}}", &plan.name.package())
        .replace("{{module}}", &plan.name.module())
        .replace("{{Type}}", &plan.name.type_name())
}

#[cfg(test)]
mod tests {
    use super::super::Name;
    use super::*;

    fn plan(source: bool, sink: bool) -> Plan {
        Plan { name: Name::parse("tow-boat").unwrap(), source, sink }
    }

    #[test]
    fn every_placeholder_is_filled() {
        for (path, text) in files(&plan(true, true)) {
            assert!(!text.contains("{{") && !text.contains("}}"), "{path}:\n{text}");
        }
    }

    #[test]
    fn a_source_alone_has_nothing_of_a_sink() {
        let paths: Vec<_> = files(&plan(true, false)).into_iter().map(|(path, _)| path).collect();
        assert_eq!(paths, ["Cargo.toml", "README.md", "src/lib.rs", "src/source.rs", "tests/conformance.rs"]);
        assert!(files(&plan(true, false)).iter().all(|(_, text)| !text.contains("TowBoatSink")));
    }
}
