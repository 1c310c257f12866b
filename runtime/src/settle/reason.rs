//! Text from guests and records, made fit to be shown.

/// `text` on one line and in at most `limit` bytes.
///
/// Control characters, line separators and characters that change the direction
/// of writing are escaped as in Rust (`\n`, `\u{1b}`): they could forge a log
/// line, drive a terminal, or show what is not there. What is too long is cut
/// between characters, never inside an escape, and ends with `…`.
pub fn printable(text: &str, limit: usize) -> String {
    const CUT: &str = "…";
    let mut shown = String::with_capacity(text.len().min(limit));
    // The longest beginning behind which there is room for the sign of a cut.
    let mut cut = 0;
    for character in text.chars() {
        if must_escape(character) {
            shown.extend(character.escape_default());
        } else {
            shown.push(character);
        }
        if shown.len() > limit {
            shown.truncate(cut);
            if limit >= CUT.len() {
                shown.push_str(CUT);
            }
            return shown;
        }
        if shown.len() + CUT.len() <= limit {
            cut = shown.len();
        }
    }
    shown
}

fn must_escape(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_reason_stays_on_its_line() {
        assert_eq!(printable("a\r\n\tb\u{1b}[31m", 100), r"a\r\n\tb\u{1b}[31m");
        assert_eq!(printable("\u{200e}a\u{202e}b\u{2066}\u{2028}", 100), r"\u{200e}a\u{202e}b\u{2066}\u{2028}");
        assert_eq!(printable("Zürich: \"ok\" \\ 'x'", 100), "Zürich: \"ok\" \\ 'x'");
    }

    #[test]
    fn a_long_reason_is_cut_between_characters() {
        assert_eq!(printable("abcdef", 6), "abcdef");
        assert_eq!(printable("abcdefg", 6), "abc…");
        assert_eq!(printable("äöüß", 7), "äö…");
        assert_eq!(printable("abc\u{1b}", 6), "abc…", "not inside an escape");
        assert_eq!(printable("abc", 2), "");
        assert_eq!(printable(&"ü".repeat(1_000_000), 1024).len(), 1023);
    }

    proptest! {
        #[test]
        fn whatever_comes_in(text in any::<String>(), limit in 0..40usize) {
            let shown = printable(&text, limit);
            prop_assert!(shown.len() <= limit);
            prop_assert!(!shown.chars().any(must_escape));
            let whole = printable(&text, usize::MAX);
            let kept = shown.strip_suffix('…').filter(|_| shown != whole).unwrap_or(&shown);
            prop_assert!(whole.starts_with(kept));
            prop_assert_eq!(shown == whole, whole.len() <= limit);
        }
    }
}
