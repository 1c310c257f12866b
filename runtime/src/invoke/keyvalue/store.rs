//! The store: a bounded map whose keys can be listed page by page while it changes.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::manifest::KeyValue;

/// What an entry costs beside its key and its value.
const ENTRY: usize = 64;

/// Keys in one page of a listing, and their bytes.
const PAGE_KEYS: usize = 1000;
const PAGE_BYTES: usize = 64 * 1024;

/// Why a write was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refused {
    /// Too many bytes.
    #[error("the store's bound of {0} bytes would be exceeded")]
    Bytes(usize),
    /// Too many keys.
    #[error("the store's bound of {0} keys is reached")]
    Entries(usize),
    /// To be incremented, but no number.
    #[error("the value is not a decimal number from 0 to 18446744073709551615")]
    NoNumber,
    /// Larger than the largest number.
    #[error("the number would be larger than 18446744073709551615")]
    Overflow,
}

/// The keys and values of one handler on one worker.
pub(super) struct Store {
    bounds: KeyValue,
    bytes: usize,
    entries: HashMap<Arc<str>, Entry>,
    /// Keys by the number that they got when they were made: the order of a listing.
    order: BTreeMap<u64, Arc<str>>,
    next: u64,
}

struct Entry {
    number: u64,
    value: Vec<u8>,
}

impl Store {
    /// Empty.
    pub(super) fn new(bounds: KeyValue) -> Store {
        Store { bounds, bytes: 0, entries: HashMap::new(), order: BTreeMap::new(), next: 0 }
    }

    /// Bytes that it may hold.
    pub(super) fn bytes_bound(&self) -> usize {
        self.bounds.bytes
    }

    /// A copy of the value.
    pub(super) fn get(&self, key: &str) -> Option<Vec<u8>> {
        self.entries.get(key).map(|entry| entry.value.clone())
    }

    pub(super) fn contains(&self, key: &str) -> bool {
        self.entries.contains_key(key)
    }

    /// Sets a value; where that is refused, the old one stays.
    pub(super) fn set(&mut self, key: &str, value: Vec<u8>) -> Result<(), Refused> {
        let before = self.entries.get(key).map(|entry| cost(key, &entry.value));
        if before.is_none() && self.entries.len() >= self.bounds.entries {
            return Err(Refused::Entries(self.bounds.entries));
        }
        let bytes = (self.bytes - before.unwrap_or(0)).saturating_add(cost(key, &value));
        if bytes > self.bounds.bytes {
            return Err(Refused::Bytes(self.bounds.bytes));
        }
        self.bytes = bytes;
        // What was reserved beyond its length would not be counted.
        let value = value.into_boxed_slice().into_vec();
        if let Some(entry) = self.entries.get_mut(key) {
            entry.value = value;
            return Ok(());
        }
        let (key, number): (Arc<str>, u64) = (key.into(), self.next);
        self.next += 1;
        self.order.insert(number, Arc::clone(&key));
        self.entries.insert(key, Entry { number, value });
        Ok(())
    }

    /// Removes a key; one that is not there is not an error.
    pub(super) fn delete(&mut self, key: &str) {
        if let Some(entry) = self.entries.remove(key) {
            self.order.remove(&entry.number);
            self.bytes -= cost(key, &entry.value);
        }
    }

    /// Adds to a number in decimal; a key that is not there counts as zero.
    pub(super) fn increment(&mut self, key: &str, delta: u64) -> Result<u64, Refused> {
        let current = match self.entries.get(key) {
            None => 0,
            Some(entry) => number(&entry.value).ok_or(Refused::NoNumber)?,
        };
        let sum = current.checked_add(delta).ok_or(Refused::Overflow)?;
        self.set(key, sum.to_string().into_bytes())?;
        Ok(sum)
    }

    /// The keys from `cursor` on, and the cursor of the next page. A key that is
    /// there all the while is listed once, whatever is set or deleted meanwhile.
    pub(super) fn list(&self, cursor: Option<u64>) -> (Vec<String>, Option<u64>) {
        let (mut keys, mut bytes) = (Vec::new(), 0);
        for (number, key) in self.order.range(cursor.unwrap_or(0)..) {
            if keys.len() == PAGE_KEYS || (bytes > 0 && bytes + key.len() > PAGE_BYTES) {
                return (keys, Some(*number));
            }
            bytes += key.len();
            keys.push(key.to_string());
        }
        (keys, None)
    }
}

fn cost(key: &str, value: &[u8]) -> usize {
    key.len() + value.len() + ENTRY
}

fn number(value: &[u8]) -> Option<u64> {
    let digits = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
    digits.then(|| std::str::from_utf8(value).ok()?.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn store(bytes: usize, entries: usize) -> Store {
        Store::new(KeyValue { bytes, entries })
    }

    #[test]
    fn bounds_refuse_and_keep_what_is_there() {
        let mut store = store(200, 2);
        assert_eq!(store.set("a", vec![1; 30]), Ok(()));
        assert_eq!(store.set("a", vec![1; 136]), Err(Refused::Bytes(200)));
        assert_eq!(store.get("a"), Some(vec![1; 30]), "the old value stays");
        assert_eq!(store.set("a", vec![1; 135]), Ok(()), "in place of the old one");
        assert_eq!(store.set("a", vec![]), Ok(()));
        assert_eq!(store.set("b", vec![]), Ok(()));
        assert_eq!(store.set("c", vec![]), Err(Refused::Entries(2)));
        store.delete("a");
        store.delete("never");
        assert_eq!(store.set("c", vec![]), Ok(()));
    }

    #[test]
    fn numbers_are_incremented() {
        let mut store = store(1000, 10);
        assert_eq!(store.increment("n", 3), Ok(3));
        assert_eq!(store.increment("n", 4), Ok(7));
        assert_eq!(store.get("n").as_deref(), Some(&b"7"[..]));
        assert_eq!(store.increment("n", u64::MAX), Err(Refused::Overflow));
        for text in ["", "x", "-1", "+1", "1.0", "18446744073709551616"] {
            store.set("n", text.into()).unwrap();
            assert_eq!(store.increment("n", 1), Err(Refused::NoNumber), "{text}");
            assert_eq!(store.get("n").as_deref(), Some(text.as_bytes()));
        }
    }

    #[test]
    fn listing_goes_on_where_it_stopped_whatever_changes() {
        let mut store = store(1 << 20, 10_000);
        (0..2500).for_each(|n| store.set(&format!("k{n}"), vec![]).unwrap());
        let (first, cursor) = store.list(None);
        assert_eq!(first.len(), PAGE_KEYS);
        (0..500).for_each(|n| store.delete(&format!("k{n}")));
        let (second, cursor) = store.list(cursor);
        let (third, end) = store.list(cursor);
        let rest: Vec<String> = (1000..2500).map(|n| format!("k{n}")).collect();
        assert_eq!((second.into_iter().chain(third).collect::<Vec<_>>(), end), (rest, None));
        assert_eq!(store.list(Some(u64::MAX)), (vec![], None));
    }

    #[test]
    fn a_page_is_bounded_in_bytes_but_never_empty() {
        let mut store = store(1 << 20, 100);
        (0..3).for_each(|n| store.set(&format!("{n}{}", "x".repeat(PAGE_BYTES)), vec![]).unwrap());
        let (page, cursor) = store.list(None);
        assert_eq!((page.len(), cursor), (1, Some(1)));
    }

    proptest! {
        /// Against a map that knows no bounds: what is accepted is kept, and the count is exact.
        #[test]
        fn like_a_map(steps in prop::collection::vec((0..4_u8, "[a-d]{1,2}", 0..80_usize), 0..60)) {
            let mut store = store(600, 5);
            let mut model: std::collections::BTreeMap<String, Vec<u8>> = std::collections::BTreeMap::new();
            for (step, key, size) in steps {
                match step {
                    0 => {
                        store.delete(&key);
                        model.remove(&key);
                    }
                    _ => {
                        let mut after = model.clone();
                        after.insert(key.clone(), vec![7; size]);
                        let bytes: usize = after.iter().map(|(key, value)| cost(key, value)).sum();
                        let accepted = store.set(&key, vec![7; size]).is_ok();
                        prop_assert_eq!(accepted, bytes <= 600 && after.len() <= 5);
                        if accepted {
                            model = after;
                        }
                    }
                }
                prop_assert_eq!(store.bytes, model.iter().map(|(key, value)| cost(key, value)).sum::<usize>());
                let mut keys = store.list(None).0;
                keys.sort();
                prop_assert_eq!(keys, model.keys().cloned().collect::<Vec<_>>());
                prop_assert!(model.iter().all(|(key, value)| store.get(key).as_ref() == Some(value)));
            }
        }
    }
}
