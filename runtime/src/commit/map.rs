//! The offset map: what is settled beyond a committed offset, as a text.
//!
//! A restart reads from the committed offset on, which stands at the lowest
//! record that is not settled. The map says which of the later ones are, so that
//! they are not called again, and how many attempts of the others have failed.
//!
//! It proves nothing by being there: other tools copy metadata beside offsets of
//! their own, topics are deleted and created again. So it names its group, topic
//! and partition, the offset that it was committed with, and the timestamp of the
//! record there; where anything differs, [`Refused`] says what, and the map is
//! dropped whole. Dropping it, or any part of it, is always safe: records come again.
//!
//! The text is base64 (URL-safe, no padding) of these bytes, where *n* is an
//! unsigned LEB128 integer:
//!
//! | | |
//! |---|---|
//! | 1 byte | version, 1 |
//! | 8 bytes | SHA-256 of group, topic and partition, cut |
//! | *n* | the base: the committed offset |
//! | *n* | the timestamp of the record at the base, in milliseconds, zigzag |
//! | | the settled offsets: `map/settled.rs` |
//! | | failed attempts: `map/attempts.rs` |
//! | 8 bytes | SHA-256 of all bytes before, cut |

use std::ops::Range;
use std::sync::Arc;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64;
use sha2::{Digest, Sha256};

mod attempts;
mod bytes;
mod settled;

pub use attempts::{Attempts, route_digest};

use self::bytes::{Reader, put_number};
use super::metadata;

const VERSION: u8 = 1;
const DIGEST: usize = 8;

/// Bytes besides the settled offsets and the attempts, at most.
const FRAME: usize = 1 + DIGEST + 2 * bytes::MAX_NUMBER + DIGEST;

/// As many records in a row as always fit, whichever of them are settled, where
/// the broker takes metadata of the default size. The log may hold holes between
/// the records; then fewer may fit.
pub const ALWAYS_FIT: usize =
    (bytes_of(metadata::map_limit(metadata::MAX)) - FRAME - settled::FRAME - attempts::NONE) * 8;

/// The bytes that a base64 text of so many characters stands for.
const fn bytes_of(characters: usize) -> usize {
    characters / 4 * 3 + (characters % 4) * 3 / 4
}

/// What a map belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity<'a> {
    /// The consumer group.
    pub group: &'a str,
    /// The topic.
    pub topic: &'a str,
    /// The partition.
    pub partition: i32,
}

impl Identity<'_> {
    fn digest(&self) -> [u8; DIGEST] {
        let mut hash = Sha256::new();
        for name in [self.group, self.topic] {
            hash.update((name.len() as u64).to_be_bytes());
            hash.update(name);
        }
        hash.update(self.partition.to_be_bytes());
        cut(&hash.finalize())
    }
}

fn cut<const N: usize>(digest: &[u8]) -> [u8; N] {
    std::array::from_fn(|at| digest.get(at).copied().unwrap_or_default())
}

/// What is settled beyond a committed offset, and what was tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OffsetMap {
    /// The committed offset: the lowest record that is not settled.
    pub base: i64,
    /// The timestamp of that record, in milliseconds since the Unix epoch.
    pub head_ms: i64,
    /// The settled offsets, all above the base: ascending, none empty, none touching the next.
    pub settled: Vec<Range<i64>>,
    /// Attempts that failed, by ascending offsets.
    pub attempts: Vec<Attempts>,
}

/// A map's text as it is stored, and how much of the map is in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text {
    /// For [`metadata::Metadata`].
    pub text: Arc<str>,
    /// Settled offsets that did not fit: the highest ones.
    pub left_out: u64,
}

/// Why a map is not used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The text is no base64.
    #[error("its text is damaged: it is no base64")]
    NoBase64,
    /// It has a version that is not known here.
    #[error("it has version {0}, and this Outrigger reads version {VERSION}")]
    Version(u8),
    /// The checksum is not that of the bytes.
    #[error("its text is damaged: the checksum does not hold")]
    Damaged,
    /// The checksum holds, but the bytes are none that this program writes.
    #[error("its text cannot be read: {0}")]
    Malformed(&'static str),
    /// It belongs to another partition.
    #[error("it was made for another group, topic or partition")]
    OtherPartition,
    /// It belongs to another commit.
    #[error("it was made for offset {base}, and {committed} is committed")]
    OtherOffset {
        /// Its own base.
        base: i64,
        /// What is committed.
        committed: i64,
    },
    /// It calls records settled that are not in the log.
    #[error("it reaches up to offset {end}, and the log ends at {log_end}")]
    BeyondLog {
        /// Behind its highest settled offset.
        end: i64,
        /// The next offset of the log.
        log_end: i64,
    },
    /// The first record is not the one that the map was made with.
    #[error("the record at offset {expected}, of time {expected_ms}, was expected first, and offset {offset}, of time {}, came", .ms.map_or("unknown".to_owned(), |ms| ms.to_string()))]
    OtherRecord {
        /// The map's base.
        expected: i64,
        /// The timestamp of the record there, in milliseconds since the Unix epoch.
        expected_ms: i64,
        /// What came instead.
        offset: i64,
        /// Its timestamp.
        ms: Option<i64>,
    },
}

impl OffsetMap {
    /// The map as text of at most `limit` characters. What does not fit is left
    /// out: the highest settled offsets first, and attempts before any of those.
    /// `None` where there is nothing to say or no room to say it.
    pub fn encode(&self, identity: Identity<'_>, limit: usize) -> Option<Text> {
        let limit = bytes_of(limit.min(metadata::MAX));
        let mut bytes = Vec::with_capacity(limit);
        bytes.push(VERSION);
        bytes.extend_from_slice(&identity.digest());
        put_number(&mut bytes, self.base.try_into().ok()?);
        put_number(&mut bytes, zigzag(self.head_ms));
        let room = limit.checked_sub(bytes.len() + DIGEST)?;
        let left_out = settled::write(&mut bytes, self.base, &self.settled, room.checked_sub(attempts::NONE)?)?;
        let room = limit - DIGEST - bytes.len();
        let tried = attempts::write(&mut bytes, self.base, &self.attempts, room);
        let all: u64 = self.settled.iter().map(|run| run.start.abs_diff(run.end)).sum();
        if left_out == all && tried == 0 {
            return None;
        }
        let digest: [u8; DIGEST] = cut(&Sha256::digest(&bytes));
        bytes.extend_from_slice(&digest);
        Some(Text { text: BASE64.encode(bytes).into(), left_out })
    }

    /// Reads a text that [`OffsetMap::encode`] has written.
    ///
    /// # Errors
    /// For any other text.
    pub fn decode(text: &str, identity: Identity<'_>) -> Result<OffsetMap, Refused> {
        let bytes = BASE64.decode(text).map_err(|_| Refused::NoBase64)?;
        match bytes.first() {
            Some(&VERSION) => {}
            Some(&version) => return Err(Refused::Version(version)),
            None => return Err(Refused::Damaged),
        }
        let (bytes, digest) = bytes.split_last_chunk::<DIGEST>().ok_or(Refused::Damaged)?;
        if *digest != cut::<DIGEST>(&Sha256::digest(bytes)) {
            return Err(Refused::Damaged);
        }
        let mut reader = Reader(bytes.get(1..).unwrap_or_default());
        if reader.take(DIGEST)? != identity.digest() {
            return Err(Refused::OtherPartition);
        }
        let base = reader.number()?.try_into().map_err(|_| Refused::Malformed("the base is too large"))?;
        let head_ms = unzigzag(reader.number()?);
        let settled = settled::read(&mut reader, base)?;
        let attempts = attempts::read(&mut reader, base)?;
        match reader.0 {
            [] => Ok(OffsetMap { base, head_ms, settled, attempts }),
            _ => Err(Refused::Malformed("more follows than there should")),
        }
    }

    /// Whether the map can hold beside this committed offset and in a log that ends there.
    ///
    /// # Errors
    /// Why not.
    pub fn fits(&self, committed: i64, log_end: i64) -> Result<(), Refused> {
        let end = self.settled.last().map_or(self.base, |run| run.end);
        if self.base != committed {
            Err(Refused::OtherOffset { base: self.base, committed })
        } else if end > log_end {
            Err(Refused::BeyondLog { end, log_end })
        } else {
            Ok(())
        }
    }

    /// Whether the first record delivered is the one that the map was made with.
    ///
    /// # Errors
    /// Why not.
    pub fn begins_with(&self, offset: i64, timestamp_ms: Option<i64>) -> Result<(), Refused> {
        let (expected, expected_ms) = (self.base, self.head_ms);
        match (offset, timestamp_ms) == (expected, Some(expected_ms)) {
            true => Ok(()),
            false => Err(Refused::OtherRecord { expected, expected_ms, offset, ms: timestamp_ms }),
        }
    }

    /// Appends a settled offset or several, above all that are in the map.
    pub fn push(&mut self, run: Range<i64>) {
        match self.settled.last_mut() {
            Some(last) if last.end == run.start => last.end = run.end,
            _ => self.settled.push(run),
        }
    }
}

fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

fn unzigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

#[cfg(test)]
mod tests;
