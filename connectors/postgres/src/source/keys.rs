//! Keys of rows, as the server reads them.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{Date32Type, TimestampMicrosecondType};
use arrow_schema::DataType;
use towpath_core::{Json, Result, json_value};

use super::schema_of;
use crate::decode::decode;
use crate::types::Column;
use crate::wire::Frames;

const DAY: i64 = 86_400_000_000;

/// The value of a key as the server reads it. Infinities, and years before the first or behind 9999, have no other text.
pub(super) fn key_value(keys: &ArrayRef, row: usize) -> Result<Json> {
    if let Some(keys) = keys.as_primitive_opt::<Date32Type>() {
        return Ok(match keys.value(row) {
            i32::MIN => "-infinity".into(),
            i32::MAX => "infinity".into(),
            days => date(days.into(), "").into(),
        });
    }
    let Some(moments) = keys.as_primitive_opt::<TimestampMicrosecondType>() else {
        return json_value(keys, row);
    };
    let has_zone = matches!(keys.data_type(), DataType::Timestamp(_, Some(_)));
    Ok(match moments.value(row) {
        i64::MIN => "-infinity".into(),
        i64::MAX => "infinity".into(),
        moment => timestamp(moment, has_zone).into(),
    })
}

fn timestamp(moment: i64, has_zone: bool) -> String {
    let time = moment.rem_euclid(DAY);
    let (seconds, microseconds) = (time / 1_000_000, time % 1_000_000);
    let (hours, minutes) = (seconds / 3_600, seconds / 60 % 60);
    let zone = if has_zone { "+00" } else { "" };
    let time = format!(" {hours:02}:{minutes:02}:{:02}.{microseconds:06}{zone}", seconds % 60);
    date(moment.div_euclid(DAY), &time)
}

/// A day, counted from 1970, with the time behind it, and behind both the era.
///
/// The arithmetic is that of <https://howardhinnant.github.io/date_algorithms.html#civil_from_days>.
fn date(days: i64, time: &str) -> String {
    let days = days + 719_468;
    let (era, of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    // There is no year zero: before 1 comes 1 BC.
    let (year, era) = if year > 0 { (year, "") } else { (1 - year, " BC") };
    format!("{year:04}-{month:02}-{day:02}{time}{era}")
}

/// The keys of the first and the last of some rows, whether they were rejected or not. `None` where the key itself has no
/// place in its column.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Ends {
    pub(super) first: Option<Json>,
    pub(super) last: Option<Json>,
}

impl Ends {
    /// Those of these rows, whose key is this column.
    pub(super) fn of(rows: &[Frames], column: &Column, index: usize) -> Result<Self> {
        let mut with_rows = rows.iter().flat_map(Frames::messages).filter(|message| is_row(message));
        let first = with_rows.next();
        let last = with_rows.last().or(first);
        let key = |row: Option<&[u8]>| {
            let Some(row) = row.and_then(|row| key_row(row, index)) else { return Ok(None) };
            let columns = [column.clone()];
            let decoded = decode(&columns, &schema_of(&columns), &[Frames::from(&*row)], "key")?;
            let keys: &Arc<dyn Array> = decoded.rows.column(0);
            if keys.is_empty() || keys.is_null(0) { Ok(None) } else { key_value(keys, 0).map(Some) }
        };
        Ok(Self { first: key(first)?, last: key(last)? })
    }
}

/// Whether a message holds a row, and not what stands behind the last one.
fn is_row(message: &[u8]) -> bool {
    message.first_chunk::<2>().is_some_and(|count| i16::from_be_bytes(*count) >= 0)
}

/// A row with one of its fields alone. The server sends a message for each.
fn key_row(message: &[u8], index: usize) -> Option<Vec<u8>> {
    let (count, mut rest) = message.split_first_chunk::<2>()?;
    if usize::try_from(i16::from_be_bytes(*count)).ok()? <= index {
        return None;
    }
    for _ in 0..index {
        let (length, behind) = rest.split_first_chunk::<4>()?;
        let length = usize::try_from(i32::from_be_bytes(*length)).unwrap_or(0);
        rest = behind.get(length..)?;
    }
    let length = usize::try_from(i32::from_be_bytes(*rest.first_chunk::<4>()?)).unwrap_or(0);
    let field = rest.get(..4 + length)?;
    Some([&1_i16.to_be_bytes(), field].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_of_every_era_are_written_as_the_server_reads_them() {
        for (days, expected) in [
            (0, "1970-01-01"),
            (-1, "1969-12-31"),
            (11_016, "2000-02-29"),
            (-719_162, "0001-01-01"),
            (-719_163, "0001-12-31 BC"),
            (-735_160, "0044-03-15 BC"),
            (2_932_897, "10000-01-01"),
            (-2_440_588, "4714-11-24 BC"),
        ] {
            assert_eq!(date(days, ""), expected, "{days}");
        }
    }

    #[test]
    fn moments_have_their_time_in_front_of_the_era() {
        assert_eq!(timestamp(-1, true), "1969-12-31 23:59:59.999999+00");
        assert_eq!(timestamp(-719_163 * DAY + 3_723_000_004, false), "0001-12-31 01:02:03.000004 BC");
    }

    #[test]
    fn one_field_is_taken_out_of_a_row() {
        let row = [0, 3, 0, 0, 0, 1, 7, 255, 255, 255, 255, 0, 0, 0, 2, 8, 9];
        assert_eq!(key_row(&row, 0).unwrap()[..], [0, 1, 0, 0, 0, 1, 7]);
        assert_eq!(key_row(&row, 1).unwrap()[..], [0, 1, 255, 255, 255, 255]);
        assert_eq!(key_row(&row, 2).unwrap()[..], [0, 1, 0, 0, 0, 2, 8, 9]);
        assert_eq!(key_row(&row, 3), None);
        assert!(is_row(&row) && !is_row(&[255, 255]) && !is_row(&[]));
    }
}
