//! A record to publish, in the form that waits for its acknowledgement.

use std::fmt::{self, Display};
use std::io::Write;
use std::sync::Arc;

/// A record to publish. The producer chooses the partition by the key.
///
/// It is kept until it is acknowledged, so that it can be published again
/// without running the handler again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Where it goes.
    pub topic: Arc<str>,
    /// `None` is Kafka's null, which is not the same as empty.
    pub key: Option<Vec<u8>>,
    /// `None` is Kafka's null: on a compacted topic it deletes the key.
    pub value: Option<Vec<u8>>,
    /// In the order they are written.
    pub headers: Headers,
}

impl Message {
    /// Bytes of memory the message holds, for the budgets; the topic's name is shared.
    pub fn size(&self) -> usize {
        let capacity = |bytes: &Option<Vec<u8>>| bytes.as_ref().map_or(0, Vec::capacity);
        size_of::<Message>() + capacity(&self.key) + capacity(&self.value) + self.headers.size()
    }
}

/// The headers of a message: names and values in one buffer, so that an event
/// with ten attributes costs two allocations and not twenty.
///
/// A name is any bytes: Kafka says UTF-8, a producer may not have kept to it. A
/// NUL inside a name is written as it is, but librdkafka hands the names of
/// received records over as C strings: such a name is cut before its first NUL
/// when it is read, before Outrigger sees it.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Headers {
    /// Name, value, name, value, ...
    bytes: Vec<u8>,
    /// Of each name and value; `None` is null.
    lengths: Vec<(usize, Option<usize>)>,
}

impl Headers {
    /// None yet; room for this many headers, their names and values together
    /// this many bytes.
    pub fn with_capacity(headers: usize, bytes: usize) -> Headers {
        Headers { bytes: Vec::with_capacity(bytes), lengths: Vec::with_capacity(headers) }
    }

    /// Adds a header behind the others. Names may repeat; `None` is null.
    pub fn push(&mut self, name: &[u8], value: Option<&[u8]>) {
        self.bytes.extend_from_slice(name);
        self.bytes.extend_from_slice(value.unwrap_or_default());
        self.lengths.push((name.len(), value.map(<[u8]>::len)));
    }

    /// Adds a header whose name is `prefix` and `name` together.
    pub fn push_prefixed(&mut self, prefix: &str, name: &str, value: &str) {
        self.bytes.extend_from_slice(prefix.as_bytes());
        self.push(name.as_bytes(), Some(value.as_bytes()));
        if let Some((length, _)) = self.lengths.last_mut() {
            *length += prefix.len();
        }
    }

    /// Adds a header whose value is the text of `value`.
    pub fn push_text(&mut self, name: &str, value: impl Display) {
        self.bytes.extend_from_slice(name.as_bytes());
        let before = self.bytes.len();
        // Writing into memory does not fail, and what had been written counts as the value.
        let _ = write!(self.bytes, "{value}");
        self.lengths.push((name.len(), Some(self.bytes.len() - before)));
    }

    /// The headers in their order: name, and value or null.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&[u8], Option<&[u8]>)> {
        let mut rest = &self.bytes[..];
        let mut take = move |length| {
            let (part, behind) = rest.split_at(length);
            rest = behind;
            part
        };
        self.lengths.iter().map(move |(name, value)| (take(*name), value.map(&mut take)))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.lengths.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.lengths.is_empty()
    }

    /// The value of the last header of this name: where names repeat, the last
    /// one counts. `None` where there is none or its value is null.
    pub fn last(&self, name: &str) -> Option<&[u8]> {
        self.iter().filter(|(other, _)| *other == name.as_bytes()).last().and_then(|(_, value)| value)
    }

    fn size(&self) -> usize {
        self.bytes.capacity() + self.lengths.capacity() * size_of::<(usize, Option<usize>)>()
    }
}

impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lossy = |bytes| String::from_utf8_lossy(bytes);
        f.debug_list().entries(self.iter().map(|(name, value)| (lossy(name), value.map(lossy)))).finish()
    }
}

/// What an output or a dead letter is known by: the same input on the same route
/// gives the same id however often it is published, so that a consumer can drop
/// doubles.
#[derive(Clone, Copy, Debug)]
pub(super) struct Id<'a> {
    /// Another group's route may have the same name.
    pub group: &'a str,
    pub topic: &'a str,
    pub partition: i32,
    pub offset: i64,
    pub route: Option<&'a str>,
    /// Which of the attempt's outputs.
    pub index: Option<usize>,
}

/// The name of the header that carries the [`Id`].
pub(super) const ID: &str = "outrigger-id";

impl Display for Id<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}/{}", self.group, self.topic, self.partition, self.offset)?;
        if let Some(route) = self.route {
            write!(f, "/{route}")?;
        }
        if let Some(index) = self.index {
            write!(f, "/{index}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn null_and_empty_are_kept_apart() {
        let mut headers = Headers::default();
        headers.push(b"a", None);
        headers.push(b"b", Some(b""));
        headers.push(b"", Some(b"x"));
        headers.push_prefixed("ce_", "id", "7");
        headers.push_text("n", -3);
        let all: Vec<_> = headers.iter().collect();
        assert_eq!(
            all,
            [(&b"a"[..], None), (b"b", Some(&b""[..])), (b"", Some(b"x")), (b"ce_id", Some(b"7")), (b"n", Some(b"-3"))]
        );
    }

    #[test]
    fn the_last_of_a_name_counts() {
        let mut headers = Headers::default();
        headers.push_text("a", 1);
        headers.push_text("a", 2);
        headers.push_text("b", 3);
        assert_eq!(headers.last("a"), Some(&b"2"[..]));
        assert_eq!(headers.last("c"), None);
    }

    proptest! {
        #[test]
        fn what_goes_in_comes_out(
            all in prop::collection::vec((any::<Vec<u8>>(), any::<Option<Vec<u8>>>()), 0..10),
        ) {
            let mut headers = Headers::default();
            for (name, value) in &all {
                headers.push(name, value.as_deref());
            }
            let expected: Vec<_> = all.iter().map(|(name, value)| (&name[..], value.as_deref())).collect();
            prop_assert_eq!(headers.len(), all.len());
            prop_assert_eq!(headers.iter().collect::<Vec<_>>(), expected);
        }
    }
}
