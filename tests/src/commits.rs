//! Every commit that a group ever made, from `__consumer_offsets` itself.
//!
//! The records' formats are those of Kafka's `OffsetCommitKey` (versions 0 and 1)
//! and `OffsetCommitValue` (versions 0 to 4, of which the last has compact strings
//! and tagged fields).

use outrigger::commit::map::{Identity, OffsetMap};
use outrigger::commit::metadata::Metadata;

use crate::kafka::Kafka;
use crate::read::Record;

/// The topic that commits are kept in.
const TOPIC: &str = "__consumer_offsets";

/// One commit of one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commit {
    /// The group.
    pub group: String,
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// Every lower offset counts as settled.
    pub offset: i64,
    /// What was stored beside it.
    pub metadata: Vec<u8>,
    /// When the broker took it, in milliseconds since the Unix epoch, by its clock.
    pub at_ms: i64,
}

impl Commit {
    /// The offsets from [`Commit::offset`] on that its metadata call settled.
    pub fn settled_beyond(&self) -> Vec<i64> {
        let identity = Identity { group: &self.group, topic: &self.topic, partition: self.partition };
        // What is no map of this partition says nothing: Outrigger does not trust it either.
        let text = Metadata::parse(&self.metadata).ok().and_then(|metadata| metadata.map);
        let map = text.and_then(|text| OffsetMap::decode(&text, identity).ok()).filter(|map| map.base == self.offset);
        map.map_or(Vec::new(), |map| map.settled.into_iter().flatten().collect())
    }
}

impl Kafka {
    /// Every commit of a group for a topic, each partition's in their order.
    ///
    /// # Panics
    /// If some may be missing. Kafka compacts the topic, but only segments that are
    /// closed, and none is before it has 100 MiB: then the log begins at 0 and has no gap.
    pub fn commits(&self, group: &str, topic: &str) -> Vec<Commit> {
        if !self.has_topic(TOPIC) {
            return Vec::new();
        }
        let records = self.read_all(TOPIC);
        let mut next = std::collections::BTreeMap::<i32, i64>::new();
        for record in &records {
            let next = next.entry(record.partition).or_default();
            assert_eq!(record.offset, *next, "{TOPIC}/{} was compacted: commits are missing", record.partition);
            *next += 1;
        }
        let all = records.iter().filter_map(|record| {
            decode(record).unwrap_or_else(|| panic!("{} is in no known format: {record:?}", record.position()))
        });
        all.filter(|commit| commit.group == group && commit.topic == topic).collect()
    }
}

/// The outer `None`: malformed or of an unknown version. The inner one: not a
/// commit, but a group's members or a deletion.
fn decode(record: &Record) -> Option<Option<Commit>> {
    let mut key = Bytes(record.key.as_deref()?);
    // Versions from 2 on are of other kinds of records.
    if !(0..=1).contains(&key.i16()?) {
        return Some(None);
    }
    let (group, topic, partition) = (key.text()?, key.text()?, key.i32()?);
    let Some(value) = record.value.as_deref() else { return Some(None) };
    let mut value = Bytes(value);
    let version = value.i16()?;
    let offset = value.i64()?;
    if version >= 3 {
        let _leader_epoch = value.i32()?;
    }
    let metadata = match version {
        0..=3 => value.string()?,
        4 => value.compact_string()?,
        _ => return None,
    };
    let at_ms = value.i64()?;
    Some(Some(Commit { group, topic, partition, offset, metadata: metadata.to_vec(), at_ms }))
}

/// Bytes that are read from their beginning; `None` where they end too early.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn i16(&mut self) -> Option<i16> {
        Some(i16::from_be_bytes(self.take(2)?.try_into().ok()?))
    }

    fn i32(&mut self) -> Option<i32> {
        Some(i32::from_be_bytes(self.take(4)?.try_into().ok()?))
    }

    fn i64(&mut self) -> Option<i64> {
        Some(i64::from_be_bytes(self.take(8)?.try_into().ok()?))
    }

    /// Its length in two bytes, then its bytes.
    fn string(&mut self) -> Option<&'a [u8]> {
        let length = self.i16()?.try_into().ok()?;
        self.take(length)
    }

    fn text(&mut self) -> Option<String> {
        String::from_utf8(self.string()?.to_vec()).ok()
    }

    /// Its length plus one, in groups of seven bits from the lowest, then its bytes.
    fn compact_string(&mut self) -> Option<&'a [u8]> {
        let (mut length, mut shift) = (0usize, 0);
        loop {
            let byte = *self.take(1)?.first()?;
            length |= usize::from(byte & 0x7f) << shift;
            shift += 7;
            match byte & 0x80 {
                0 => break,
                _ if shift > 28 => return None,
                _ => {}
            }
        }
        self.take(length.checked_sub(1)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(key: &[&[u8]], value: Option<&[&[u8]]>) -> Record {
        Record::new(Some(&key.concat()), value.map(|value| value.concat()).as_deref())
    }

    const KEY: [&[u8]; 4] = [&[0, 1], b"\0\x01g", b"\0\x02in", &[0, 0, 0, 7]];
    const OFFSET: &[u8] = &[0, 0, 0, 0, 0, 0, 1, 2];
    const EPOCH: &[u8] = &[0, 0, 0, 9];
    const TIME: &[u8] = &[0, 0, 0, 0, 0, 0, 2, 1];

    #[test]
    fn every_version_of_a_commit_is_read() {
        let commit = Commit {
            group: "g".to_owned(),
            topic: "in".to_owned(),
            partition: 7,
            offset: 258,
            metadata: b"m\xff".to_vec(),
            at_ms: 513,
        };
        let values: [&[&[u8]]; 5] = [
            &[&[0, 0], OFFSET, b"\0\x02m\xff", TIME],
            &[&[0, 1], OFFSET, b"\0\x02m\xff", TIME, TIME],
            &[&[0, 2], OFFSET, b"\0\x02m\xff", TIME],
            &[&[0, 3], OFFSET, EPOCH, b"\0\x02m\xff", TIME],
            &[&[0, 4], OFFSET, EPOCH, b"\x03m\xff", TIME, &[0]],
        ];
        for value in values {
            assert_eq!(decode(&record(&KEY, Some(value))), Some(Some(commit.clone())), "{value:?}");
        }
        let long = [b"\xc9\x01".as_slice(), &[b'x'; 200]].concat();
        let read = decode(&record(&KEY, Some(&[&[0, 4], OFFSET, EPOCH, &long, TIME, &[0]]))).unwrap().unwrap();
        assert_eq!(read.metadata, [b'x'; 200]);
    }

    #[test]
    fn what_is_no_commit_is_left_out_and_what_is_malformed_is_not() {
        assert_eq!(decode(&record(&[&[0, 2], b"\0\x01g"], Some(&[b"members"]))), Some(None));
        assert_eq!(decode(&record(&KEY, None)), Some(None), "a deletion");
        assert_eq!(decode(&record(&KEY, Some(&[&[0, 5], OFFSET]))), None, "an unknown version");
        let whole = [&[0, 4], OFFSET, EPOCH, b"\x03m\xff", TIME].concat();
        for end in 0..whole.len() {
            assert_eq!(decode(&record(&KEY, Some(&[&whole[..end]]))), None, "{end} bytes");
        }
        assert_eq!(
            decode(&record(&KEY, Some(&[&[0, 4], OFFSET, EPOCH, &[0xff; 9], TIME]))),
            None,
            "a length too large"
        );
    }
}
