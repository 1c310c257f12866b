//! Names of topics, and which of them the manifest consumes.

use super::Check;
use super::pattern::Pattern;
use crate::manifest::model;
use crate::manifest::raw;
use crate::manifest::read::{Given, Place};

/// What the manifest consumes.
#[derive(Debug, Default)]
pub(super) struct Topics(pub Vec<Source>);

/// An entry of `kafka.topics`.
#[derive(Debug)]
pub(super) struct Source {
    pub topic: model::Topic,
    /// Where the entry's name stands.
    pub at: Place,
    /// What a message may show of the name.
    pub shown: String,
    /// Where the name is a pattern.
    pub pattern: Option<Pattern>,
}

impl Source {
    /// Whether the entry consumes this topic.
    pub fn consumes(&self, topic: &str) -> bool {
        match &self.pattern {
            Some(pattern) => pattern.matches(topic),
            None => self.topic.name == topic,
        }
    }
}

impl Topics {
    /// Reads `kafka.topics`; entries that are wrong are left out.
    pub fn read(check: Check<'_>, kafka: &raw::Kafka, parent: Place) -> Topics {
        let help = "name what is consumed: `topics: [shop.orders]`";
        let Some(given) = check.require(&kafka.topics, "topics", parent, help) else { return Topics::default() };
        if given.value.is_empty() {
            check.problems.error(given.at, "there is no topic to consume", help);
        }
        let mut topics = Topics::default();
        for entry in given.value.iter().filter_map(|field| field.given()) {
            let Some(source) = check.source(entry) else { continue };
            if let Some(first) = topics.0.iter().find(|other| other.topic.name == source.topic.name) {
                let message = format!("`{}` is consumed twice", source.shown);
                check.problems.error(source.at, message, format!("keep this one or the one in line {}", first.at.line));
                continue;
            }
            topics.0.push(source);
        }
        topics
    }

    /// The entry by which this topic is consumed.
    pub fn consuming(&self, topic: &str) -> Option<&Source> {
        self.0.iter().find(|source| source.consumes(topic))
    }

    pub fn checked(&self) -> Vec<model::Topic> {
        self.0.iter().map(|source| source.topic.clone()).collect()
    }
}

impl Check<'_> {
    fn source(self, entry: &Given<raw::Topic>) -> Option<Source> {
        let (name, at, shown, start_from) = match &entry.value {
            raw::Topic::Name(name) => {
                let shown = entry.written.clone().unwrap_or_else(|| name.clone());
                (name, entry.at, shown, None)
            }
            raw::Topic::Table(table) => {
                let given = self.require(&table.name, "name", entry.key, "write `name: shop.orders`")?;
                (&given.value, given.at, given.shown().to_owned(), table.start_from.value())
            }
        };
        let pattern = if name.starts_with('^') {
            match Pattern::new(name) {
                Ok(pattern) => Some(pattern),
                Err(why) => {
                    let message = format!("`{shown}` cannot be used as a pattern: {why}");
                    let help = "a pattern is a POSIX extended regular expression, as in ^audit\\.[a-z]+$";
                    self.problems.error(at, message, help);
                    return None;
                }
            }
        } else {
            self.topic_name(name, &shown, at).then_some(None)?
        };
        let start_from = start_from.map(|given| (*given).into());
        Some(Source { topic: model::Topic { name: name.clone(), start_from }, at, shown, pattern })
    }

    /// Whether Kafka accepts the name; if not, that is reported.
    pub fn topic_name(self, name: &str, shown: &str, at: Place) -> bool {
        if is_topic_name(name) {
            return true;
        }
        let pattern = name.contains(['*', '+', '[', '(', '$', '\\', '|']);
        let help = if pattern {
            "a pattern begins with `^`, and is only for `kafka.topics`"
        } else {
            "a topic's name has letters, digits, `.`, `_` and `-`, at most 249"
        };
        self.problems.error(at, format!("`{shown}` is not a name that Kafka accepts for a topic"), help);
        false
    }
}

/// Whether Kafka accepts a topic of this name.
pub(super) fn is_topic_name(name: &str) -> bool {
    let legal = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    (1..=249).contains(&name.len()) && name.bytes().all(legal) && name != "." && name != ".."
}

#[cfg(test)]
mod tests {
    use super::is_topic_name;

    #[test]
    fn names() {
        assert!(is_topic_name("shop.orders_v1-x") && is_topic_name(&"a".repeat(249)));
        for name in ["", ".", "..", "a b", "a/b", "ä", "a*"] {
            assert!(!is_topic_name(name), "{name}");
        }
        assert!(!is_topic_name(&"a".repeat(250)));
    }
}
