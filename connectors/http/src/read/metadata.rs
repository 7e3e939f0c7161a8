//! Columns that tell of the answer with which rows came.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

use arrow::array::{
    ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray, new_null_array,
};
use arrow_schema::{DataType, Field, Schema};
use serde::{Deserialize, Serialize};
use towpath_core::{Batch, Error, Result};

use crate::client::Answer;
use crate::config::{MetadataField, SourceConfig};

/// The columns that a stream gets.
#[derive(Debug, Default)]
pub(crate) struct Metadata {
    columns: Vec<(String, MetadataField)>,
}

/// What is known of an answer besides its body. It is stored where a body is read on later.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Facts {
    status: u16,
    url: String,
    /// In microseconds.
    fetched_at: i64,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    headers: BTreeMap<String, String>,
}

impl Metadata {
    /// Holds the columns against those that are declared.
    pub(crate) fn new(config: &SourceConfig) -> Result<Self> {
        let columns: Vec<_> =
            config.metadata.iter().map(|(name, field)| (name.clone(), field.clone())).collect();
        match columns.iter().find(|(name, _)| config.columns.get(name).is_some()) {
            Some((name, _)) => Err(Error::config(format!("`{name}` is both in `columns` and in `metadata`"))
                .help("give it another name in `metadata`")),
            None => Ok(Self { columns }),
        }
    }

    /// What is kept of an answer; `None` when nobody asks.
    pub(crate) fn facts(&self, answer: &Answer, shown: &str) -> Option<Facts> {
        if self.columns.is_empty() {
            return None;
        }
        let headers = self.columns.iter().filter_map(|(_, field)| match field {
            MetadataField::Header(name) => {
                let value = answer.headers.get(name)?;
                Some((name.clone(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
            }
            _ => None,
        });
        Some(Facts {
            status: answer.status.as_u16(),
            url: shown.to_owned(),
            fetched_at: micros(answer.at),
            headers: headers.collect(),
        })
    }

    /// Adds the columns to a batch of the page with this number.
    ///
    /// # Errors
    /// `DataInvalid` when the records have a field of the same name.
    pub(crate) fn add(&self, batch: &mut Batch, facts: Option<&Facts>, page: u64) -> Result<()> {
        let Some(facts) = facts else { return Ok(()) };
        let rows = batch.rows.num_rows();
        let (schema, mut arrays, _) = batch.rows.clone().into_parts();
        let mut fields: Vec<_> = schema.fields().iter().cloned().collect();
        for (name, field) in &self.columns {
            if schema.column_with_name(name).is_some() {
                return Err(Error::data(format!(
                    "the records have a field `{name}`, and so does `metadata`"
                ))
                .detail("url", &facts.url)
                .help("give the column another name in `metadata`"));
            }
            let array = facts.array(field, page, rows);
            fields.push(Arc::new(Field::new(name, array.data_type().clone(), true)));
            arrays.push(array);
        }
        let schema = Schema::new_with_metadata(fields, schema.metadata().clone());
        batch.rows = RecordBatch::try_new(Arc::new(schema), arrays)?;
        Ok(())
    }
}

impl Facts {
    /// Those of rows that came at another time than the head of their answer.
    pub(super) fn at(self, time: SystemTime) -> Self {
        Self { fetched_at: micros(time), ..self }
    }

    fn array(&self, field: &MetadataField, page: u64, rows: usize) -> ArrayRef {
        match field {
            MetadataField::Status => Arc::new(Int64Array::from_value(i64::from(self.status), rows)),
            MetadataField::Page => {
                Arc::new(Int64Array::from_value(i64::try_from(page).unwrap_or(i64::MAX), rows))
            }
            MetadataField::Url => texts(&self.url, rows),
            MetadataField::FetchedAt => {
                let times = TimestampMicrosecondArray::from_value(self.fetched_at, rows);
                Arc::new(times.with_timezone("UTC"))
            }
            MetadataField::Header(name) => match self.headers.get(name) {
                Some(value) => texts(value, rows),
                None => new_null_array(&DataType::Utf8, rows),
            },
        }
    }
}

fn micros(time: SystemTime) -> i64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

fn texts(text: &str, rows: usize) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(std::iter::repeat_n(text, rows)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_schema::TimeUnit;

    #[test]
    fn each_field_has_its_type() {
        let headers = BTreeMap::from([("etag".to_owned(), "\"a\"".to_owned())]);
        let facts = Facts { status: 200, url: "http://a/".to_owned(), fetched_at: 7, headers };
        let type_of = |field: &str| facts.array(&field.parse().unwrap(), 1, 2).data_type().clone();
        assert_eq!(type_of("status"), DataType::Int64);
        assert_eq!(type_of("page"), DataType::Int64);
        assert_eq!(type_of("url"), DataType::Utf8);
        assert_eq!(type_of("fetched_at"), DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())));
        assert_eq!(type_of("header:etag"), type_of("header:missing"));
        assert_eq!(facts.array(&"header:missing".parse().unwrap(), 1, 2).null_count(), 2);
    }
}
