//! The text that is stored beside a committed offset.
//!
//! `outrigger/1`, then what there is of ` began=<milliseconds>`, when the group
//! began with the topic, and ` map=<text>`, what is settled beyond the offset (see
//! [`super::map`]). Empty where there is neither. Kafka stores it as a string.

use std::fmt;
use std::sync::Arc;

use super::map::{Identity, OffsetMap, Refused};

const VERSION: &str = "outrigger/1";
const BEGAN: &str = " began=";
const MAP: &str = " map=";

/// The most bytes that Kafka takes by default (`offset.metadata.max.bytes`).
pub const MAX: usize = 4096;

/// All that can stand before the map's text.
const BEFORE: usize = VERSION.len() + BEGAN.len() + "-9223372036854775808".len() + MAP.len();

/// The most characters of a map's text in metadata of at most `limit` bytes.
pub const fn map_limit(limit: usize) -> usize {
    let limit = if limit < MAX { limit } else { MAX };
    limit.saturating_sub(BEFORE)
}

/// What is stored beside a committed offset.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metadata {
    /// When the group began with the topic, in milliseconds since the Unix epoch.
    pub began_ms: Option<i64>,
    /// The map's text.
    pub map: Option<Arc<str>>,
}

/// Metadata that is not Outrigger's, or not of a version that this one knows.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is not Outrigger's: {0}")]
pub struct Foreign(String);

impl Metadata {
    /// Reads metadata, whatever wrote it.
    ///
    /// # Errors
    /// [`Foreign`] for anything but what [`Metadata`] displays as.
    pub fn parse(bytes: &[u8]) -> Result<Metadata, Foreign> {
        const SHOWN: usize = 40;
        let foreign = || Foreign(format!("\"{}\"", bytes[..bytes.len().min(SHOWN)].escape_ascii()));
        if bytes.is_empty() {
            return Ok(Metadata::default());
        }
        let rest = std::str::from_utf8(bytes).ok().and_then(|text| text.strip_prefix(VERSION)).ok_or_else(foreign)?;
        let (began, map) = match rest.split_once(MAP) {
            Some((began, map)) => (began, Some(map)),
            None => (rest, None),
        };
        let began_ms = match began {
            "" => None,
            began => Some(began.strip_prefix(BEGAN).and_then(|ms| ms.parse().ok()).ok_or_else(foreign)?),
        };
        Ok(Metadata { began_ms, map: map.map(Arc::from) })
    }

    /// The map, if there is one that holds for a partition whose log ends at
    /// `log_end` and whose committed offset, with this metadata, is `committed`.
    /// What remains to be seen is the record at that offset: see
    /// [`OffsetMap::begins_with`].
    ///
    /// # Errors
    /// Why the map cannot be used.
    pub fn trusted_map(
        &self,
        identity: Identity<'_>,
        committed: i64,
        log_end: i64,
    ) -> Result<Option<OffsetMap>, Refused> {
        let Some(text) = &self.map else { return Ok(None) };
        let map = OffsetMap::decode(text, identity)?;
        map.fits(committed, log_end)?;
        Ok(Some(map))
    }
}

impl fmt::Display for Metadata {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Metadata::default() {
            return Ok(());
        }
        f.write_str(VERSION)?;
        if let Some(ms) = self.began_ms {
            write!(f, "{BEGAN}{ms}")?;
        }
        if let Some(map) = &self.map {
            write!(f, "{MAP}{map}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        for began_ms in [None, Some(0), Some(1_700_000_000_000), Some(i64::MIN), Some(i64::MAX)] {
            for map in [None, Some("AbC-_09".into())] {
                let metadata = Metadata { began_ms, map };
                assert_eq!(Metadata::parse(metadata.to_string().as_bytes()), Ok(metadata));
            }
        }
        assert_eq!(Metadata::default().to_string(), "", "nothing is stored where there is nothing to say");
    }

    #[test]
    fn without_a_map_it_is_as_short_as_it_was_before_there_were_maps() {
        let metadata = Metadata { began_ms: Some(1_700_000_000_000), map: None };
        assert_eq!(metadata.to_string(), "outrigger/1 began=1700000000000");
    }

    #[test]
    fn the_longest_map_leaves_room_for_what_stands_before_it() {
        let map = "x".repeat(map_limit(MAX)).into();
        let longest = Metadata { began_ms: Some(i64::MIN), map: Some(map) };
        assert_eq!(longest.to_string().len(), MAX);
        assert_eq!((map_limit(MAX + 1), map_limit(10)), (map_limit(MAX), 0));
    }

    #[test]
    fn what_others_wrote_is_refused_with_its_beginning() {
        let kafka_streams = b"AgAAAXw2fVvQ";
        let long = [b'x'; 5000];
        for other in [
            &b"\xff\xfe"[..],
            b"NONE",
            kafka_streams,
            b"outrigger/2 began=1",
            b"outrigger/1 began=x",
            b"outrigger/1 began=",
            b"outrigger/1 began=1 more=2",
            b"outrigger/1 ",
            b" outrigger/1",
            &long,
        ] {
            let why = Metadata::parse(other).unwrap_err().to_string();
            assert!(why.starts_with("it is not Outrigger's: \"") && why.len() < 200, "{why}");
        }
        assert_eq!(Metadata::parse(b"\xff\0").unwrap_err().to_string(), "it is not Outrigger's: \"\\xff\\x00\"");
    }
}
