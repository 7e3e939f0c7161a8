//! From the tree to typed values, with every mistake at its place.

use serde::de::DeserializeOwned;
use towpath_core::{Json, OptionError};

use super::node::{Node, Span, Value, Way};
use super::problem::Problem;
use crate::nearest::nearest;

/// How many mistakes of one value are reported.
const MAX_FAULTS: usize = 50;

/// Reads a type by serde, as a connector does with its options.
///
/// # Errors
/// The first mistake.
pub(crate) fn by_serde<T: DeserializeOwned>(value: Json) -> Result<T, OptionError> {
    serde_path_to_error::deserialize(value)
        .map_err(|error| OptionError { path: error.path().to_string(), message: error.inner().to_string() })
}

/// Reads a value and collects its mistakes: each wrong entry is reported and left out, and the rest is read again.
/// `owner` is where the value's own name stands, and `also` are further names that its map may hold.
pub(crate) fn decode<T>(
    node: &Node,
    owner: Span,
    also: &[&str],
    read: impl Fn(Json) -> Result<T, OptionError>,
    problems: &mut Vec<Problem>,
) -> Option<T> {
    let mut node = node.clone();
    // What was taken out, and what was meant by it, is not missing too.
    let mut known = Vec::new();
    for _ in 0..MAX_FAULTS {
        let error = match read(node.json()) {
            Ok(value) => return Some(value),
            Err(error) => error,
        };
        if missing_field(&error.message).is_some_and(|field| known.contains(&field.to_owned())) {
            return None;
        }
        let fault = Fault::new(&node, &error);
        problems.push(fault.problem(&node, owner, also, &error.message));
        known.extend(fault.meant(&error.message));
        known.push(node.remove(&fault.way)?);
    }
    None
}

/// Where a mistake is, and what kind it is.
struct Fault {
    way: Way,
    kind: Kind,
}

enum Kind {
    UnknownField(String),
    UnknownVariant(String),
    MissingField(String),
    Other,
}

impl Fault {
    fn new(node: &Node, error: &OptionError) -> Self {
        let way = node.locate(&error.path);
        let message = &error.message;
        if let Some(field) = named_after(message, "unknown field `") {
            // Serde reports what is inside of a tagged enum at the enum itself.
            let found = node.entry_at(&way).is_some_and(|entry| entry.key == field);
            let way = if found { way } else { node.find_key(&way, field).unwrap_or(way) };
            return Self { way, kind: Kind::UnknownField(field.to_owned()) };
        }
        let kind = if let Some(variant) = named_after(message, "unknown variant `") {
            Kind::UnknownVariant(variant.to_owned())
        } else if let Some(field) = missing_field(message) {
            Kind::MissingField(field.to_owned())
        } else {
            Kind::Other
        };
        Self { way, kind }
    }

    /// The field that was most likely meant by an unknown one.
    fn meant(&self, message: &str) -> Option<String> {
        let Kind::UnknownField(field) = &self.kind else { return None };
        nearest(field, expected_names(message)).map(str::to_owned)
    }

    fn problem(&self, node: &Node, owner: Span, also: &[&str], message: &str) -> Problem {
        let place = &node[&self.way];
        let entry = node.entry_at(&self.way);
        let name = entry.map_or(owner, |entry| entry.key_span);
        // A list or a map is shown by its name.
        let value = if matches!(place.value, Value::Scalar(_)) { place.span } else { name };
        let known = expected_names(message);
        let problem = match &self.kind {
            Kind::UnknownField(field) => {
                let known: Vec<_> = known.iter().copied().chain(also.iter().copied()).collect();
                let problem = Problem::new(name, format!("unknown field `{field}`"));
                suggest(problem, field, &known, "there are")
            }
            Kind::UnknownVariant(variant) => {
                // In `- rename: {}` the key is the variant.
                let found = entry.is_some_and(|entry| entry.key == *variant);
                let inner = node.find_key(&self.way, variant).and_then(|way| node.entry_at(&way));
                let span = match inner {
                    _ if found => name,
                    Some(inner) => inner.key_span,
                    None => value,
                };
                let problem = Problem::new(span, format!("`{variant}` is not known here"));
                suggest(problem, variant, &known, "it can be")
            }
            Kind::MissingField(field) => Problem::new(name, format!("`{field}` is missing")),
            Kind::Other => {
                let problem = Problem::new(value, message.to_owned());
                if wants_text(message, place) { problem.help("quotes make it a text") } else { problem }
            }
        };
        problem.hiding(place)
    }
}

fn suggest(problem: Problem, name: &str, known: &[&str], list: &str) -> Problem {
    match nearest(name, known.iter().copied()) {
        Some(near) => problem.suggest(Some(near)),
        None if known.is_empty() => problem,
        None => problem.help(format!("{list} {}", known.join(", "))),
    }
}

/// Whether a plain number or boolean stands where a text is expected.
fn wants_text(message: &str, node: &Node) -> bool {
    let Value::Scalar(scalar) = &node.value else { return false };
    scalar.is_plain && !scalar.value.is_string() && message.ends_with("expected a string")
}

fn missing_field(message: &str) -> Option<&str> {
    named_after(message, "missing field `")
}

fn named_after<'a>(message: &'a str, start: &str) -> Option<&'a str> {
    message.strip_prefix(start)?.split_once('`').map(|(name, _)| name)
}

/// The names that serde lists behind `expected`.
fn expected_names(message: &str) -> Vec<&str> {
    let Some((_, list)) = message.rsplit_once("`, expected ") else { return Vec::new() };
    list.split('`').skip(1).step_by(2).collect()
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::super::yaml::tests::tree;
    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only reading is tested")]
    struct Options {
        path: String,
        #[serde(default)]
        limit: u8,
        auth: Option<Auth>,
        #[serde(default)]
        mode: Mode,
    }

    #[derive(Debug, Deserialize)]
    #[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
    #[expect(dead_code, reason = "only reading is tested")]
    enum Auth {
        Bearer { token: String },
    }

    #[derive(Debug, Default, Deserialize)]
    #[serde(rename_all = "snake_case")]
    enum Mode {
        #[default]
        Fast,
        Slow,
    }

    const OWNER: Span = Span { line: 9, column: 9, width: 9 };

    fn faults(text: &str) -> Vec<(usize, usize, String, Option<String>)> {
        let mut problems = Vec::new();
        decode(&tree(text), OWNER, &["connector"], by_serde::<Options>, &mut problems);
        let parts = |problem: Problem| {
            let note = problem.label.or(problem.help);
            (problem.span.line, problem.span.column, problem.message, note)
        };
        problems.into_iter().map(parts).collect()
    }

    fn fault(
        line: usize,
        column: usize,
        message: &str,
        note: Option<&str>,
    ) -> (usize, usize, String, Option<String>) {
        (line, column, message.to_owned(), note.map(str::to_owned))
    }

    #[test]
    fn all_mistakes_are_found_at_once() {
        let text = "path: a\nlimt: 3\nlimit: many\nmode: fsat\nwhatever: 1\n";
        let expected = [
            fault(2, 1, "unknown field `limt`", Some("did you mean `limit`?")),
            fault(3, 8, "invalid type: string \"many\", expected u8", None),
            fault(4, 7, "`fsat` is not known here", Some("did you mean `fast`?")),
            fault(5, 1, "unknown field `whatever`", Some("there are path, limit, auth, mode, connector")),
        ];
        let mut found = faults(text);
        found.sort_by_key(|fault| fault.0);
        assert_eq!(found, expected);
    }

    #[test]
    fn a_missing_field_is_shown_at_the_owner_and_only_if_it_was_not_there() {
        assert_eq!(faults("limit: 3\n"), [fault(9, 9, "`path` is missing", None)]);
        let note = Some("quotes make it a text");
        assert_eq!(faults("path: 3\n"), [fault(1, 7, "invalid type: integer `3`, expected a string", note)]);
        let inner = faults("path: a\nauth: { type: bearer }\n");
        assert_eq!(inner, [fault(2, 1, "`token` is missing", None)]);
    }

    #[test]
    fn an_unknown_field_inside_of_a_tagged_enum_is_found() {
        let found = faults("path: a\nauth: { type: bearer, tokn: x }\n");
        assert_eq!(found[0], fault(2, 23, "unknown field `tokn`", Some("did you mean `token`?")));
    }

    #[test]
    fn a_further_name_of_the_map_is_suggested_too() {
        let found = faults("path: a\nconector: file\n");
        assert_eq!(found[0].3.as_deref(), Some("did you mean `connector`?"));
    }

    #[test]
    fn a_value_from_outside_is_never_shown() {
        use super::super::interpolate::tests::Fixed;
        let environment = Fixed([("PIN", "7351"), ("MODE", "ab")].into());
        let text = "path: ${PIN}\nmode: ${MODE}\nlimit: \"x ${PIN}\"\n";
        let (node, _) = super::super::yaml::parse(text, &environment).unwrap();
        let mut problems = Vec::new();
        decode(&node, OWNER, &[], by_serde::<Options>, &mut problems);
        let messages: Vec<_> = problems.iter().map(|problem| problem.message.as_str()).collect();
        assert_eq!(
            messages,
            [
                "invalid type: integer `${PIN}`, expected a string",
                "`${MODE}` is not known here",
                "invalid type: string \"x ${PIN}\", expected u8",
            ]
        );
    }
}
