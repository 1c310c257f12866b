//! Text from a guest, made safe for a terminal and a log file.

use std::borrow::Cow;
use std::fmt::Write;

/// Replaces what could move a terminal's cursor, forge a line or reorder text:
/// control characters, line separators and bidirectional overrides.
pub(super) fn escape(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_unsafe) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_unsafe(c) {
            // Writing to a String cannot fail.
            let _ = write!(safe, "{}", c.escape_default());
        } else {
            safe.push(c);
        }
    }
    Cow::Owned(safe)
}

fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{2028}' | '\u{2029}' | '\u{200E}' | '\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_unsafe_is_escaped() {
        assert!(matches!(escape("größe 5 µm \"ok\" \\"), Cow::Borrowed(_)));
        assert_eq!(escape("a\nb\x1b[2J\u{202e}c\0"), "a\\nb\\u{1b}[2J\\u{202e}c\\u{0}");
    }
}
