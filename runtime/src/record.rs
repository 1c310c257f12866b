//! A Kafka record, copied out of the client: what `source` hands to `decode`.

use smallvec::SmallVec;

/// Which part of a record's bytes something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Part {
    start: u32,
    len: u32,
}

impl Part {
    const NULL: Part = Part { start: u32::MAX, len: 0 };

    fn of<'a>(&self, bytes: &'a [u8]) -> Option<&'a [u8]> {
        (self.start != u32::MAX).then(|| &bytes[self.start as usize..][..self.len as usize])
    }
}

/// One record of a partition. Key, value and headers share one allocation; more
/// than two headers cost a second one for the table.
#[derive(Debug)]
pub struct Record {
    offset: i64,
    timestamp_ms: Option<i64>,
    bytes: Box<[u8]>,
    key: Part,
    value: Part,
    headers: SmallVec<[(Part, Part); 2]>,
}

impl Record {
    /// Copies the parts of a record. `None` is Kafka's null, which is not the
    /// same as empty. Header names are bytes: Kafka says UTF-8, a producer may not.
    ///
    /// Kafka's own limits keep a record below 2 GiB, so `u32` positions suffice.
    pub fn new<'a, H>(
        offset: i64,
        timestamp_ms: Option<i64>,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: H,
    ) -> Record
    where
        H: Iterator<Item = (&'a [u8], Option<&'a [u8]>)> + Clone,
    {
        let of_headers = headers.clone().map(|(name, value)| name.len() + value.map_or(0, <[u8]>::len)).sum::<usize>();
        let size = key.map_or(0, <[u8]>::len) + value.map_or(0, <[u8]>::len) + of_headers;
        let mut bytes = Vec::with_capacity(size);
        let mut put = |part: Option<&[u8]>| match part {
            None => Part::NULL,
            Some(part) => {
                let start = bytes.len() as u32;
                bytes.extend_from_slice(part);
                Part { start, len: part.len() as u32 }
            }
        };
        let key = put(key);
        let value = put(value);
        let headers = headers.map(|(name, value)| (put(Some(name)), put(value))).collect();
        Record { offset, timestamp_ms, bytes: bytes.into_boxed_slice(), key, value, headers }
    }

    /// The record's offset in its partition.
    pub fn offset(&self) -> i64 {
        self.offset
    }

    /// Milliseconds since the Unix epoch, as the broker or the producer set them.
    pub fn timestamp_ms(&self) -> Option<i64> {
        self.timestamp_ms
    }

    /// The key, `None` where it is null.
    pub fn key(&self) -> Option<&[u8]> {
        self.key.of(&self.bytes)
    }

    /// The value, `None` where it is null (a tombstone).
    pub fn value(&self) -> Option<&[u8]> {
        self.value.of(&self.bytes)
    }

    /// The headers in their order: name, and value or null. Names may repeat.
    pub fn headers(&self) -> impl ExactSizeIterator<Item = (&[u8], Option<&[u8]>)> + Clone {
        self.headers.iter().map(|(name, value)| (name.of(&self.bytes).unwrap_or_default(), value.of(&self.bytes)))
    }

    /// Every byte of key, value and headers: what borrowed views point into.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Bytes of memory the record holds, for the budgets.
    pub fn size(&self) -> usize {
        let table = if self.headers.spilled() { self.headers.capacity() * size_of::<(Part, Part)>() } else { 0 };
        size_of::<Record>() + self.bytes.len() + table
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn null_and_empty_are_kept_apart() {
        let headers: [(&[u8], Option<&[u8]>); 3] = [(b"a", None), (b"b", Some(b"")), (b"a", Some(b"x"))];
        let record = Record::new(7, None, None, Some(b""), headers.iter().copied());
        assert_eq!(record.key(), None);
        assert_eq!(record.value(), Some(&b""[..]));
        assert_eq!(record.headers().collect::<Vec<_>>(), headers);
        let record = Record::new(7, None, Some(b"k"), None, [].into_iter());
        assert_eq!((record.key(), record.value()), (Some(&b"k"[..]), None));
    }
}
