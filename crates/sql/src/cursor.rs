//! Reading by a cursor: what is new, as SQL.

use schemars::JsonSchema;
use serde::Deserialize;
use towpath_core::{CursorRange, HumanDuration, Json};

/// How a source reads by its cursor.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default)]
pub struct CursorOptions {
    /// Reads the rows with the greatest value of the last run again, for cursors that several rows may share. With
    /// `append` they come twice; use `merge`.
    pub cursor_inclusive: bool,
    /// Reads so far back behind the greatest value of the last run, for rows that come late: a duration such as `10m` for
    /// dates and times, a number for numbers. With `append` rows come twice; use `merge`.
    pub lookback: Option<Lookback>,
}

/// How far back.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Lookback {
    /// For numbers.
    Number(u64),
    /// For dates and times.
    Duration(HumanDuration),
}

/// The condition for `after < column <= until`, with what the options add. `None` where it is no restriction.
///
/// Rows without a value are read by the first run only: a later one cannot tell whether it has seen them. `literal` writes
/// a value of the cursor, and `earlier` what lies so far back before an expression.
pub fn cursor_condition(
    range: &CursorRange,
    options: &CursorOptions,
    column: &str,
    literal: impl Fn(&Json) -> String,
    earlier: impl Fn(String, Lookback) -> String,
) -> Option<String> {
    let until = range.until.as_ref().map(|until| format!("{column} <= {}", literal(until)));
    let Some(after) = &range.after else {
        return until.map(|until| format!("({until} OR {column} IS NULL)"));
    };
    let after = match options.lookback {
        None => literal(after),
        Some(lookback) => earlier(literal(after), lookback),
    };
    let comparison = if options.cursor_inclusive || options.lookback.is_some() { ">=" } else { ">" };
    let after = format!("{column} {comparison} {after}");
    Some(until.map_or(after.clone(), |until| format!("{after} AND {until}")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn sql(after: Option<Json>, until: Option<Json>, options: &Json) -> Option<String> {
        let options: CursorOptions = serde_json::from_value(options.clone()).unwrap();
        let earlier = |value: String, lookback: Lookback| match lookback {
            Lookback::Number(number) => format!("{value} - {number}"),
            Lookback::Duration(duration) => format!("{value} - {}s", duration.get().as_secs()),
        };
        cursor_condition(&CursorRange::new("id", after, until), &options, "id", Json::to_string, earlier)
    }

    #[test]
    fn the_first_run_takes_nulls_and_later_ones_do_not() {
        let plain = json!({});
        assert_eq!(sql(None, None, &plain), None);
        assert_eq!(sql(None, Some(json!(9)), &plain).unwrap(), "(id <= 9 OR id IS NULL)");
        assert_eq!(sql(Some(json!(5)), Some(json!(9)), &plain).unwrap(), "id > 5 AND id <= 9");
        assert_eq!(sql(Some(json!(5)), None, &plain).unwrap(), "id > 5");
    }

    #[test]
    fn inclusive_and_lookback_reach_further_back() {
        assert_eq!(sql(Some(json!(5)), None, &json!({"cursor_inclusive": true})).unwrap(), "id >= 5");
        assert_eq!(sql(Some(json!(5)), None, &json!({"lookback": 3})).unwrap(), "id >= 5 - 3");
        assert_eq!(sql(Some(json!(5)), None, &json!({"lookback": "2m"})).unwrap(), "id >= 5 - 120s");
    }
}
