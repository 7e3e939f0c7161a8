//! The JSON Schema of pipeline files, with the options of every connector that this binary holds.

use std::borrow::Cow;

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Map, Value, json};
use towpath_core::{Connector, Json};

use super::file::{ConnectionPart, ConnectionSettings, DeadLetterPart, PipelineFile, SinkPart, SourcePart};
use crate::connectors::CONNECTORS;

/// The schema of a pipeline file.
pub(crate) fn pipeline_schema() -> Json {
    let generator = SchemaSettings::draft2020_12().into_generator();
    let mut schema: Value = generator.into_root_schema_for::<PipelineFile>().into();
    // Values may come from the environment, and editors shall not complain about that.
    schema["$comment"] = "Every text may hold ${NAME}, ${NAME:-default} and ${file:PATH}.".into();
    schema
}

/// One direction of a connector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Source,
    Sink,
}

impl Side {
    /// Its name in a pipeline.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Source => "source",
            Self::Sink => "sink",
        }
    }

    /// The schema of a connector's options, if it has this side.
    pub(crate) fn schema(self, connector: &Connector) -> Option<Json> {
        let schema = match self {
            Self::Source => connector.source_entry()?.schema,
            Self::Sink => connector.sink_entry()?.schema,
        };
        Some(schema().into())
    }

    /// The names of a connector's options.
    pub(crate) fn option_names(self, connector: &Connector) -> Vec<String> {
        self.schema(connector).map(|schema| property_names(&schema, &schema)).unwrap_or_default()
    }
}

/// The names of the settings that every connection has.
pub(crate) fn setting_names() -> Vec<String> {
    let schema: Value = schemars::schema_for!(ConnectionSettings).into();
    property_names(&schema, &schema)
}

/// The properties of an object and of its alternatives.
fn property_names(schema: &Value, root: &Value) -> Vec<String> {
    let mut names: Vec<String> =
        schema["properties"].as_object().into_iter().flat_map(Map::keys).cloned().collect();
    if let Some(target) =
        schema["$ref"].as_str().and_then(|target| root.pointer(target.trim_start_matches('#')))
    {
        names.extend(property_names(target, root));
    }
    for keyword in ["allOf", "anyOf", "oneOf"] {
        for part in schema[keyword].as_array().into_iter().flatten() {
            names.extend(property_names(part, root));
        }
    }
    names
}

impl JsonSchema for ConnectionPart {
    fn schema_name() -> Cow<'static, str> {
        "Connection".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let parts = CONNECTORS.iter().map(|connector| {
            let mut object = object_of(generator, connector, &[Side::Source, Side::Sink]);
            allow_settings(generator, &mut object);
            name_connector(&mut object, connector);
            object["required"] = json!(["connector"]);
            object
        });
        any_of("A connection: a connector, its options, and limits.", &parts.collect::<Vec<_>>())
    }
}

impl JsonSchema for SourcePart {
    fn schema_name() -> Cow<'static, str> {
        "Source".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        any_of("A source: a connection or a connector, and options.", &side_schemas(generator, Side::Source))
    }
}

impl JsonSchema for SinkPart {
    fn schema_name() -> Cow<'static, str> {
        "Sink".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        any_of("A sink: a connection or a connector, and options.", &side_schemas(generator, Side::Sink))
    }
}

impl JsonSchema for DeadLetterPart {
    fn schema_name() -> Cow<'static, str> {
        "DeadLetter".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let sink = generator.subschema_for::<SinkPart>();
        json_schema!({
            "description": "A sink, or a path of files such as `dead/{stream}-{part}.ndjson`.",
            "anyOf": [{ "type": "string" }, sink],
        })
    }
}

fn any_of(description: &str, parts: &[Value]) -> Schema {
    json_schema!({ "description": description, "type": "object", "anyOf": parts })
}

/// For each connector that has the side: with its connector named in place, and through a connection.
fn side_schemas(generator: &mut SchemaGenerator, side: Side) -> Vec<Value> {
    let mut schemas = Vec::new();
    for connector in CONNECTORS {
        if side.schema(connector).is_none() {
            continue;
        }
        let mut inline = object_of(generator, connector, &[side]);
        let mut connected = inline.clone();
        allow_settings(generator, &mut inline);
        name_connector(&mut inline, connector);
        let required = inline["required"].as_array().cloned().unwrap_or_default();
        inline["required"] = [vec!["connector".into()], required].concat().into();
        schemas.push(inline);

        let text = json!({ "type": "string", "description": "The name of a connection." });
        connected["properties"]["connection"] = text;
        // The connection may hold what the connector requires.
        connected["required"] = json!(["connection"]);
        schemas.push(connected);
    }
    schemas
}

/// The options of a connector on these sides as one object, its definitions moved to those of the whole.
fn object_of(generator: &mut SchemaGenerator, connector: &Connector, sides: &[Side]) -> Value {
    let mut whole = json!({ "type": "object", "properties": {} });
    for side in sides {
        let Some(mut schema) = side.schema(connector) else { continue };
        let prefix = format!("{}.{}.", connector.name(), side.name());
        let definitions = schema.as_object_mut().and_then(|schema| schema.remove("$defs"));
        for (name, mut definition) in
            definitions.as_ref().and_then(Value::as_object).cloned().unwrap_or_default()
        {
            point_to(&prefix, &mut definition);
            generator.definitions_mut().insert(format!("{prefix}{name}"), definition);
        }
        point_to(&prefix, &mut schema);
        merge(&mut whole, schema);
    }
    whole
}

fn merge(whole: &mut Value, schema: Value) {
    let Value::Object(schema) = schema else { return };
    for (key, value) in schema {
        match (key.as_str(), value) {
            ("$schema" | "title" | "description", _) => {}
            ("properties", Value::Object(properties)) => {
                let known = whole["properties"].as_object_mut().expect("it begins with properties");
                for (name, property) in properties {
                    known.entry(name).or_insert(property);
                }
            }
            (_, value) => whole[key] = value,
        }
    }
}

/// Lets references point to the definitions under their new names.
fn point_to(prefix: &str, value: &mut Value) {
    match value {
        Value::Object(object) => {
            for (key, value) in object {
                match (key.as_str(), value) {
                    ("$ref", Value::String(target)) => {
                        *target = target.replace("#/$defs/", &format!("#/$defs/{prefix}"));
                    }
                    (_, value) => point_to(prefix, value),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| point_to(prefix, item)),
        _ => {}
    }
}

fn allow_settings(generator: &mut SchemaGenerator, object: &mut Value) {
    let mut settings: Value = ConnectionSettings::json_schema(generator).into();
    let properties = settings["properties"].take();
    merge(object, json!({ "properties": properties }));
}

fn name_connector(object: &mut Value, connector: &Connector) {
    object["properties"]["connector"] =
        json!({ "const": connector.name(), "description": connector.summary() });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reference_leads_to_a_definition() {
        fn check(value: &Value, root: &Value) {
            if let Some(target) = value["$ref"].as_str() {
                assert!(root.pointer(target.trim_start_matches('#')).is_some(), "{target}");
            }
            let children = value.as_object().into_iter().flat_map(Map::values);
            children.chain(value.as_array().into_iter().flatten()).for_each(|child| check(child, root));
        }
        let schema = pipeline_schema();
        check(&schema, &schema);
    }

    #[test]
    fn no_connector_has_an_option_with_the_name_of_a_setting() {
        let mut taken = setting_names();
        taken.extend(["connector".to_owned(), "connection".to_owned()]);
        for connector in CONNECTORS {
            for side in [Side::Source, Side::Sink] {
                let both: Vec<_> =
                    side.option_names(connector).into_iter().filter(|name| taken.contains(name)).collect();
                assert_eq!(both, [""; 0], "{} {}", connector.name(), side.name());
            }
        }
    }
}
