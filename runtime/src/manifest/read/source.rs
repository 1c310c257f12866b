//! The text as diagnostics show it: line by line, without secrets.

use std::collections::{BTreeMap, HashSet};

use super::{Kind, Node, Place, Problem, is_plain};
use crate::manifest::diagnostic::{Diagnostic, Location};

/// What replaces a secret in a line.
const MASK: &str = "***";

/// A manifest's name and lines, and what of them must not be shown.
pub(in crate::manifest) struct Source {
    name: String,
    lines: Vec<String>,
    /// By line from 1: ranges of columns from 1, the end exclusive.
    hidden: BTreeMap<u32, Vec<(u32, u32)>>,
}

impl Source {
    pub fn new(name: &str, text: &str) -> Source {
        let text = text.trim_start_matches('\u{feff}').replace("\r\n", "\n");
        let lines = text.split(['\n', '\r']).map(str::to_owned).collect();
        Source { name: name.to_owned(), lines, hidden: BTreeMap::new() }
    }

    /// Hides the values of `kafka.properties` and whatever a key calls a secret:
    /// in the lines, and in the tree, so that no message shows them. An alias
    /// and what it repeats stand at one place and are hidden together.
    pub fn hide_secrets(&mut self, root: &mut Node) {
        let mut places = HashSet::new();
        secrets_below(root, false, &mut places);
        mark(root, &places);
        places.into_iter().for_each(|place| self.hide(place));
        if has_odd_key(root) {
            self.hide_secret_lines();
        }
    }

    fn hide(&mut self, place: Place) {
        for line in place.line..=place.end_line.min(self.lines.len() as u32) {
            let from = if line == place.line { place.column } else { 1 };
            let to = if line == place.end_line { place.end_column } else { u32::MAX };
            if from < to {
                self.hidden.entry(line).or_default().push((from, to));
            }
        }
    }

    /// The same for a text that could not be parsed, going by lines: what
    /// follows a key that calls its value a secret is hidden, to the end of the
    /// line and in the lines below it, until one that is as little indented
    /// begins with a plain key. That hides too much rather than too little.
    pub fn hide_secret_lines(&mut self) {
        let mut block: Option<usize> = None;
        for index in 0..self.lines.len() {
            let line = self.lines[index].clone();
            let number = index as u32 + 1;
            let indent = line.chars().take_while(|c| *c == ' ').count();
            if block.is_some_and(|above| indent <= above && begins_with_key(&line)) {
                block = None;
            }
            if block.is_some() {
                self.hidden.entry(number).or_default().push((1, u32::MAX));
            } else if let Some(column) = secret_key_end(&line) {
                self.hidden.entry(number).or_default().push((column as u32 + 2, u32::MAX));
                block = Some(indent);
            }
        }
    }

    /// A problem with its line.
    pub fn diagnostic(&self, problem: Problem) -> Diagnostic {
        Diagnostic {
            severity: problem.severity,
            file: self.name.clone(),
            location: problem.place.map(|place| self.location(place)),
            message: problem.message,
            help: problem.help,
        }
    }

    fn location(&self, place: Place) -> Location {
        let line = place.line.clamp(1, self.lines.len().max(1) as u32);
        let text = self.lines.get(line as usize - 1).map_or("", String::as_str);
        let length = text.chars().count() as u32;
        let start = if line == place.line { place.column.clamp(1, length + 1) } else { length + 1 };
        let end = if place.end_line == place.line { place.end_column } else { length + 1 };
        let shown = self.shown(line, text);
        // The first shown character that stands for one at or behind the column.
        let position = |column: u32| shown.iter().position(|(_, of)| *of >= column).unwrap_or(shown.len());
        let within = |column: u32| {
            let at = position(column);
            // Inside a mask: at its beginning.
            let masked = at > 0 && shown.get(at).is_none_or(|(_, of)| *of > column) && shown[at - 1].0 == '*';
            if masked { shown.iter().position(|(_, of)| *of == shown[at - 1].1).unwrap_or(at) } else { at }
        };
        let caret = within(start);
        let width = if end > start { position(end).saturating_sub(caret) } else { 1 };
        let source_line = shown.iter().map(|(c, _)| c).collect();
        Location { line: place.line, column: place.column, source_line, caret, width: width.max(1) }
    }

    /// The characters shown of a line, each with the column that it stands for.
    fn shown(&self, line: u32, text: &str) -> Vec<(char, u32)> {
        let hidden = self.hidden.get(&line).map_or(&[][..], Vec::as_slice);
        let mut shown = Vec::new();
        let mut masked_until = 0;
        for (column, c) in (1..).zip(text.chars()) {
            if column < masked_until {
                continue;
            }
            match hidden.iter().filter(|(from, to)| (*from..*to).contains(&column)).map(|(_, to)| *to).max() {
                Some(to) => {
                    masked_until = to;
                    shown.extend(MASK.chars().map(|c| (c, column)));
                }
                None => shown.push((if c.is_control() { ' ' } else { c }, column)),
            }
        }
        while shown.last().is_some_and(|(c, _)| c.is_whitespace()) {
            shown.pop();
        }
        shown
    }
}

/// Whether some key looks like no key of a manifest. Then the text was probably
/// read otherwise than it was meant, and a secret may stand anywhere.
fn has_odd_key(node: &Node) -> bool {
    match &node.kind {
        Kind::Scalar(_) | Kind::Broken => false,
        Kind::List(items) => items.iter().any(has_odd_key),
        Kind::Map(entries) => entries.iter().any(|(key, value)| !is_plain(&key.name) || has_odd_key(value)),
    }
}

/// The places of all secret scalars.
fn secrets_below(node: &Node, secret: bool, places: &mut HashSet<Place>) {
    match &node.kind {
        Kind::Scalar(scalar) if secret && !scalar.is_null() => {
            places.insert(node.place);
        }
        Kind::Scalar(_) | Kind::Broken => {}
        Kind::List(items) => items.iter().for_each(|item| secrets_below(item, secret, places)),
        Kind::Map(entries) => {
            for (key, value) in entries {
                let secret = secret || is_secret(&key.name);
                if secret && !is_plain(&key.name) {
                    // A value with its key, as in `sasl.password hunter2`.
                    places.insert(key.place);
                }
                secrets_below(value, secret, places);
            }
        }
    }
}

fn mark(node: &mut Node, places: &HashSet<Place>) {
    let place = node.place;
    match &mut node.kind {
        Kind::Scalar(scalar) if places.contains(&place) => scalar.written = Some(MASK.to_owned()),
        Kind::Scalar(_) | Kind::Broken => {}
        Kind::List(items) => items.iter_mut().for_each(|item| mark(item, places)),
        Kind::Map(entries) => entries.iter_mut().for_each(|(_, value)| mark(value, places)),
    }
}

/// Whether a key says that its value is a secret. `properties` holds the
/// passwords of the connection, so a key that was probably meant to be it
/// counts; `env` may hold anything.
fn is_secret(key: &str) -> bool {
    const WORDS: [&str; 8] = ["password", "passphrase", "secret", "token", "credential", "pem", "jaas", "sasl"];
    let key = key.to_lowercase();
    if key == "env" {
        return true;
    }
    WORDS.iter().any(|word| key.contains(word))
        || ["properties", "secrets"].iter().any(|section| strsim::damerau_levenshtein(&key, section) <= 3)
}

/// Where the first key of the line that calls its value a secret ends: the
/// number of characters up to its colon.
fn secret_key_end(line: &str) -> Option<usize> {
    let mut word_start = 0;
    for (index, c) in line.char_indices() {
        if c == ':' {
            let word = line[word_start..index].trim_matches(|c: char| c.is_whitespace() || "'\"-?".contains(c));
            if is_secret(word) {
                return Some(line[..index].chars().count());
            }
        }
        if " {[,:".contains(c) {
            word_start = index + c.len_utf8();
        }
    }
    None
}

fn begins_with_key(line: &str) -> bool {
    let line = line.trim_start().trim_start_matches("- ");
    let Some((key, rest)) = line.split_once(':') else { return false };
    let plain = !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphabetic());
    plain && (rest.is_empty() || rest.starts_with(' ')) && !is_secret(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str, hide: &[(u32, u32)], column: u32, end_column: u32) -> (String, usize, usize) {
        let mut source = Source::new("m", text);
        source.hidden.insert(1, hide.to_vec());
        let at = source.location(Place { line: 1, column, end_line: 1, end_column });
        (at.source_line, at.caret, at.width)
    }

    #[test]
    fn the_caret_follows_what_is_masked() {
        let text = "a: hunter2, b: 1";
        assert_eq!(line(text, &[], 13, 14), (text.to_owned(), 12, 1));
        assert_eq!(line(text, &[(4, 11)], 13, 14), ("a: ***, b: 1".to_owned(), 8, 1));
        assert_eq!(line(text, &[(4, 11)], 4, 11), ("a: ***, b: 1".to_owned(), 3, 3), "the mask itself");
        assert_eq!(line(text, &[(4, 11)], 6, 7).1, 3, "inside the mask");
        assert_eq!(line(text, &[(4, u32::MAX)], 15, 16).0, "a: ***");
    }

    #[test]
    fn a_place_outside_the_text_is_no_panic() {
        for column in [0, 1, 5, 99] {
            let source = Source::new("m", "ab");
            for line in [0, 1, 2, 99] {
                let at = source.location(Place { line, column, end_line: line, end_column: column });
                assert!(at.width >= 1 && at.caret <= 2);
            }
        }
    }

    #[test]
    fn lines_of_an_unparsable_text_are_hidden_by_key() {
        let text = "kafka:\n  properties:\n    a: hunter2\n   b\n  groupId: g\nx: {sasl.password: \"hunter2\nhunter3\n";
        let mut source = Source::new("m", text);
        source.hide_secret_lines();
        let shown: Vec<String> = (1..=7)
            .map(|line| source.location(Place { line, column: 1, end_line: line, end_column: 2 }).source_line)
            .collect();
        assert_eq!(shown, ["kafka:", "  properties:", "***", "***", "  groupId: g", "x: {sasl.password:***", "***"]);
    }
}
