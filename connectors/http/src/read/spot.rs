//! Where reading stands, as positions hold it.

use serde::{Deserialize, Serialize};
use towpath_core::{Error, Position, Result};

use super::crawl::Frontier;
use super::input::Document;
use super::job::JobSpot;
use crate::config::Pagination;
use crate::pagination::Place;

/// Where reading stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Spot {
    /// In a page.
    Page {
        /// Which.
        #[serde(flatten)]
        place: Place,
        /// How many of its records are behind us.
        #[serde(default, skip_serializing_if = "is_zero")]
        row: u64,
        /// The position of the format's reader within it, for pages that are no JSON.
        #[serde(default, skip_serializing_if = "is_start")]
        within: Position,
        /// How one page leads to the next, where the first answer has shown it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        found: Option<Box<Pagination>>,
    },
    /// In the result of a job.
    Job(JobSpot),
    /// In a page that links have led to.
    Crawl {
        /// What is still to be read, this page first.
        frontier: Frontier,
        /// How many of its records are behind us.
        #[serde(default, skip_serializing_if = "is_zero")]
        row: u64,
        /// The position of the reader within it.
        #[serde(default, skip_serializing_if = "is_start")]
        within: Position,
    },
    /// In an event stream, behind the event with this id.
    Events {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        last_event_id: Option<String>,
    },
    /// In a body that is streamed.
    Body {
        /// The position of the format's reader.
        at: Position,
        /// What it was.
        #[serde(flatten)]
        document: Document,
    },
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_zero(row: &u64) -> bool {
    *row == 0
}

fn is_start(position: &Position) -> bool {
    *position == Position::Start
}

impl Spot {
    /// At the beginning of a page.
    pub(crate) fn page(place: Place, found: Option<Box<Pagination>>) -> Self {
        Self::Page { place, row: 0, within: Position::Start, found }
    }

    /// The spot of a position; `None` for the beginning.
    pub(crate) fn of(position: Position) -> Result<Option<Self>> {
        match position {
            Position::Start | Position::End => Ok(None),
            Position::At(at) => serde_json::from_value(at).map(Some).map_err(|error| {
                Error::unsupported("this position was stored by another version")
                    .help("finish the run with that version, or `towpath state reset`")
                    .source(error)
            }),
        }
    }

    /// As a position.
    pub(crate) fn position(&self) -> Result<Position> {
        let at = serde_json::to_value(self);
        at.map(Position::At).map_err(|error| Error::unexpected("a position cannot be stored").source(error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pagination::{Key, Known};
    use serde_json::json;

    #[test]
    fn a_spot_survives_being_stored() {
        let place = Place { page: Key::Offset(20), index: 2, known: Some(Known { size: 10, end: 95 }) };
        let spots = [
            Spot::page(Place { page: Key::First, index: 0, known: None }, None),
            Spot::page(
                Place { page: Key::Number(2), index: 1, known: None },
                Some(Box::new(
                    serde_json::from_value(json!({"type": "page_number", "total": "$.n"})).unwrap(),
                )),
            ),
            Spot::Page { place, row: 5, within: Position::At(json!(77)), found: None },
            Spot::Body {
                at: Position::At(json!({"byte": 9})),
                document: Document { content_type: Some("text/csv".to_owned()), ..Document::default() },
            },
        ];
        for spot in spots {
            assert_eq!(Spot::of(spot.position().unwrap()).unwrap(), Some(spot));
        }
    }

    #[test]
    fn a_position_of_another_kind_is_refused() {
        let error = Spot::of(Position::At(json!({"line": 3}))).unwrap_err();
        assert_eq!(error.message(), "this position was stored by another version");
    }
}
