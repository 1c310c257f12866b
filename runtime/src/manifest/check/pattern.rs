//! Patterns of topics, decided as librdkafka decides them: POSIX extended
//! regular expressions, searched for anywhere in the name.
//!
//! The pattern becomes a finite automaton, because the questions are about all
//! names that it can ever match: may a dead letter of a topic that matches
//! here go to a topic that matches there? Two automata run side by side answer
//! that exactly.

use std::collections::HashSet;

use regex_automata::dfa::{Automaton, StartKind, dense};
use regex_automata::nfa::thompson;
use regex_automata::util::primitives::StateID;
use regex_automata::util::start::Config as Start;
use regex_automata::util::syntax;
use regex_automata::{Anchored, MatchKind};

/// The characters of topic names.
const ALPHABET: &[u8] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
/// What a compiled pattern may take, in bytes.
const MAX_AUTOMATON: usize = 1 << 20;
/// How many pairs of states are looked at before a question counts as too hard.
const MAX_PAIRS: usize = 200_000;

/// A compiled pattern.
#[derive(Clone, Debug)]
pub(super) struct Pattern {
    automaton: dense::DFA<Vec<u32>>,
    start: StateID,
}

/// Whether an entry of `kafka.topics` is a pattern that this topic matches.
pub(in crate::manifest) fn is_pattern_of(entry: &str, topic: &str) -> bool {
    entry.starts_with('^') && Pattern::new(entry).is_ok_and(|pattern| pattern.matches(topic))
}

impl Pattern {
    /// Compiles a pattern.
    ///
    /// # Errors
    /// Why it cannot be used.
    pub fn new(pattern: &str) -> Result<Pattern, String> {
        not_posix(pattern)?;
        let dialect = syntax::Config::new().unicode(false).utf8(false).nest_limit(50);
        // Alone first: `a)(b` would close the group that is put around it.
        syntax::parse_with(pattern, &dialect).map_err(|_| "it is not a regular expression")?;
        // `^` holds at the start of the name only, `$` at its end, and the rest is free.
        let searched = format!(r"\A(?s:.)*(?:{pattern})(?s:.)*\z");
        let config = dense::Config::new()
            .match_kind(MatchKind::All)
            .start_kind(StartKind::Anchored)
            .dfa_size_limit(Some(MAX_AUTOMATON))
            .determinize_size_limit(Some(4 * MAX_AUTOMATON));
        let automaton = dense::Builder::new()
            .configure(config)
            .syntax(dialect)
            .thompson(thompson::Config::new().utf8(false).nfa_size_limit(Some(MAX_AUTOMATON)))
            .build(&searched)
            .map_err(|error| {
                if error.is_size_limit_exceeded() { "it is too complex" } else { "it is not a regular expression" }
            })?;
        let start =
            automaton.start_state(&Start::new().anchored(Anchored::Yes)).map_err(|_| "it cannot be searched for")?;
        Ok(Pattern { automaton, start })
    }

    /// Whether a topic of this name is consumed.
    pub fn matches(&self, topic: &str) -> bool {
        self.ends_in_match(self.after(self.start, topic))
    }

    /// Whether some name that this pattern matches, put between `before` and
    /// `after`, is matched by `other`. Where that is too hard to tell: yes.
    pub fn reaches(&self, before: &str, after: &str, other: &Pattern) -> bool {
        let first = (self.start, other.after(other.start, before));
        let mut seen = HashSet::from([first]);
        let mut todo = vec![first];
        while let Some((mine, theirs)) = todo.pop() {
            if self.ends_in_match(mine) && other.ends_in_match(other.after(theirs, after)) {
                return true;
            }
            for byte in ALPHABET {
                let next = (self.automaton.next_state(mine, *byte), other.automaton.next_state(theirs, *byte));
                let dead = self.automaton.is_dead_state(next.0) || other.automaton.is_dead_state(next.1);
                if !dead && seen.insert(next) {
                    todo.push(next);
                }
            }
            if seen.len() > MAX_PAIRS {
                return true;
            }
        }
        false
    }

    fn after(&self, from: StateID, text: &str) -> StateID {
        text.bytes().fold(from, |state, byte| self.automaton.next_state(state, byte))
    }

    fn ends_in_match(&self, state: StateID) -> bool {
        self.automaton.is_match_state(self.automaton.next_eoi_state(state))
    }
}

/// Refuses what POSIX reads differently from what most people mean.
fn not_posix(pattern: &str) -> Result<(), String> {
    if pattern.contains("(?") {
        return Err("POSIX regular expressions have no `(?`".to_owned());
    }
    let mut characters = pattern.chars();
    while let Some(c) = characters.next() {
        if c == '\\'
            && let Some(escaped) = characters.next().filter(char::is_ascii_alphanumeric)
        {
            let instead = if escaped == 'd' { ": write [0-9]" } else { "" };
            return Err(format!("POSIX regular expressions have no `\\{escaped}`{instead}"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pattern(text: &str) -> Pattern {
        Pattern::new(text).unwrap()
    }

    #[test]
    fn is_searched_for_and_anchored_where_it_says_so() {
        let audit = pattern("^audit\\.");
        assert!(audit.matches("audit.x") && audit.matches("audit.") && !audit.matches("my.audit.x"));
        let whole = pattern("^audit\\.[a-z]+$");
        assert!(whole.matches("audit.x") && !whole.matches("audit.x.dlq"));
        let either = pattern("^a$|b");
        assert!(either.matches("a") && either.matches("xbx") && !either.matches("aa"));
        assert!(pattern("^[[:digit:]]{2}$").matches("42"));
    }

    #[test]
    fn tells_whether_dead_letters_come_back() {
        let open = pattern("^audit\\..*");
        let closed = pattern("^audit\\.[a-z]+$");
        assert!(open.reaches("", ".dlq", &open));
        assert!(!open.reaches("dlq.", "", &open));
        assert!(!closed.reaches("", ".dlq", &closed));
        assert!(closed.reaches("", "x", &closed));
        assert!(closed.reaches("", ".dlq", &pattern("dlq$")));
    }

    #[test]
    fn what_posix_lacks_is_refused() {
        for wrong in ["^a\\d", "^(?:a)", "^a(", "^[", "^a\\1", "^a)(b"] {
            assert!(Pattern::new(wrong).is_err(), "{wrong}");
        }
        assert!(Pattern::new("^a\\d").unwrap_err().contains("[0-9]"));
        assert!(Pattern::new("^(a{1,100}){1,100}(b{1,100}){1,100}$").is_err(), "bounded");
    }

    proptest! {
        #[test]
        fn reaches_agrees_with_trying_names(
            mine in "\\^[ab]{1,2}(\\*|\\+)?\\$?",
            other in "\\^?[ab.]{1,3}\\$?",
            name in "[ab]{0,4}",
        ) {
            let (mine, other) = (pattern(&mine), pattern(&other));
            if mine.matches(&name) && other.matches(&format!("b.{name}.a")) {
                prop_assert!(mine.reaches("b.", ".a", &other));
            }
        }

        #[test]
        fn never_panics(text in "\\PC{0,16}") {
            let _ = Pattern::new(&text).map(|pattern| pattern.matches("a.b"));
        }
    }
}
