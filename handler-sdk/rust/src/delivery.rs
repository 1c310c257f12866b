//! Where an event came from and which attempt this is.

use std::time::{Duration, SystemTime};

/// The record behind an event, and which attempt this is.
///
/// Topic, partition and offset name the record for good: they are the same for
/// every attempt and after every restart, and so can serve as a key against
/// doing something twice.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Delivery {
    /// The route that took the event, as the manifest names it.
    pub route: String,
    /// The record's topic.
    pub topic: String,
    /// The record's partition.
    pub partition: i32,
    /// The record's offset.
    pub offset: i64,
    /// The record's timestamp in milliseconds since 1970-01-01T00:00:00Z, if it has one.
    pub timestamp_ms: Option<i64>,
    /// The record's key, `None` where it is null.
    pub key: Option<Vec<u8>>,
    /// The record's headers that are not CloudEvents attributes, in their order.
    pub headers: Vec<Header>,
    /// 1 for the first attempt at this record by this route, and one more for each further one.
    pub attempt: u32,
}

impl Delivery {
    /// The value of the first header of this name; `None` where there is none or it is null.
    pub fn header(&self, name: &str) -> Option<&[u8]> {
        self.headers.iter().find(|header| header.name == name)?.value.as_deref()
    }

    /// The key, where it is UTF-8 text.
    pub fn key_text(&self) -> Option<&str> {
        std::str::from_utf8(self.key.as_deref()?).ok()
    }

    /// The record's timestamp, if it has one.
    pub fn timestamp(&self) -> Option<SystemTime> {
        let since = Duration::from_millis(self.timestamp_ms?.unsigned_abs());
        match self.timestamp_ms? {
            0.. => SystemTime::UNIX_EPOCH.checked_add(since),
            _ => SystemTime::UNIX_EPOCH.checked_sub(since),
        }
    }
}

/// A Kafka header.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// Its name; not necessarily unique.
    pub name: String,
    /// `None` where the header's value is null.
    pub value: Option<Vec<u8>>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    #[test]
    fn the_first_header_of_a_name_counts() {
        let delivery = testing::delivery().header("a", "1").header("a", "2").null_header("b").build();
        assert_eq!(delivery.header("a"), Some(&b"1"[..]));
        assert_eq!([delivery.header("b"), delivery.header("c")], [None, None]);
    }

    #[test]
    fn timestamps_before_1970_are_times_too() {
        let at = |ms| testing::delivery().timestamp_ms(ms).build().timestamp();
        assert_eq!(at(1_500), SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(1_500)));
        assert_eq!(at(-1), SystemTime::UNIX_EPOCH.checked_sub(Duration::from_millis(1)));
        assert_eq!(testing::delivery().build().timestamp(), None);
    }
}
