//! The incremental range: `after < field <= until`.

use bson::{Bson, Document, doc};
use towpath_core::{Context, CursorRange, HumanDuration, Json, Result, json_value};

use super::Shared;
use super::query::Part;
use super::relation::{Relation, documents};
use crate::config::{Lookback, MongodbSourceConfig};
use crate::convert::{cursor_types, cursor_value};
use crate::decode::decode;
use crate::errors::config as wrong;
use crate::schema::Kind;

/// The cursor's field and what its values are.
pub(super) struct CursorField<'a> {
    name: &'a str,
    kind: Kind,
    types: &'static [&'static str],
}

impl<'a> CursorField<'a> {
    /// The field, if the server can compare its values as the engine does.
    pub(super) fn of(relation: &Relation, name: &'a str) -> Option<Self> {
        let kind = relation.fields.kind(name)?.clone();
        let types = cursor_types(&kind)?;
        // In a filter, a dot would lead into a document.
        (!name.contains('.') && !name.starts_with('$')).then_some(Self { name, kind, types })
    }

    /// The condition of a range. Documents without such a value belong to the first run.
    pub(super) fn condition(
        &self,
        range: &CursorRange,
        config: &MongodbSourceConfig,
    ) -> Result<Option<Document>> {
        let until = range.until.as_ref().map(|until| self.value(until)).transpose()?;
        let Some(after) = self.after(range, config)? else {
            return Ok(until.map(|until| doc! { self.name: { "$not": { "$gt": until } } }));
        };
        let comparison = if reaches_back(config) { "$gte" } else { "$gt" };
        let mut comparisons = doc! { comparison: after };
        comparisons.extend(until.map(|until| ("$lte".to_owned(), until)));
        if !reaches_back(config) {
            return Ok(Some(doc! { self.name: comparisons }));
        }
        // Here the engine does not look again, and an array has items that fulfil it.
        Ok(Some(doc! { "$and": [
            { self.name: comparisons }, { self.name: { "$not": { "$type": "array" } } },
        ] }))
    }

    /// The value behind which the run reads, or with which it begins.
    pub(super) fn after(&self, range: &CursorRange, config: &MongodbSourceConfig) -> Result<Option<Bson>> {
        let Some(after) = &range.after else { return Ok(None) };
        let after = self.value(after)?;
        let Some(lookback) = config.lookback else { return Ok(Some(after)) };
        let earlier = earlier(&after, lookback);
        earlier.map(Some).ok_or_else(|| {
            wrong(format!("`lookback` does not go with the values of the field `{}`", self.name))
                .help("write a duration such as 10m for dates, timestamps and ids of the server's kind, and a number for numbers")
        })
    }

    fn value(&self, json: &Json) -> Result<Bson> {
        cursor_value(&self.kind, json).ok_or_else(|| {
            wrong(format!("the cursor value `{json}` does not fit the field `{}`", self.name))
                .help("`towpath state reset` loads the stream from its beginning")
        })
    }

    /// The greatest value that there is, in the form in which the engine has it.
    pub(super) async fn greatest(&self, shared: &Shared, cx: &Context) -> Result<Option<Json>> {
        let has_value = doc! { self.name: { "$type": self.types.to_vec() } };
        let read_concern = shared.snapshot.read_concern(shared, cx).await?;
        let part = Part { conditions: vec![has_value], limit: Some(1), read_concern, ..Part::default() };
        let mut command = shared.query.command(shared.collection()?, &part);
        command.insert("sort", doc! { self.name: -1 });
        command.insert("projection", doc! { self.name: 1 });
        command.remove("hint");
        let Some(document) = documents(shared, cx, command).await?.into_iter().next() else {
            return Ok(None);
        };
        let decoded = decode(&[document.as_bytes()], &shared.form.start(), &shared.form, "")?;
        let Some(column) = decoded.rows.column_by_name(self.name).filter(|column| column.len() == 1) else {
            return Ok(None);
        };
        json_value(column, 0).map(Some)
    }

    pub(super) fn is_id(&self) -> bool {
        self.name == "_id"
    }
}

/// Whether documents of the last run are read again.
pub(super) fn reaches_back(config: &MongodbSourceConfig) -> bool {
    config.cursor_inclusive || config.lookback.is_some()
}

/// What lies so far back before a value; `None` where that is no question.
fn earlier(value: &Bson, lookback: Lookback) -> Option<Bson> {
    Some(match (value, lookback) {
        (Bson::Int32(number), Lookback::Number(by)) => (i64::from(*number) - i64::from(by)).into(),
        (Bson::Int64(number), Lookback::Number(by)) => number.saturating_sub(by.into()).into(),
        (Bson::Double(number), Lookback::Number(by)) => (number - f64::from(by)).into(),
        (Bson::DateTime(moment), Lookback::Duration(by)) => {
            let by = i64::try_from(by.get().as_millis()).ok()?;
            bson::DateTime::from_millis(moment.timestamp_millis().saturating_sub(by)).into()
        }
        (Bson::Timestamp(moment), Lookback::Duration(by)) => {
            let time = moment.time.saturating_sub(seconds(by)?);
            Bson::Timestamp(bson::Timestamp { time, increment: 0 })
        }
        (Bson::ObjectId(id), Lookback::Duration(by)) => {
            let time = id.bytes().first_chunk().map(|time| u32::from_be_bytes(*time))?;
            let mut bytes = [0; 12];
            bytes[..4].copy_from_slice(&time.saturating_sub(seconds(by)?).to_be_bytes());
            bson::oid::ObjectId::from_bytes(bytes).into()
        }
        _ => return None,
    })
}

/// Whole seconds, rather one too many.
fn seconds(duration: HumanDuration) -> Option<u32> {
    let duration = duration.get();
    let more = u64::from(duration.subsec_nanos() > 0);
    u32::try_from(duration.as_secs().saturating_add(more)).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn back(value: impl Into<Bson>, by: &Json) -> Option<Bson> {
        earlier(&value.into(), serde_json::from_value(by.clone()).unwrap())
    }

    #[test]
    fn a_value_less_its_lookback_has_the_same_type() {
        assert_eq!(back(5_i64, &json!(7)), Some(Bson::Int64(-2)));
        assert_eq!(back(1.5, &json!(1)), Some(Bson::Double(0.5)));
        let moment = |seconds: i64| bson::DateTime::from_millis(seconds * 1000);
        assert_eq!(back(moment(100), &json!("1m")), Some(moment(40).into()));
        let stamp = |time, increment| Bson::Timestamp(bson::Timestamp { time, increment });
        assert_eq!(back(stamp(100, 7), &json!("1500ms")), Some(stamp(98, 0)));
        let id =
            |time: u8, rest: u8| bson::oid::ObjectId::from_bytes([0, 0, 0, time, rest, 0, 0, 0, 0, 0, 0, 1]);
        let Some(Bson::ObjectId(earlier)) = back(id(100, 9), &json!("1m")) else { panic!("it is an id") };
        assert_eq!(earlier.bytes(), [0, 0, 0, 40, 0, 0, 0, 0, 0, 0, 0, 0]);
    }

    #[test]
    fn numbers_are_no_durations_and_texts_have_nothing_before_them() {
        assert_eq!(back(5, &json!("1m")), None);
        assert_eq!(back(bson::DateTime::from_millis(0), &json!(1)), None);
        assert_eq!(back("a", &json!(1)), None);
    }
}
