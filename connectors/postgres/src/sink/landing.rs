//! Where the rows of a load go, as it is kept between calls, and what a writer has staged.

use serde::{Deserialize, Serialize};
use towpath_core::{Begun, Error, Json, Result, Staged};
use towpath_sql::{Dialect, TableName};

use crate::types::Wire;

/// Where the rows of a load go.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Landing {
    /// The table of the stream.
    pub(super) table: TableName,
    /// For `replace`: the table that is built beside.
    pub(super) beside: Option<TableName>,
    /// Where each transaction that puts rows beside notes its number.
    pub(super) ledger: Option<TableName>,
    /// Whether writers put rows straight into the table beside.
    pub(super) direct: bool,
    /// The columns of rows that come, in their order.
    pub(super) columns: Vec<LandingColumn>,
}

/// A column of the rows that come.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct LandingColumn {
    pub(super) name: String,
    /// The type of the target's column.
    pub(super) type_name: String,
    /// The type that staged text is cast to. Length and precision count when it lands, so that nothing is cut.
    pub(super) cast: String,
    /// `None` where it goes as text, which the server casts.
    pub(super) wire: Option<Wire>,
    /// Whether the text is that of an array or a composite.
    pub(super) literal: bool,
    /// Whether the target has it. A column that only tells operations is staged and goes no further.
    pub(super) lands: bool,
}

impl LandingColumn {
    pub(super) fn quoted(&self) -> String {
        Dialect::Postgres.identifier(&self.name)
    }

    /// The type of the column in a staging table.
    pub(super) fn staged_type(&self) -> &str {
        if self.wire.is_some() { &self.type_name } else { "text" }
    }

    /// The value of a staging table as the target wants it.
    pub(super) fn staged_value(&self) -> String {
        if self.wire.is_some() { self.quoted() } else { format!("{}::{}", self.quoted(), self.cast) }
    }

    pub(super) fn wire(&self) -> Wire {
        self.wire.clone().unwrap_or(if self.literal { Wire::Literal } else { Wire::Text })
    }
}

impl Landing {
    /// The one that `evolve` left.
    pub(super) fn of(begun: &Begun) -> Result<Self> {
        serde_json::from_value(begun.state.clone()).map_err(|error| {
            Error::unexpected("the state of a load cannot be read").connector(crate::NAME).source(error)
        })
    }

    pub(super) fn to_json(&self) -> Result<Json> {
        serde_json::to_value(self).map_err(|error| {
            Error::unexpected("the state of a load cannot be written").connector(crate::NAME).source(error)
        })
    }

    /// The columns that the target has.
    pub(super) fn landing_columns(&self) -> impl Iterator<Item = &LandingColumn> {
        self.columns.iter().filter(|column| column.lands)
    }

    /// The part of it that a staging table with these columns has. What changed its type since is cast.
    pub(super) fn staged(&self, columns: &[(String, String)]) -> Self {
        let column = |(name, staged): &(String, String)| {
            let mut column = self.columns.iter().find(|column| column.name == *name)?.clone();
            if *staged != column.type_name {
                column.wire = None;
            }
            Some(column)
        };
        Self { columns: columns.iter().filter_map(column).collect(), ..self.clone() }
    }

    /// The names of those, quoted, with commas between.
    pub(super) fn names(&self) -> String {
        self.landing_columns().map(LandingColumn::quoted).collect::<Vec<_>>().join(", ")
    }

    /// The values of those in a staging table, with commas between.
    pub(super) fn values(&self) -> String {
        self.landing_columns().map(LandingColumn::staged_value).collect::<Vec<_>>().join(", ")
    }
}

/// What a writer has staged.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Receipt {
    /// Rows in a table of their own, and its columns, by name and type. The target may have got others since.
    Table { table: TableName, columns: Vec<(String, String)> },
    /// Rows in the table beside, which these transactions put there.
    Transactions(Vec<String>),
    /// No rows.
    Nothing,
}

impl Receipt {
    pub(super) fn of(staged: &Staged) -> Result<Self> {
        if staged.version != 1 {
            let text = format!("version {} of a receipt is not known", staged.version);
            return Err(Error::unsupported(text).connector(crate::NAME));
        }
        serde_json::from_value(staged.payload.clone())
            .map_err(|error| Error::data("a receipt cannot be read").connector(crate::NAME).source(error))
    }

    pub(super) fn to_json(&self) -> Result<Json> {
        serde_json::to_value(self).map_err(|error| {
            Error::unexpected("a receipt cannot be written").connector(crate::NAME).source(error)
        })
    }
}
