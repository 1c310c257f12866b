//! What an event asks a guest to do.

use std::time::{SystemTime, UNIX_EPOCH};

/// An event's data: `KEY=VALUE` pairs with spaces between.
#[derive(Debug)]
pub struct Order(String);

impl Order {
    /// Reads an event's data; without data nothing is asked for.
    pub fn of(data: Option<&[u8]>) -> Order {
        Order(String::from_utf8_lossy(data.unwrap_or_default()).into_owned())
    }

    /// The value of a key; empty where it is missing.
    pub fn text(&self, name: &str) -> &str {
        let mut pairs = self.0.split_whitespace().filter_map(|pair| pair.split_once('='));
        pairs.find(|(key, _)| *key == name).map_or("", |(_, value)| value)
    }

    /// The same as a number; 0 where it is none.
    pub fn number(&self, name: &str) -> u64 {
        self.text(name).parse().unwrap_or(0)
    }

    /// Whether the time is over that the order was for: its `until`, Unix time in
    /// milliseconds. What is left of a backlog then ends at once.
    pub fn is_over(&self) -> bool {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_millis());
        u128::from(self.number("until")) <= now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_found_by_name_and_what_is_missing_is_nothing() {
        let order = Order::of(Some(b"do=loop us=900 until=99999999999999"));
        assert_eq!((order.text("do"), order.number("us"), order.text("file")), ("loop", 900, ""));
        assert!(!order.is_over());
        assert!(Order::of(Some(b"until=1")).is_over() && Order::of(None).is_over());
    }
}
