//! What a load remembers between its steps. It may cross a process, so it is JSON in the contract's types.

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use towpath_core::{Begun, Error, Json, Result, Staged};

use crate::encode::EncodedColumn;
use crate::types::target::TargetType;

/// The sink's own part of a begun load.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct State {
    /// How rows are staged; `None` before the columns are known.
    pub(super) staging: Option<Staging>,
}

/// How rows are staged.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Staging {
    pub(super) place: Place,
    pub(super) columns: Vec<StagedColumn>,
    /// The column that says what became of a row, if there is one.
    pub(super) operation: Option<String>,
    /// Whether by `LOAD DATA`.
    pub(super) by_load_data: bool,
    /// The longest statement that the server takes.
    pub(super) longest_statement: usize,
}

/// Where staged rows are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Place {
    /// Each writer has a table of its own.
    Parts,
    /// All writers share the table that will take the target's place.
    Beside,
}

/// A column of the target.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct StagedColumn {
    pub(super) name: String,
    /// As the server writes it.
    pub(super) type_name: String,
    pub(super) character_set: Option<String>,
    pub(super) collation: Option<String>,
    pub(super) required: bool,
    pub(super) is_key: bool,
}

impl StagedColumn {
    pub(super) fn encoded(&self) -> EncodedColumn {
        EncodedColumn {
            name: self.name.clone(),
            target: TargetType::from_catalog(&self.type_name),
            required: self.required,
            is_key: self.is_key,
        }
    }
}

/// What a writer has staged.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Receipt {
    pub(super) place: Place,
    /// The names of the columns, for a table of the writer's own: a later one may have more.
    pub(super) columns: Vec<String>,
    /// Whether rows say that their keys were deleted.
    pub(super) has_deletes: bool,
}

impl State {
    pub(super) fn of(begun: &Begun) -> Result<Self> {
        read(&begun.state)
    }

    pub(super) fn json(&self) -> Result<Json> {
        write(self)
    }
}

impl Receipt {
    pub(super) fn of(staged: &Staged) -> Result<Self> {
        read(&staged.payload)
    }

    pub(super) fn json(&self) -> Result<Json> {
        write(self)
    }
}

fn read<T: DeserializeOwned>(json: &Json) -> Result<T> {
    serde_json::from_value(json.clone()).map_err(|error| {
        Error::unexpected("what a load remembers was written by another version")
            .connector(crate::NAME)
            .source(error)
            .help("run again with one version of towpath")
    })
}

fn write(value: &impl Serialize) -> Result<Json> {
    serde_json::to_value(value)
        .map_err(|error| Error::unexpected("what a load remembers is no JSON").source(error))
}
