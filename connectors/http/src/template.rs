//! Texts with places for parameters.

use std::fmt::Write;

use towpath_core::{Error, Json, Result};

use crate::config::Values;

/// A value of a parameter.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Value {
    pub(crate) text: String,
    /// Whether it is a number or a boolean.
    pub(crate) bare: bool,
    /// What is behind it: the end of a window.
    pub(crate) end: String,
    /// Whether there is none, so that what needs it is left out.
    pub(crate) missing: bool,
}

/// A text with places for parameters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Template(Vec<Part>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Param(usize),
    /// `{+name}`: several parts of a path, with the slashes between them.
    Path(usize),
    /// The end of a window.
    End(usize),
}

impl Template {
    /// Reads `{name}`; `{{` and `}}` stand for braces.
    pub(crate) fn parse(text: &str, params: &[(String, Values)]) -> Result<Self> {
        Self::parse_or(text, params, |name| unknown_param(text, name, params))
    }

    /// Reads `{name}` as [`parse`](Self::parse), with another error for a name that is not known.
    pub(crate) fn parse_or(
        text: &str,
        params: &[(String, Values)],
        unknown: impl Fn(&str) -> Error,
    ) -> Result<Self> {
        let (mut parts, mut literal, mut rest) = (Vec::new(), String::new(), text);
        while let Some(at) = rest.find(['{', '}']) {
            literal.push_str(&rest[..at]);
            let brace = &rest[at..=at];
            rest = &rest[at + 1..];
            if let Some(behind) = rest.strip_prefix(brace) {
                literal.push_str(brace);
                rest = behind;
                continue;
            }
            let name = rest.split_once('}').filter(|_| brace == "{");
            let Some((name, behind)) = name else {
                return Err(Error::config(format!("`{text}` has a single `{brace}`"))
                    .help("write {name} for a parameter, and {{ or }} for a brace"));
            };
            let Some(part) = part(name, params) else {
                return Err(unknown(name));
            };
            if !literal.is_empty() {
                parts.push(Part::Text(std::mem::take(&mut literal)));
            }
            parts.push(part);
            rest = behind;
        }
        literal.push_str(rest);
        if !literal.is_empty() {
            parts.push(Part::Text(literal));
        }
        Ok(Self(parts))
    }

    /// Nothing but a parameter.
    pub(crate) fn whole(param: usize) -> Self {
        Self(vec![Part::Param(param)])
    }

    /// Reads `{name}` where it names a parameter; other braces stand for themselves, as JSON and headers may be full of
    /// them. `{{name}}` is the text `{name}`.
    pub(crate) fn loose(text: &str, params: &[(String, Values)]) -> Self {
        let (mut parts, mut literal, mut rest) = (Vec::new(), String::new(), text);
        while let Some(at) = rest.find('{') {
            let (before, behind) = rest.split_at(at);
            literal.push_str(before);
            let escaped = behind.starts_with("{{");
            let name = behind.trim_start_matches('{').split_once('}').map_or("", |(name, _)| name);
            let whole = if escaped { format!("{{{{{name}}}}}") } else { format!("{{{name}}}") };
            match part(name, params).filter(|_| behind.starts_with(&whole)) {
                Some(_) if escaped => literal.push_str(&whole[1..whole.len() - 1]),
                Some(part) => {
                    if !literal.is_empty() {
                        parts.push(Part::Text(std::mem::take(&mut literal)));
                    }
                    parts.push(part);
                }
                None => {
                    literal.push('{');
                    rest = &behind[1..];
                    continue;
                }
            }
            rest = &behind[whole.len()..];
        }
        literal.push_str(rest);
        if !literal.is_empty() {
            parts.push(Part::Text(literal));
        }
        Self(parts)
    }

    /// The parameter of which it is made alone.
    pub(crate) fn only_param(&self) -> Option<usize> {
        match self.0.as_slice() {
            [Part::Param(param)] => Some(*param),
            _ => None,
        }
    }

    /// The texts between parameters.
    pub(crate) fn literals(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|part| match part {
            Part::Text(text) => Some(text.as_str()),
            Part::Param(_) | Part::Path(_) | Part::End(_) => None,
        })
    }

    /// As a value of JSON: a number or boolean stays one when it is all there is.
    pub(crate) fn fill_json(&self, values: &[Value]) -> Json {
        let text = self.fill(values, false);
        match self.0.as_slice() {
            [Part::Param(index) | Part::End(index)] if values[*index].bare => {
                serde_json::from_str(&text).unwrap_or(Json::String(text))
            }
            _ => Json::String(text),
        }
    }

    /// As JSON text. A bare value that is all there is stands as it is, so that none of its digits is lost.
    pub(crate) fn write_json(&self, values: &[Value], out: &mut Vec<u8>) {
        match self.0.as_slice() {
            [Part::Param(index)] if values[*index].bare => {
                out.extend_from_slice(values[*index].text.as_bytes());
            }
            _ => out.extend_from_slice(Json::String(self.fill(values, false)).to_string().as_bytes()),
        }
    }

    pub(crate) fn params(&self) -> impl Iterator<Item = usize> {
        self.0.iter().filter_map(|part| match part {
            Part::Text(_) => None,
            Part::Param(index) | Part::Path(index) | Part::End(index) => Some(*index),
        })
    }

    pub(crate) fn fill(&self, values: &[Value], encoded: bool) -> String {
        let mut text = String::new();
        for part in &self.0 {
            match part {
                Part::Text(literal) => text.push_str(literal),
                Part::Param(index) if encoded => percent_encode(&values[*index].text, &mut text),
                Part::Path(index) if encoded => encode_path(&values[*index].text, &mut text),
                Part::End(index) if encoded => percent_encode(&values[*index].end, &mut text),
                Part::End(index) => text.push_str(&values[*index].end),
                Part::Param(index) | Part::Path(index) => text.push_str(&values[*index].text),
            }
        }
        text
    }
}

/// What `{name}` stands for; `{name.start}` and `{name.end}` where the values are windows.
fn part(name: &str, params: &[(String, Values)]) -> Option<Part> {
    let find = |name: &str| params.iter().position(|(known, _)| known == name);
    if let Some(param) = find(name) {
        return Some(Part::Param(param));
    }
    if let Some(param) = name.strip_prefix('+').and_then(find) {
        return Some(Part::Path(param));
    }
    let (name, edge) = name.rsplit_once('.')?;
    let param = find(name).filter(|param| matches!(params[*param].1, Values::Windows(_)))?;
    match edge {
        "start" => Some(Part::Param(param)),
        "end" => Some(Part::End(param)),
        _ => None,
    }
}

fn unknown_param(text: &str, name: &str, params: &[(String, Values)]) -> Error {
    let names: Vec<_> = params.iter().map(|(name, _)| format!("`{name}`")).collect();
    let help = if names.is_empty() {
        format!("set `params.{name}` to a value, a list or a range")
    } else {
        format!("`params` has {}", names.join(", "))
    };
    Error::config(format!("`{text}` names the parameter `{name}`, which `params` does not have")).help(help)
}

/// A value as several parts of a path.
fn encode_path(value: &str, text: &mut String) {
    for (index, part) in value.split('/').enumerate() {
        if index > 0 {
            text.push('/');
        }
        percent_encode(part, text);
    }
}

/// A value as a part of a path or query, whatever characters it holds.
fn percent_encode(value: &str, text: &mut String) {
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            text.push(char::from(byte));
        } else {
            // Writing into a string cannot fail.
            let _ = write!(text, "%{byte:02X}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_one_part_of_a_path_unless_it_may_be_several() {
        let params = [("repo".to_owned(), Values::List(Vec::new()))];
        let values = [Value { text: "a b/c?".to_owned(), ..Value::default() }];
        let fill = |text: &str| Template::parse(text, &params).unwrap().fill(&values, true);
        assert_eq!(fill("/repos/{repo}/x"), "/repos/a%20b%2Fc%3F/x");
        assert_eq!(fill("/repos/{+repo}/x"), "/repos/a%20b/c%3F/x");
    }

    #[test]
    fn only_known_names_are_filled_in_where_braces_are_common() {
        let params = [("id".to_owned(), Values::Range { from: 7, to: 7, step: 1 })];
        let values = [Value { text: "7".to_owned(), bare: true, ..Value::default() }];
        let fill = |text: &str| Template::loose(text, &params).fill_json(&values);
        assert_eq!(fill("{id}"), 7);
        assert_eq!(fill("a {id}{id} {ID} { id } {"), "a 77 {ID} { id } {");
        assert_eq!(fill("{{id}} {{x}} {{{id}"), "{id} {{x}} {{7");
    }
}
