//! Single values: there, well-formed, in range.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::Check;
use crate::manifest::raw;
use crate::manifest::read::{Field, Given, Place};
use crate::manifest::units::{parse_duration, parse_size, show_duration, show_size};

impl Check<'_> {
    /// The value of a key that must be there. `parent`: where to point if it is not.
    pub fn require<'f, T>(self, field: &'f Field<T>, name: &str, parent: Place, help: &str) -> Option<&'f Given<T>> {
        if field.is_absent() {
            self.problems.error(parent, format!("the key `{name}` is missing here"), help);
        }
        field.given()
    }

    pub fn duration(
        self,
        field: &Field<raw::Duration>,
        default: Duration,
        range: RangeInclusive<Duration>,
    ) -> Duration {
        self.optional_duration(field, range).unwrap_or(default)
    }

    pub fn optional_duration(self, field: &Field<raw::Duration>, range: RangeInclusive<Duration>) -> Option<Duration> {
        let given = field.given()?;
        match parse_duration(given.text()) {
            Ok(duration) if range.contains(&duration) => Some(duration),
            Ok(_) => {
                let (from, to) = (show_duration(*range.start()), show_duration(*range.end()));
                self.out_of_range(given.at, given.shown(), &from, &to);
                None
            }
            Err(why) => {
                let message = format!("`{}` is not a duration: {why}", given.shown());
                self.problems.error(given.at, message, "write it as 500ms, 1.5s, 5m or 1h");
                None
            }
        }
    }

    pub fn size(self, field: &Field<raw::Size>, default: usize, range: RangeInclusive<u64>) -> usize {
        self.optional_size(field, range).unwrap_or(default)
    }

    fn optional_size(self, field: &Field<raw::Size>, range: RangeInclusive<u64>) -> Option<usize> {
        let given = field.given()?;
        match parse_size(given.text()) {
            Ok(size) if range.contains(&size) => usize::try_from(size).ok(),
            Ok(_) => {
                let (from, to) = (show_size(*range.start()), show_size(*range.end()));
                self.out_of_range(given.at, given.shown(), &from, &to);
                None
            }
            Err(why) => {
                let message = format!("`{}` is not a size: {why}", given.shown());
                self.problems.error(given.at, message, "write it as 64MiB, 512KiB or a number of bytes");
                None
            }
        }
    }

    pub fn count(self, field: &Field<u64>, default: usize, range: RangeInclusive<usize>) -> usize {
        let Some(given) = field.given() else { return default };
        match usize::try_from(given.value) {
            Ok(count) if range.contains(&count) => count,
            _ => {
                let shown = given.written.clone().unwrap_or_else(|| given.value.to_string());
                self.out_of_range(given.at, &shown, &range.start().to_string(), &range.end().to_string());
                default
            }
        }
    }

    pub fn number(self, field: &Field<f64>, range: RangeInclusive<f64>) -> Option<f64> {
        let given = field.given()?;
        if range.contains(&given.value) {
            return Some(given.value);
        }
        let shown = given.written.clone().unwrap_or_else(|| given.value.to_string());
        self.out_of_range(given.at, &shown, &range.start().to_string(), &range.end().to_string());
        None
    }

    fn out_of_range(self, at: Place, shown: &str, from: &str, to: &str) {
        self.problems.error(at, format!("`{shown}` is out of range"), format!("it must be from {from} to {to}"));
    }
}
