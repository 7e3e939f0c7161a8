//! What is read: a table, a view or a query, with its columns and its key.

use std::collections::HashMap;

use mysql_common::packets::Column;
use towpath_core::{Error, Result};
use towpath_sql::{Dialect, TableName};

use super::key::{KeyColumn, can_be_cut, can_be_key};
use crate::catalog::{Table, explain_missing_grant};
use crate::client::Client;
use crate::config::SplitBy;
use crate::errors::config;
use crate::sql::identifier;
use crate::types::source::{Declaration, SourceColumn, TypeOptions};

/// What a source reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Subject {
    Table(TableName),
    Query(String),
}

impl Subject {
    /// What stands behind `FROM`.
    fn from(&self) -> String {
        match self {
            Self::Table(name) => name.sql(Dialect::MySql),
            // A comment at the end of a query must not swallow the parenthesis.
            Self::Query(sql) => format!("(\n{sql}\n) AS towpath_query"),
        }
    }

    /// What people call it.
    pub(crate) fn label(&self) -> String {
        match self {
            Self::Table(name) => name.to_string(),
            Self::Query(_) => "query".to_owned(),
        }
    }
}

/// How rows are ordered and cut.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Split {
    pub(crate) columns: Vec<KeyColumn>,
    /// The index of a unique key, by which rows come in order and a read goes on.
    pub(crate) index: Option<String>,
}

/// What is read, with what the server knows of it.
#[derive(Debug)]
pub(crate) struct Relation {
    pub(crate) subject: Subject,
    pub(crate) columns: Vec<SourceColumn>,
    declarations: HashMap<String, Declaration>,
    pub(crate) split: Option<Split>,
    /// The server's estimate.
    pub(crate) rows: Option<u64>,
    options: TypeOptions,
}

impl Relation {
    pub(crate) async fn load(
        client: &mut Client,
        subject: &Subject,
        split_by: &SplitBy,
        options: TypeOptions,
    ) -> Result<Self> {
        let mut relation = Self {
            subject: subject.clone(),
            columns: Vec::new(),
            declarations: HashMap::new(),
            split: None,
            rows: None,
            options,
        };
        let table = match subject {
            Subject::Query(sql) => {
                let described = client.describe(sql).await?;
                relation.columns = relation.resolve(&described)?;
                None
            }
            Subject::Table(name) => {
                let table = Table::find(client, name).await?;
                relation.describe_table(client, &table).await?;
                Some(table)
            }
        };
        relation.check_columns()?;
        relation.split = relation.choose_split(split_by, table.as_ref())?;
        Ok(relation)
    }

    async fn describe_table(&mut self, client: &mut Client, table: &Table) -> Result<()> {
        self.rows = table.rows;
        self.declarations = table.declarations();
        let names = table.columns.iter().map(|column| column.name.as_str());
        let sql = format!("SELECT {} FROM {}", Dialect::MySql.identifiers(names), self.subject.from());
        let described = match client.describe(&sql).await {
            Ok(described) => described,
            Err(error) => return Err(explain_missing_grant(client, error, "SELECT", &table.name).await),
        };
        self.columns = self.resolve(&described)?;
        Ok(())
    }

    /// Columns as the server describes them, with their declarations.
    pub(crate) fn resolve(&self, described: &[Column]) -> Result<Vec<SourceColumn>> {
        let resolved = described.iter().map(|column| {
            SourceColumn::new(column, self.declarations.get(&*column.name_str()), self.options)
        });
        resolved.collect()
    }

    fn check_columns(&self) -> Result<()> {
        if self.columns.is_empty() {
            return Err(config("the query gives no rows").help("write a SELECT"));
        }
        let mut names: Vec<&str> = self.columns.iter().map(|column| column.name.as_str()).collect();
        names.sort_unstable();
        match names.windows(2).find(|pair| pair[0] == pair[1]) {
            None => Ok(()),
            Some(pair) => {
                Err(config(format!("two columns are called `{}`", pair[0])).help("name them apart with AS"))
            }
        }
    }

    /// The columns of these names, in the order of the table; all of them for `None`.
    pub(crate) fn wanted(&self, names: Option<&[String]>) -> Vec<&SourceColumn> {
        let is_wanted = |column: &&SourceColumn| names.is_none_or(|names| names.contains(&column.name));
        self.columns.iter().filter(is_wanted).collect()
    }

    /// A column by its name.
    pub(crate) fn column(&self, name: &str) -> Option<&SourceColumn> {
        self.columns.iter().find(|column| column.name == name)
    }

    fn choose_split(&self, split_by: &SplitBy, table: Option<&Table>) -> Result<Option<Split>> {
        match (split_by, table) {
            (SplitBy::None, _) | (SplitBy::Auto, None) => Ok(None),
            (SplitBy::Column(name), _) => self.split_by_column(name).map(Some),
            (SplitBy::Auto, Some(table)) => {
                let key = table
                    .keys
                    .iter()
                    .find_map(|key| self.key_columns(&key.columns).map(|columns| (key, columns)));
                match key {
                    Some((key, columns)) => Ok(Some(Split { columns, index: Some(key.index.clone()) })),
                    None => Err(self.no_key(table)),
                }
            }
        }
    }

    fn split_by_column(&self, name: &str) -> Result<Split> {
        let Some(column) = self.column(name) else {
            let names: Vec<&str> = self.columns.iter().map(|column| column.name.as_str()).collect();
            return Err(config(format!("`split_by` names no column: `{name}`"))
                .help(format!("there are {}", names.join(", "))));
        };
        if !can_be_cut(column.kind) {
            return Err(config(format!("a {} cannot be split by", column.type_name())).detail("column", name));
        }
        let column = KeyColumn { name: name.to_owned(), kind: column.kind };
        Ok(Split { columns: vec![column], index: None })
    }

    fn key_columns(&self, names: &[String]) -> Option<Vec<KeyColumn>> {
        let column = |name: &String| {
            let column = self.column(name).filter(|column| can_be_key(column.kind, column.type_name()))?;
            Some(KeyColumn { name: name.clone(), kind: column.kind })
        };
        names.iter().map(column).collect()
    }

    fn no_key(&self, table: &Table) -> Error {
        let what = if table.is_view { "the view has no key" } else { "the table has no usable key" };
        config(what).detail("table", self.subject.label()).help(
            "set `split_by: none` to read it in one piece that begins anew when it breaks off, or `split_by: COLUMN` to \
             read ranges of a column at once; a usable key is a primary key, or a unique key without nulls, of numbers, \
             texts, bytes or dates",
        )
    }

    /// The statement that reads these columns of the rows that meet all conditions.
    pub(crate) fn select(&self, statement: &Select<'_>) -> String {
        let is_whole =
            statement.columns.is_none() && statement.conditions.is_empty() && statement.limit.is_none();
        if let (Subject::Query(sql), true) = (&self.subject, is_whole) {
            return sql.clone();
        }
        let columns = match statement.columns {
            Some(columns) => Dialect::MySql.identifiers(columns.iter().map(String::as_str)),
            None => Dialect::MySql.identifiers(self.columns.iter().map(|column| column.name.as_str())),
        };
        let mut sql = format!("SELECT {columns} FROM {}", self.subject.from());
        if let Some(index) = statement.index {
            sql.push_str(" FORCE INDEX (");
            sql.push_str(&identifier(index));
            sql.push(')');
        }
        if !statement.conditions.is_empty() {
            let conditions: Vec<String> = statement.conditions.iter().map(|one| format!("({one})")).collect();
            sql.push_str(" WHERE ");
            sql.push_str(&conditions.join(" AND "));
        }
        if !statement.order.is_empty() {
            let order = statement.order.iter().map(|column| column.name.as_str());
            sql.push_str(" ORDER BY ");
            sql.push_str(&Dialect::MySql.identifiers(order));
        }
        if let Some(limit) = statement.limit {
            sql.push_str(" LIMIT ");
            sql.push_str(&limit.to_string());
        }
        sql
    }

    /// What stands behind `FROM`.
    pub(crate) fn from(&self) -> String {
        self.subject.from()
    }
}

/// The parts of a statement.
#[derive(Debug, Default)]
pub(crate) struct Select<'a> {
    pub(crate) columns: Option<&'a [String]>,
    pub(crate) index: Option<&'a str>,
    pub(crate) conditions: Vec<String>,
    pub(crate) order: &'a [KeyColumn],
    pub(crate) limit: Option<u64>,
}
