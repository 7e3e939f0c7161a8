//! The options of a connector, told from their JSON Schema.

use std::collections::BTreeSet;

use serde_json::Value;

use super::table::Table;

/// How deep options are listed.
const MAX_DEPTH: usize = 3;

/// A table of every option: the inner ones by their paths.
pub(crate) fn options_table(schema: &Value) -> Table {
    let mut table = Table::new(["option", "type", "default", ""]).wrap_last();
    let mut reader = Reader { root: schema, table: &mut table };
    reader.object(schema, "", 0);
    table
}

struct Reader<'a> {
    root: &'a Value,
    table: &'a mut Table,
}

impl<'a> Reader<'a> {
    fn object(&mut self, schema: &'a Value, path: &str, depth: usize) {
        let mut known = BTreeSet::new();
        for part in self.shapes(schema) {
            let required: Vec<_> =
                part["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
            for (name, property) in part["properties"].as_object().into_iter().flatten() {
                if known.insert(name.clone()) {
                    let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                    self.option(property, &path, required.contains(&name.as_str()), depth);
                }
            }
        }
    }

    fn option(&mut self, schema: &'a Value, path: &str, required: bool, depth: usize) {
        let default = match &schema["default"] {
            Value::Null if required => "required".to_owned(),
            Value::Null => String::new(),
            value => plain(value),
        };
        let text = schema["description"].as_str().or_else(|| self.target(schema)["description"].as_str());
        let text = text.unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ");
        self.table.row([path.to_owned(), self.types(schema).join(" or "), default, text]);
        if depth + 1 < MAX_DEPTH {
            self.object(schema, path, depth + 1);
        }
    }

    /// The schema itself, or what it refers to.
    fn target(&self, schema: &'a Value) -> &'a Value {
        let pointer = schema["$ref"].as_str().map(|target| target.trim_start_matches('#'));
        pointer.and_then(|pointer| self.root.pointer(pointer)).unwrap_or(schema)
    }

    /// All shapes that a value may have.
    fn shapes(&self, schema: &'a Value) -> Vec<&'a Value> {
        let schema = self.target(schema);
        let parts =
            ["allOf", "anyOf", "oneOf"].into_iter().filter_map(|key| schema[key].as_array()).flatten();
        let inner: Vec<_> = parts.flat_map(|part| self.shapes(part)).collect();
        std::iter::once(schema).chain(inner).collect()
    }

    fn types(&self, schema: &'a Value) -> Vec<String> {
        let mut types = Vec::new();
        for shape in self.shapes(schema) {
            let values = shape["enum"].as_array().into_iter().flatten().chain(shape.get("const"));
            let values: Vec<_> = values.map(plain).collect();
            let names = if values.is_empty() { self.type_names(shape) } else { values };
            types.extend(names.into_iter().filter(|name| name != "null"));
        }
        types.dedup();
        types
    }

    fn type_names(&self, shape: &'a Value) -> Vec<String> {
        let names = match &shape["type"] {
            Value::String(name) => vec![name.as_str()],
            Value::Array(names) => names.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        };
        let name = |name: &str| match name {
            "array" => format!("list of {}", self.types(&shape["items"]).join(" or ")),
            "object" if shape["additionalProperties"].is_object() => {
                format!("map of {}", self.types(&shape["additionalProperties"]).join(" or "))
            }
            "object" => "map".to_owned(),
            other => other.to_owned(),
        };
        names.into_iter().map(name).collect()
    }
}

/// A value as a pipeline writes it.
fn plain(value: &Value) -> String {
    match value {
        Value::String(text) if !text.is_empty() => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::paint::Paint;
    use super::*;

    #[test]
    fn every_option_is_listed_with_type_default_and_text() {
        let schema = json!({
            "properties": {
                "path": {"type": "string", "description": "Which files."},
                "limit": {"type": ["integer", "null"], "default": 3},
                "headers": {"type": "object", "additionalProperties": {"type": "string"}},
                "auth": {"anyOf": [{"$ref": "#/$defs/Auth"}, {"type": "null"}]},
            },
            "required": ["path"],
            "$defs": {"Auth": {"description": "Who asks.", "type": "object", "oneOf": [
                {"properties": {"type": {"const": "bearer"}, "token": {"type": "string"}}, "required": ["token"]},
            ]}},
        });
        let expected = "\
option      type           default
path        string         required  Which files.
limit       integer        3
headers     map of string
auth        map
auth.type   bearer
auth.token  string         required
";
        assert_eq!(options_table(&schema).render(None, Paint::none()), expected);
    }
}
