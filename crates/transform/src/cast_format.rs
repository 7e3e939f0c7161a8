//! Dates and times that are not written as ISO 8601 says.

use std::sync::Arc;

use arrow::array::timezone::Tz;
use arrow::array::{ArrayRef, AsArray, Int32Array, Int64Array, StringArray};
use arrow::compute::cast;
use arrow_schema::{DataType, TimeUnit};
use chrono::format::{Item, Parsed, StrftimeItems, parse};
use chrono::{DateTime, Datelike, NaiveDate, NaiveDateTime, NaiveTime, TimeZone, Timelike, Utc};
use towpath_core::{ColumnType, Error, Result};

use crate::cast::{Converted, newly_null};

/// A format such as `%d.%m.%Y`, ready to read a column.
pub(crate) struct TextFormat {
    items: Vec<Item<'static>>,
    to: DataType,
    zone: Option<Tz>,
}

impl TextFormat {
    pub(crate) fn new(format: &str, to: &DataType) -> Result<Self> {
        let items = StrftimeItems::new(format).parse_to_owned().map_err(|_| {
            let advice = "write for example `%d.%m.%Y` or `%Y-%m-%d %H:%M:%S`";
            Error::config(format!("`{format}` is not a format of dates and times")).help(advice)
        })?;
        let zone = match to {
            DataType::Date32 | DataType::Time64(TimeUnit::Microsecond) | DataType::Timestamp(_, None) => None,
            DataType::Timestamp(_, Some(zone)) => Some(
                zone.parse::<Tz>()
                    .map_err(|error| Error::config(format!("`{zone}` is not a time zone")).source(error))?,
            ),
            other => {
                let to = ColumnType::from(other.clone());
                return Err(Error::config(format!("{to} has no format"))
                    .help("`format` is for date, time and timestamp: leave it out"));
            }
        };
        Ok(Self { items, to: to.clone(), zone })
    }

    /// Whether values of this type are read by a format. Those that are dates already need none.
    pub(crate) fn reads(from: &DataType) -> bool {
        let plain = match from {
            DataType::Dictionary(_, values) => values.as_ref(),
            other => other,
        };
        plain.is_integer() || matches!(plain, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
    }

    pub(crate) fn convert(&self, array: &ArrayRef) -> Result<Converted> {
        let text = cast(array, &DataType::Utf8)?;
        let text = text.as_string::<i32>();
        let converted: ArrayRef = match &self.to {
            DataType::Date32 => Arc::new(self.each::<Int32Array, _>(text, days)),
            DataType::Time64(_) => Arc::new(self.each::<Int64Array, _>(text, microseconds_of_day)),
            DataType::Timestamp(unit, _) => {
                let read = |parsed: &Parsed| in_unit(self.instant(parsed)?, *unit);
                Arc::new(self.each::<Int64Array, _>(text, read))
            }
            other => return Err(Error::unexpected(format!("{other} has no format"))),
        };
        let converted = cast(&converted, &self.to)?;
        Ok(Converted { bad: newly_null(array, &converted), array: converted })
    }

    fn each<A: FromIterator<Option<T>>, T>(
        &self,
        text: &StringArray,
        read: impl Fn(&Parsed) -> Option<T>,
    ) -> A {
        let values = text.iter().map(|text| {
            let mut parsed = Parsed::new();
            parse(&mut parsed, text?.trim(), self.items.iter()).ok()?;
            read(&parsed)
        });
        values.collect()
    }

    /// The moment: by the offset of the text, else in the zone of the column, else in UTC.
    fn instant(&self, parsed: &Parsed) -> Option<DateTime<Utc>> {
        if parsed.offset().is_some() {
            return Some(parsed.to_datetime().ok()?.to_utc());
        }
        let local = local(parsed)?;
        match self.zone {
            // Seconds since 1970 are the same in any zone.
            Some(zone) if parsed.timestamp().is_none() => {
                zone.from_local_datetime(&local).earliest().map(|time| time.to_utc())
            }
            _ => Some(local.and_utc()),
        }
    }
}

/// A format without hours means midnight.
fn local(parsed: &Parsed) -> Option<NaiveDateTime> {
    if let Ok(time) = parsed.to_naive_datetime_with_offset(0) {
        return Some(time);
    }
    let has_hours = parsed.hour_div_12().is_some() || parsed.hour_mod_12().is_some();
    (!has_hours).then(|| parsed.to_naive_date().ok())?.map(|date| date.and_time(NaiveTime::MIN))
}

fn days(parsed: &Parsed) -> Option<i32> {
    let date = match parsed.to_naive_date() {
        Ok(date) => date,
        Err(_) => local(parsed)?.date(),
    };
    Some(date.num_days_from_ce() - NaiveDate::default().num_days_from_ce())
}

fn microseconds_of_day(parsed: &Parsed) -> Option<i64> {
    let time = parsed.to_naive_time().ok()?;
    Some(i64::from(time.num_seconds_from_midnight()) * 1_000_000 + i64::from(time.nanosecond()) / 1_000)
}

fn in_unit(time: DateTime<Utc>, unit: TimeUnit) -> Option<i64> {
    match unit {
        TimeUnit::Second => Some(time.timestamp()),
        TimeUnit::Millisecond => Some(time.timestamp_millis()),
        TimeUnit::Microsecond => Some(time.timestamp_micros()),
        TimeUnit::Nanosecond => time.timestamp_nanos_opt(),
    }
}
