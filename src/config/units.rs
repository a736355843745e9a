//! Durations and sizes as a person writes them, and the bounds that numbers must keep.
//!
//! Meant for `#[serde(with = …)]` and `#[serde(deserialize_with = …)]`. Knows no key by name.

use std::fmt::Display;
use std::time::Duration;

use serde::de::{Deserializer, Error, Unexpected, Visitor};

/// Longer than this nobody means, and adding it to a clock reading could overflow.
const LONGEST: Duration = Duration::from_secs(3650 * 86_400);
/// A frame must hold the largest message that hob itself sends without content.
const FRAME_BYTES_MIN: u64 = 4 << 10;
/// A frame is held in memory as a whole.
const FRAME_BYTES_MAX: u64 = 256 << 20;

/// Parses `"30m"`, `"250ms"`, `"1h 30m"`, `"0s"`.
///
/// # Errors
/// Says in words what is wrong with the text.
pub(super) fn parse_duration(text: &str) -> Result<Duration, String> {
    let duration = humantime::parse_duration(text.trim())
        .map_err(|_| "expected a duration such as \"30s\", \"5m\" or \"250ms\"".to_owned())?;
    if duration > LONGEST {
        return Err("longer than ten years".to_owned());
    }
    Ok(duration)
}

/// Writes a duration in the largest unit that leaves no rest, so that what is written can be read
/// again as the same.
pub(super) fn format_duration(duration: Duration) -> String {
    const UNITS: [(u128, &str); 5] =
        [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1_000, "s"), (1, "ms")];
    let ms = duration.as_millis();
    let unit = UNITS.iter().find(|(size, _)| ms != 0 && ms.is_multiple_of(*size));
    unit.map_or_else(|| "0s".to_owned(), |(size, name)| format!("{}{name}", ms / size))
}

/// Writes a size in the largest binary unit that leaves no rest.
pub(super) fn format_size(bytes: u64) -> String {
    const UNITS: [(u64, &str); 3] = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    let unit = UNITS.iter().find(|(size, _)| bytes != 0 && bytes.is_multiple_of(*size));
    unit.map_or_else(|| format!("{bytes}B"), |(size, name)| format!("{}{name}", bytes / size))
}

/// Reads a text and converts it; a value of another type is told what was expected.
struct Text<F>(&'static str, F);

impl<T, F: Fn(&str) -> Result<T, String>> Visitor<'_> for Text<F> {
    type Value = T;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        (self.1)(text).map_err(E::custom)
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<T, E> {
        Err(E::invalid_type(Unexpected::Signed(number), &self))
    }
}

const A_DURATION: &str = "a duration with its unit, such as \"30s\"";
const A_DURATION_OR_OFF: &str = "a duration with its unit, such as \"15m\", or \"off\"";
const A_SIZE: &str = "a size with its unit, such as \"16MiB\"";

fn duration_within<'de, D: Deserializer<'de>>(d: D, least: Duration) -> Result<Duration, D::Error> {
    d.deserialize_str(Text(A_DURATION, |text: &str| match parse_duration(text)? {
        short if short < least => Err(format!("must be at least {}", format_duration(least))),
        enough => Ok(enough),
    }))
}

/// A duration, zero included.
pub(super) mod duration {
    use super::*;

    pub(in crate::config) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Duration, D::Error> {
        duration_within(d, Duration::ZERO)
    }

    pub(in crate::config) fn serialize<S: serde::Serializer>(
        value: &Duration,
        s: S,
    ) -> Result<S::Ok, S::Error> {
        s.collect_str(&format_duration(*value))
    }
}

/// A duration of which zero would make no sense.
pub(super) mod positive_duration {
    pub(in crate::config) use super::duration::serialize;
    use super::*;

    pub(in crate::config) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Duration, D::Error> {
        duration_within(d, Duration::from_millis(1))
    }
}

/// A duration that may be left out, and of which zero would make no sense. What is left out is not
/// written either.
pub(super) mod positive_duration_if_given {
    use super::*;

    pub(in crate::config) fn deserialize<'de, D: Deserializer<'de>>(
        d: D,
    ) -> Result<Option<Duration>, D::Error> {
        duration_within(d, Duration::from_millis(1)).map(Some)
    }

    pub(in crate::config) fn serialize<S: serde::Serializer>(
        value: &Option<Duration>,
        s: S,
    ) -> Result<S::Ok, S::Error> {
        match value {
            Some(value) => s.collect_str(&format_duration(*value)),
            None => s.serialize_none(),
        }
    }
}

/// A duration, or `"off"`.
pub(super) mod duration_or_off {
    use super::*;

    pub(in crate::config) fn deserialize<'de, D: Deserializer<'de>>(
        d: D,
    ) -> Result<Option<Duration>, D::Error> {
        d.deserialize_str(Text(A_DURATION_OR_OFF, |text: &str| match text.trim() {
            "off" => Ok(None),
            other => match parse_duration(other)? {
                Duration::ZERO => Err("must be longer than 0s; \"off\" switches it off".to_owned()),
                some => Ok(Some(some)),
            },
        }))
    }

    pub(in crate::config) fn serialize<S: serde::Serializer>(
        value: &Option<Duration>,
        s: S,
    ) -> Result<S::Ok, S::Error> {
        s.collect_str(&value.map_or_else(|| "off".to_owned(), format_duration))
    }
}

/// A duration that may be left out.
pub(super) fn optional_duration<'de, D: Deserializer<'de>>(d: D) -> Result<Option<Duration>, D::Error> {
    duration_within(d, Duration::ZERO).map(Some)
}

fn size_within<'de, D: Deserializer<'de>>(d: D, least: u64, most: u64) -> Result<u64, D::Error> {
    d.deserialize_str(Text(A_SIZE, |text: &str| {
        let bytes =
            text.trim().parse::<bytesize::ByteSize>().map_err(|_| format!("expected {A_SIZE}"))?.as_u64();
        match bytes {
            few if few < least => Err(format!("must be at least {}", format_size(least))),
            many if many > most => Err(format!("must be at most {}", format_size(most))),
            fit => Ok(fit),
        }
    }))
}

/// A number of bytes, zero included.
pub(super) mod size {
    use super::*;

    /// TOML has signed numbers of 64 bits.
    const MOST: u64 = i64::MAX as u64;

    pub(in crate::config) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<u64, D::Error> {
        size_within(d, 0, MOST)
    }

    pub(in crate::config) fn serialize<S: serde::Serializer>(value: &u64, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(&format_size(*value))
    }
}

/// The longest line of a protocol.
pub(super) mod frame_size {
    pub(in crate::config) use super::size::serialize;
    use super::*;

    pub(in crate::config) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<u64, D::Error> {
        size_within(d, FRAME_BYTES_MIN, FRAME_BYTES_MAX)
    }
}

/// A number that must be at least 1.
pub(super) fn at_least_one<'de, D, T>(d: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: serde::Deserialize<'de> + PartialEq + From<u8> + Display,
{
    let number = T::deserialize(d)?;
    if number == T::from(0) {
        return Err(D::Error::custom("must be at least 1"));
    }
    Ok(number)
}

/// The same for a number that may be left out.
pub(super) fn optional_at_least_one<'de, D: Deserializer<'de>>(d: D) -> Result<Option<u32>, D::Error> {
    at_least_one(d).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_that_is_written_reads_back_as_itself() {
        for (ms, text) in [
            (0, "0s"),
            (250, "250ms"),
            (1_000, "1s"),
            (90_000, "90s"),
            (1_800_000, "30m"),
            (7_200_000, "2h"),
            (90 * 86_400_000, "90d"),
            (1_500, "1500ms"),
        ] {
            let duration = Duration::from_millis(ms);
            assert_eq!(format_duration(duration), text);
            assert_eq!(parse_duration(text), Ok(duration));
        }
    }

    #[test]
    fn what_is_no_duration_is_refused() {
        for text in ["", "5", "fast", "-3s", "3 parsecs", "11years", "99999999999999999999d"] {
            assert!(parse_duration(text).is_err(), "{text:?} was taken");
        }
    }

    #[test]
    fn sizes_are_written_in_the_largest_unit_that_fits() {
        for (bytes, text) in
            [(0, "0B"), (1000, "1000B"), (32 << 10, "32KiB"), (16 << 20, "16MiB"), (1 << 30, "1GiB")]
        {
            assert_eq!(format_size(bytes), text);
            assert_eq!(text.parse::<bytesize::ByteSize>().map(|size| size.as_u64()), Ok(bytes));
        }
    }
}
