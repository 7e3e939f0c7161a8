//! The pipeline's filter, as far as the server can apply it to send less.
//!
//! A document that might not compare as the first ones did is let through: with a value of another type, an array, or a
//! number that is none. Nothing here leaves out what the engine would keep.

use bson::{Bson, Document, doc};
use towpath_core::{Comparison, Json, Predicate};

use crate::schema::{Fields, Kind};

/// A condition that holds for every document for which the predicate does, and perhaps for more. `None` where that would
/// be no restriction.
pub(super) fn condition(predicate: &Predicate, fields: &Fields) -> Option<Document> {
    match predicate {
        Predicate::Compare { column, comparison, value } => {
            let field = Field::of(column, fields)?;
            let value = field.value(*comparison, value)?;
            Some(field.or_anything_else(doc! { operator(*comparison)?: value }))
        }
        Predicate::In { column, values } => {
            let field = Field::of(column, fields)?;
            let values: Option<Vec<Bson>> =
                values.iter().map(|value| field.value(Comparison::Equal, value)).collect();
            Some(field.or_anything_else(doc! { "$in": values? }))
        }
        // Missing or null, which is one in a column.
        Predicate::IsNull(column) => Some(doc! { Field::of(column, fields)?.name: Bson::Null }),
        Predicate::IsNotNull(column) => {
            let name = Field::of(column, fields)?.name;
            let present = doc! { name: { "$exists": true, "$not": { "$type": "null" } } };
            Some(doc! { "$or": [present, is_array(name)] })
        }
        Predicate::And(parts) => {
            let parts: Vec<_> = parts.iter().filter_map(|part| condition(part, fields)).collect();
            (!parts.is_empty()).then(|| doc! { "$and": parts })
        }
        Predicate::Or(parts) => {
            let parts: Option<Vec<_>> = parts.iter().map(|part| condition(part, fields)).collect();
            parts.filter(|parts| !parts.is_empty()).map(|parts| doc! { "$or": parts })
        }
    }
}

/// Bounds belong to what is asked for: a moment may be finer than a date can tell, and zero has two signs.
fn operator(comparison: Comparison) -> Option<&'static str> {
    match comparison {
        Comparison::Equal => Some("$eq"),
        Comparison::Less | Comparison::LessOrEqual => Some("$lte"),
        Comparison::Greater | Comparison::GreaterOrEqual => Some("$gte"),
        Comparison::NotEqual => None,
    }
}

/// The items of an array are compared each by itself.
fn is_array(name: &str) -> Document {
    doc! { name: { "$type": "array" } }
}

/// A field whose values have been of one kind so far.
struct Field<'a> {
    name: &'a str,
    kind: &'a Kind,
}

impl<'a> Field<'a> {
    fn of(name: &'a str, fields: &'a Fields) -> Option<Self> {
        let kind = fields.kind(name)?;
        // In a filter, a dot would lead into a document.
        let is_plain = !name.is_empty() && !name.contains('.') && !name.starts_with('$');
        // What a declared column makes of values is not the server's business.
        (is_plain && !matches!(kind, Kind::Declared(_) | Kind::Cast(_))).then_some(Self { name, kind })
    }

    /// The value as the server compares it.
    fn value(&self, comparison: Comparison, value: &Json) -> Option<Bson> {
        Some(match (self.kind, value) {
            (Kind::Int32 | Kind::Int64 | Kind::Double, Json::Number(number)) => match number.as_i64() {
                Some(whole) => whole.into(),
                None => number.as_f64()?.into(),
            },
            (Kind::Bool, Json::Bool(value)) => (*value).into(),
            // Texts that are equal are so under every collation; their order is not.
            (Kind::String, Json::String(text)) if comparison == Comparison::Equal => text.as_str().into(),
            (Kind::Date, Json::Object(_)) => {
                let day = value.get("date").and_then(Json::as_str).map(|day| format!("{day}T00:00:00Z"));
                let moment = day.or_else(|| value.get("timestamp")?.as_str().map(str::to_owned))?;
                bson::DateTime::parse_rfc3339_str(moment).ok()?.into()
            }
            _ => return None,
        })
    }

    /// The condition for values of the field's kind; all others are let through, apart from nulls.
    fn or_anything_else(&self, condition: Document) -> Document {
        let mut types = self.types();
        types.push("null");
        let other = doc! { self.name: { "$exists": true, "$not": { "$type": types } } };
        let mut any = vec![doc! { self.name: condition }, other, is_array(self.name)];
        if matches!(self.kind, Kind::Int32 | Kind::Int64 | Kind::Double) {
            // It is greater than all numbers for the engine, and less for the server.
            any.push(doc! { self.name: f64::NAN });
        }
        doc! { "$or": any }
    }

    fn types(&self) -> Vec<&'static str> {
        match self.kind {
            Kind::Int32 | Kind::Int64 | Kind::Double => vec!["int", "long", "double"],
            Kind::Bool => vec!["bool"],
            Kind::Date => vec!["date"],
            _ => vec!["string"],
        }
    }
}
