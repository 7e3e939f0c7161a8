//! The incremental range: `after < field <= until`.

use bson::{Bson, Document, doc};
use towpath_core::{Context, CursorRange, Json, Result, json_value};

use super::Shared;
use super::query::Part;
use super::relation::{Relation, documents};
use crate::convert::{cursor_types, cursor_value};
use crate::decode::decode;
use crate::errors::config;
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
    pub(super) fn condition(&self, range: &CursorRange) -> Result<Option<Document>> {
        let value = |json: &Json| {
            cursor_value(&self.kind, json).ok_or_else(|| {
                config(format!("the cursor value `{json}` does not fit the field `{}`", self.name))
                    .help("`towpath state reset` loads the stream from its beginning")
            })
        };
        let until = range.until.as_ref().map(value).transpose()?;
        let Some(after) = &range.after else {
            return Ok(until.map(|until| doc! { self.name: { "$not": { "$gt": until } } }));
        };
        let mut comparisons = doc! { "$gt": value(after)? };
        comparisons.extend(until.map(|until| ("$lte".to_owned(), until)));
        Ok(Some(doc! { self.name: comparisons }))
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

    /// The range as bounds of the index of `_id`: the first is read by the filter only.
    pub(super) fn from(&self, range: &CursorRange) -> Option<Bson> {
        cursor_value(&self.kind, range.after.as_ref()?)
    }
}
