//! Sizes, durations and rates as people write them: `256MiB`, `1m30s`, `100/s`.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserializer, Visitor};
use serde::{Deserialize, Serialize, Serializer};

use crate::{Error, Result};

/// A number of bytes: `64KiB`, `1.5GB`, or a plain number.
///
/// ```
/// use towpath_core::ByteSize;
///
/// assert_eq!("256MiB".parse::<ByteSize>().unwrap().bytes(), 256 << 20);
/// assert_eq!("1.5 kB".parse::<ByteSize>().unwrap().bytes(), 1500);
/// assert_eq!(ByteSize::mib(64).to_string(), "64MiB");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteSize(u64);

const BYTE_UNITS: [(&str, u64); 9] = [
    ("kib", 1 << 10),
    ("mib", 1 << 20),
    ("gib", 1 << 30),
    ("tib", 1 << 40),
    ("kb", 1_000),
    ("mb", 1_000_000),
    ("gb", 1_000_000_000),
    ("tb", 1_000_000_000_000),
    ("b", 1),
];

impl ByteSize {
    /// This many bytes.
    pub const fn new(bytes: u64) -> Self {
        Self(bytes)
    }

    /// This many KiB.
    pub const fn kib(kib: u64) -> Self {
        Self(kib << 10)
    }

    /// This many MiB.
    pub const fn mib(mib: u64) -> Self {
        Self(mib << 20)
    }

    /// The number of bytes.
    pub const fn bytes(self) -> u64 {
        self.0
    }

    /// The number of bytes, at most `usize::MAX`.
    pub fn as_usize(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

impl FromStr for ByteSize {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let wrong =
            || Error::config(format!("`{text}` is not a size; write for example 256MiB, 10MB or 4096"));
        let (number, unit) = split_number(text).ok_or_else(wrong)?;
        let unit = unit.to_ascii_lowercase();
        let factor = if unit.is_empty() {
            1
        } else {
            BYTE_UNITS.iter().find(|(name, _)| *name == unit).map(|(_, factor)| *factor).ok_or_else(wrong)?
        };
        scale(number, factor).map(Self).ok_or_else(wrong)
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, factor) in [("TiB", 1_u64 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)] {
            if self.0 >= factor {
                return if self.0.is_multiple_of(factor) {
                    write!(f, "{}{name}", self.0 / factor)
                } else {
                    write!(f, "{:.1}{name}", self.0 as f64 / factor as f64)
                };
            }
        }
        write!(f, "{}B", self.0)
    }
}

/// A duration: `250ms`, `30s`, `1h30m`.
///
/// ```
/// use std::time::Duration;
/// use towpath_core::HumanDuration;
///
/// assert_eq!("1m30s".parse::<HumanDuration>().unwrap().get(), Duration::from_secs(90));
/// assert_eq!(HumanDuration::from(Duration::from_millis(1500)).to_string(), "1s500ms");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HumanDuration(Duration);

const DURATION_UNITS: [(&str, u64); 6] = [
    ("d", 86_400_000_000),
    ("h", 3_600_000_000),
    ("m", 60_000_000),
    ("s", 1_000_000),
    ("ms", 1_000),
    ("us", 1),
];

impl HumanDuration {
    /// The duration.
    pub const fn get(self) -> Duration {
        self.0
    }
}

impl From<Duration> for HumanDuration {
    fn from(duration: Duration) -> Self {
        Self(duration)
    }
}

impl FromStr for HumanDuration {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let wrong = || {
            Error::config(format!("`{text}` is not a duration; write for example 250ms, 30s, 5m or 1h30m"))
        };
        let mut rest = text.trim();
        let mut micros = 0_u64;
        if rest.is_empty() {
            return Err(wrong());
        }
        while !rest.is_empty() {
            let (number, tail) = split_number(rest).ok_or_else(wrong)?;
            let end = tail.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(tail.len());
            let (unit, tail) = tail.split_at(end);
            let factor = DURATION_UNITS
                .iter()
                .find(|(name, _)| *name == unit)
                .map(|(_, factor)| *factor)
                .ok_or_else(wrong)?;
            micros = scale(number, factor).and_then(|part| micros.checked_add(part)).ok_or_else(wrong)?;
            rest = tail.trim_start();
        }
        Ok(Self(Duration::from_micros(micros)))
    }
}

impl fmt::Display for HumanDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = u64::try_from(self.0.as_micros()).unwrap_or(u64::MAX);
        if rest == 0 {
            return f.write_str("0s");
        }
        for (name, factor) in DURATION_UNITS {
            if rest >= factor {
                write!(f, "{}{name}", rest / factor)?;
                rest %= factor;
            }
        }
        Ok(())
    }
}

/// How many per time: `100/s`, `1000/m`, `10000/h`, `5/2s`.
///
/// ```
/// use towpath_core::Rate;
///
/// let rate: Rate = "120/m".parse().unwrap();
/// assert!((rate.per_second() - 2.0).abs() < 1e-9);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Rate {
    count: u32,
    period: Duration,
}

impl Rate {
    /// This many in each period.
    ///
    /// # Errors
    /// `Config` when either is zero.
    pub fn new(count: u32, period: Duration) -> Result<Self> {
        if count == 0 || period.is_zero() {
            return Err(Error::config("a rate needs a count and a period above zero"));
        }
        Ok(Self { count, period })
    }

    /// How many in a period.
    pub const fn count(self) -> u32 {
        self.count
    }

    /// The length of a period.
    pub const fn period(self) -> Duration {
        self.period
    }

    /// How many in a second.
    pub fn per_second(self) -> f64 {
        f64::from(self.count) / self.period.as_secs_f64()
    }
}

impl FromStr for Rate {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let wrong =
            || Error::config(format!("`{text}` is not a rate; write for example 100/s, 1000/m or 5/2s"));
        let (count, period) = text.split_once('/').ok_or_else(wrong)?;
        let count = count.trim().parse().map_err(|_| wrong())?;
        let period = period.trim();
        let period = if period.starts_with(|c: char| c.is_ascii_digit()) {
            period.parse::<HumanDuration>()
        } else {
            format!("1{period}").parse()
        };
        Self::new(count, period.map_err(|_| wrong())?.get()).map_err(|_| wrong())
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let period = HumanDuration(self.period).to_string();
        write!(
            f,
            "{}/{}",
            self.count,
            period
                .strip_prefix('1')
                .filter(|p| !p.starts_with(|c: char| c.is_ascii_digit()))
                .unwrap_or(&period)
        )
    }
}

/// The leading number of a text and what follows it.
fn split_number(text: &str) -> Option<(&str, &str)> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, rest) = text.split_at(end);
    (!number.is_empty()).then(|| (number, rest.trim()))
}

/// A decimal number times a whole factor, exact for whole numbers.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "checked against the range of u64 just above"
)]
fn scale(number: &str, factor: u64) -> Option<u64> {
    if let Ok(whole) = number.parse::<u64>() {
        return whole.checked_mul(factor);
    }
    let scaled = number.parse::<f64>().ok()? * factor as f64;
    (scaled < u64::MAX as f64).then(|| scaled.round() as u64)
}

/// Serde and JSON Schema for a unit that is written as text.
macro_rules! as_text {
    ($name:ident, $pattern:literal, $description:literal, $example:literal, $($number:ident)?) => {
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Text;
                impl Visitor<'_> for Text {
                    type Value = $name;
                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str(concat!($description, " such as ", $example))
                    }
                    fn visit_str<E: de::Error>(self, text: &str) -> Result<$name, E> {
                        text.parse().map_err(|error: Error| E::custom(error.message()))
                    }
                    $(fn visit_u64<E: de::Error>(self, $number: u64) -> Result<$name, E> {
                        Ok($name::new($number))
                    })?
                }
                deserializer.deserialize_any(Text)
            }
        }

        impl JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }
            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({
                    "type": ["string", "integer"],
                    "pattern": $pattern,
                    "description": concat!($description, " such as ", $example),
                })
            }
        }
    };
}

as_text!(ByteSize, r"^[0-9.]+ *([kKmMgGtT][iI]?)?[bB]?$", "a size", "`256MiB`", bytes);
as_text!(HumanDuration, r"^([0-9.]+ *(d|h|m|s|ms|us) *)+$", "a duration", "`30s`",);
as_text!(Rate, r"^[0-9]+ */ *[0-9.]*(d|h|m|s|ms|us)$", "a rate", "`100/s`",);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_can_be_read_again() {
        for text in ["0B", "1KiB", "256MiB", "3GiB", "2TiB", "999B"] {
            assert_eq!(text.parse::<ByteSize>().unwrap().to_string(), text);
        }
        for text in ["0s", "250ms", "30s", "1h30m", "2d", "5us"] {
            assert_eq!(text.parse::<HumanDuration>().unwrap().to_string(), text);
        }
        for text in ["100/s", "1000/m", "5/2s", "7/10s"] {
            assert_eq!(text.parse::<Rate>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn nonsense_is_named_with_an_example() {
        let error = "10 parsecs".parse::<ByteSize>().unwrap_err().to_string();
        assert_eq!(error, "`10 parsecs` is not a size; write for example 256MiB, 10MB or 4096");
        assert!("".parse::<HumanDuration>().is_err());
        assert!("30".parse::<HumanDuration>().is_err());
        assert!("0/s".parse::<Rate>().is_err());
        assert!("99999999999TiB".parse::<ByteSize>().is_err());
    }

    #[test]
    fn a_plain_number_is_a_size_but_no_duration() {
        assert_eq!(serde_json::from_str::<ByteSize>("4096").unwrap(), ByteSize::kib(4));
        assert!(serde_json::from_str::<HumanDuration>("30").is_err());
    }
}
