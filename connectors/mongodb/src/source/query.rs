//! The commands that read.

use bson::{Bson, Document, doc};
use towpath_core::{Json, Result};

use crate::config::MongodbSourceConfig;
use crate::convert::document;

/// What is asked, apart from ranges and moments.
#[derive(Debug, Clone, Default)]
pub(super) struct Query {
    filter: Document,
    projection: Option<Document>,
    sort: Option<Document>,
    hint: Option<Bson>,
    collation: Option<Document>,
    pipeline: Option<Vec<Document>>,
    max_time: Option<i64>,
}

/// Which part of it, in which way.
#[derive(Debug, Clone, Default)]
pub(super) struct Part {
    /// Conditions beside the filter.
    pub(super) conditions: Vec<Document>,
    /// The columns that are wanted; `None` for all.
    pub(super) columns: Option<Vec<String>>,
    /// Along the index of `_id`, from this key on and up to that one, the latter not included.
    pub(super) along_id: Option<(Option<Bson>, Option<Bson>)>,
    /// In the order of `_id`, by whichever index the server finds best.
    pub(super) by_id: bool,
    /// Along the records.
    pub(super) records: Option<Records>,
    pub(super) limit: Option<i64>,
    pub(super) batch_size: Option<u32>,
    pub(super) read_concern: Option<Document>,
}

/// From where on along the records.
#[derive(Debug, Clone, Default)]
pub(super) struct Records {
    /// Behind this one.
    pub(super) behind: Option<i64>,
    /// And so many more.
    pub(super) skip: i64,
}

impl Query {
    pub(super) fn new(config: &MongodbSourceConfig) -> Result<Self> {
        let read = |option: &str, json: &Option<serde_json::Map<String, Json>>| {
            json.as_ref().map(|json| document(option, json)).transpose()
        };
        let hint = match &config.hint {
            Some(Json::Object(keys)) => Some(Bson::Document(document("hint", keys)?)),
            Some(Json::String(name)) => Some(Bson::String(name.clone())),
            _ => None,
        };
        let stages =
            |stages: &Vec<_>| stages.iter().map(|stage| document("pipeline", stage)).collect::<Result<_>>();
        Ok(Self {
            filter: read("filter", &config.filter)?.unwrap_or_default(),
            projection: read("projection", &config.projection)?,
            sort: read("sort", &config.sort)?,
            collation: read("collation", &config.collation)?,
            pipeline: config.pipeline.as_ref().map(stages).transpose()?,
            max_time: config.max_time.map(|time| i64::try_from(time.get().as_millis()).unwrap_or(i64::MAX)),
            hint,
        })
    }

    pub(super) fn is_pipeline(&self) -> bool {
        self.pipeline.is_some()
    }

    /// Whether a column holds what the field of its name does.
    pub(super) fn gives_fields_as_they_are(&self) -> bool {
        self.pipeline.is_none() && self.projection.is_none()
    }

    pub(super) fn has_filter(&self) -> bool {
        !self.filter.is_empty()
    }

    /// Whether `_id` is read only for its own sake, because nobody asked for it.
    pub(super) fn leaves_id_out(&self) -> bool {
        let id = self.projection.as_ref().and_then(|projection| projection.get("_id"));
        id.is_some_and(|id| {
            matches!(id, Bson::Boolean(false) | Bson::Int32(0) | Bson::Int64(0)) || *id == Bson::Double(0.0)
        })
    }

    /// The command that reads a part.
    pub(super) fn command(&self, collection: &str, part: &Part) -> Document {
        let mut command = match &self.pipeline {
            None => self.find(collection, part),
            Some(stages) => self.aggregate(collection, stages, part),
        };
        let options: [(&str, Option<Bson>); 3] = [
            ("collation", self.collation.clone().map(Bson::from)),
            ("maxTimeMS", self.max_time.map(Bson::from)),
            ("readConcern", part.read_concern.clone().map(Bson::from)),
        ];
        command.extend(options.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))));
        command
    }

    fn find(&self, collection: &str, part: &Part) -> Document {
        let mut command = doc! { "find": collection, "filter": all_of(&self.filter, &part.conditions) };
        command.extend(self.projection(part).map(|projection| ("projection".to_owned(), projection.into())));
        command.extend(part.limit.map(|limit| ("limit".to_owned(), limit.into())));
        command.extend(part.batch_size.map(|size| ("batchSize".to_owned(), i64::from(size).into())));
        if let Some(records) = &part.records {
            command.extend(super::natural::along(records.behind));
            command.extend((records.skip > 0).then(|| ("skip".to_owned(), records.skip.into())));
        } else if let Some((from, to)) = &part.along_id {
            command.extend(doc! { "sort": { "_id": 1 }, "hint": { "_id": 1 } });
            for (name, bound) in [("min", from), ("max", to)] {
                command.extend(bound.clone().map(|bound| (name.to_owned(), doc! { "_id": bound }.into())));
            }
        } else if part.by_id {
            command.extend(doc! { "sort": { "_id": 1 }, "allowDiskUse": true });
        } else {
            if let Some(sort) = &self.sort {
                command.extend(doc! { "sort": sort.clone(), "allowDiskUse": true });
            }
            command.extend(self.hint.clone().map(|hint| ("hint".to_owned(), hint)));
        }
        command
    }

    fn aggregate(&self, collection: &str, stages: &[Document], part: &Part) -> Document {
        let mut pipeline: Vec<Document> = Vec::new();
        if !part.conditions.is_empty() {
            pipeline.push(doc! { "$match": all_of(&Document::new(), &part.conditions) });
        }
        pipeline.extend(stages.iter().cloned());
        pipeline.extend(part.limit.map(|limit| doc! { "$limit": limit }));
        let mut cursor = Document::new();
        cursor.extend(part.batch_size.map(|size| ("batchSize".to_owned(), i64::from(size).into())));
        let mut command =
            doc! { "aggregate": collection, "pipeline": pipeline, "cursor": cursor, "allowDiskUse": true };
        command.extend(self.hint.clone().map(|hint| ("hint".to_owned(), hint)));
        command
    }

    /// What is sent of each document: what people ask for, else the columns that the pipeline needs.
    fn projection(&self, part: &Part) -> Option<Document> {
        if let Some(projection) = &self.projection {
            let mut projection = projection.clone();
            if (part.along_id.is_some() || part.by_id || part.records.is_some()) && self.leaves_id_out() {
                projection.remove("_id");
                // Without another field it would leave everything out.
                if projection.is_empty() {
                    return None;
                }
            }
            return Some(projection);
        }
        let columns = part.columns.as_ref()?;
        // A name with a dot or a dollar means something else in a projection.
        if columns.is_empty() || columns.iter().any(|name| name.is_empty() || name.contains(['.', '$'])) {
            return None;
        }
        Some(columns.iter().map(|name| (name.clone(), Bson::from(1))).collect())
    }

    /// The command that reads some documents for their columns: the first ones, or some at random.
    pub(super) fn sample(&self, collection: &str, count: u32, at_random: bool) -> Document {
        let count = i64::from(count);
        if !at_random {
            return self.command(collection, &Part { limit: Some(count), ..Part::default() });
        }
        let mut pipeline = vec![doc! { "$sample": { "size": count } }];
        pipeline.extend(self.projection.clone().map(|projection| doc! { "$project": projection }));
        let mut command = doc! { "aggregate": collection, "pipeline": pipeline, "cursor": {} };
        command.extend(self.max_time.map(|time| ("maxTimeMS".to_owned(), time.into())));
        command
    }

    /// What documents that are looked at for their columns are found with, whatever finds them.
    pub(super) fn for_samples(&self) -> Document {
        let projection =
            self.projection.clone().map(|projection| ("projection".to_owned(), projection.into()));
        let time = self.max_time.map(|time| ("maxTimeMS".to_owned(), time.into()));
        projection.into_iter().chain(time).collect()
    }
}

/// All of these conditions.
fn all_of(filter: &Document, conditions: &[Document]) -> Document {
    let all = std::iter::once(filter).chain(conditions).filter(|condition| !condition.is_empty());
    let mut all: Vec<Document> = all.cloned().collect();
    match all.len() {
        0 => Document::new(),
        1 => all.remove(0),
        _ => doc! { "$and": all },
    }
}

/// The condition that the value of a field lies in a range, in the order of all types.
pub(super) fn within(field: &str, from: Option<&Bson>, to: Option<&Bson>) -> Option<Document> {
    let path = format!("${field}");
    let bounds = [("$gte", from), ("$lt", to)];
    let comparisons: Vec<Document> = bounds
        .into_iter()
        .filter_map(|(comparison, bound)| Some(doc! { comparison: [&path, { "$literal": bound?.clone() }] }))
        .collect();
    (!comparisons.is_empty()).then(|| doc! { "$expr": { "$and": comparisons } })
}

/// The condition that the id lies behind this one, in the order of all types.
pub(super) fn behind(id: &Bson) -> Document {
    doc! { "$expr": { "$gt": ["$_id", { "$literal": id.clone() }] } }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_of_ids_is_told_by_bounds_of_the_index() {
        let query = Query { filter: doc! { "a": 1 }, ..Query::default() };
        let part = Part {
            along_id: Some((Some(5.into()), None)),
            conditions: vec![doc! { "_id": { "$ne": 5 } }],
            ..Part::default()
        };
        assert_eq!(
            query.command("c", &part),
            doc! {
                "find": "c", "filter": { "$and": [{ "a": 1 }, { "_id": { "$ne": 5 } }] },
                "sort": { "_id": 1 }, "hint": { "_id": 1 }, "min": { "_id": 5 },
            }
        );
    }

    #[test]
    fn a_position_needs_the_id_even_if_nobody_wants_it() {
        let query = Query { projection: Some(doc! { "_id": 0, "blob": 0 }), ..Query::default() };
        let along = Part { along_id: Some((None, None)), ..Part::default() };
        assert!(query.leaves_id_out());
        assert_eq!(query.command("c", &along).get_document("projection").unwrap(), &doc! { "blob": 0 });
        assert_eq!(
            query.command("c", &Part::default()).get_document("projection").unwrap(),
            &doc! { "_id": 0, "blob": 0 }
        );
    }

    #[test]
    fn stages_come_behind_the_range_and_before_the_limit() {
        let query = Query { pipeline: Some(vec![doc! { "$unwind": "$a" }]), ..Query::default() };
        let part = Part {
            conditions: within("k", Some(&1.into()), Some(&9.into())).into_iter().collect(),
            limit: Some(3),
            ..Part::default()
        };
        let command = query.command("c", &part);
        let expected = Bson::from(vec![
            doc! { "$match": { "$expr": { "$and": [{ "$gte": ["$k", { "$literal": 1 }] }, { "$lt": ["$k", { "$literal": 9 }] }] } } },
            doc! { "$unwind": "$a" },
            doc! { "$limit": 3_i64 },
        ]);
        assert_eq!(command.get("pipeline"), Some(&expected));
    }
}
