//! How objects are written.

use schemars::JsonSchema;
use serde::Deserialize;
use towpath_core::{ByteSize, Error, Result};

use crate::extras::Appearance;

/// The least that stores take as a part of an upload, but for the last one.
const LEAST_PART: u64 = 5 << 20;

/// The most that stores take as a part.
const LARGEST_PART: u64 = 5 << 30;

/// How visible objects are remembered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Layout {
    /// A manifest beside the objects holds the checkpoint and the committed files.
    #[default]
    Manifest,
    /// There is nothing but the objects.
    Plain,
}

/// How uploads are made.
#[derive(Debug, Clone)]
pub struct UploadSettings {
    /// How many bytes a part has, but for the last one.
    pub part_size: ByteSize,
    /// How many parts of a stream are on their way at once.
    pub parts_in_flight: usize,
    /// What the objects say of themselves.
    pub appearance: Appearance,
    /// How they are remembered.
    pub layout: Layout,
}

impl UploadSettings {
    /// The size of parts unless the options say another: 8 MiB, so that a file of 80 GB has 10,000.
    pub fn default_part_size() -> ByteSize {
        ByteSize::mib(8)
    }

    /// How many parts are on their way at once unless the options say another number.
    pub fn default_parts_in_flight() -> usize {
        8
    }

    /// Whether the options go together.
    ///
    /// # Errors
    /// `Config` names the option that is wrong.
    pub fn check(&self) -> Result<()> {
        if !(LEAST_PART..=LARGEST_PART).contains(&self.part_size.bytes()) {
            return Err(Error::config(
                "`part_size` must be between 5 MiB and 5 GiB: stores take no other parts",
            ));
        }
        if self.parts_in_flight == 0 {
            return Err(Error::config("`parts_in_flight` must be above zero"));
        }
        Ok(())
    }
}
