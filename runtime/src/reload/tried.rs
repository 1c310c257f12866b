//! What was tried in vain, and when it is tried again.

use std::time::{Duration, Instant};

use super::Content;

/// What failed for a reason that may pass is tried again after this time, then after twice
/// as long, and so on up to an hour, without anybody asking.
const AGAIN: Duration = Duration::from_secs(60);
const AGAIN_AT_MOST: Duration = Duration::from_secs(3_600);

/// What was tried last and failed: as long as it stays that, it is not tried again.
pub(super) struct Tried {
    content: Content,
    /// Unless the reason may pass: then at this time, and after twice the wait.
    again: Option<(Instant, Duration)>,
}

impl Tried {
    /// `before`: what was tried before this. `asked`: somebody asked, which makes no wait longer.
    pub fn new(content: Content, may_pass: bool, asked: bool, before: Option<&Tried>, now: Instant) -> Tried {
        let before = before.filter(|before| before.content == content).and_then(|before| before.again);
        let longer = if asked { 1 } else { 2 };
        let wait = before.map_or(AGAIN, |(_, waited)| (waited * longer).min(AGAIN_AT_MOST));
        Tried { content, again: may_pass.then(|| (now + wait, wait)) }
    }

    pub fn is_over(&self, content: &Content, now: Instant) -> bool {
        self.content != *content || self.again.is_some_and(|(at, _)| now >= at)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn content(text: &str) -> Content {
        Content { manifest: Err(text.to_owned()), modules: BTreeMap::new() }
    }

    #[test]
    fn what_failed_is_tried_again_only_where_its_reason_may_pass_and_ever_less_often() {
        let now = Instant::now();
        let hour = 60 * AGAIN;
        let broken = Tried::new(content("a"), false, false, None, now);
        assert!(!broken.is_over(&content("a"), now + 100 * hour));
        assert!(broken.is_over(&content("b"), now), "something else is tried at once");
        let mut tried = Tried::new(content("a"), true, false, Some(&broken), now);
        let mut at = now;
        for minutes in [1, 2, 4, 8, 16, 32, 60, 60] {
            at += minutes * AGAIN;
            assert!(!tried.is_over(&content("a"), at - Duration::from_millis(1)), "{minutes}");
            assert!(tried.is_over(&content("a"), at), "{minutes}");
            let asked = Tried::new(content("a"), true, true, Some(&tried), at);
            assert!(asked.is_over(&content("a"), at + minutes * AGAIN), "asking makes no wait longer");
            tried = Tried::new(content("a"), true, false, Some(&tried), at);
        }
        let other = Tried::new(content("b"), true, false, Some(&tried), at);
        assert!(other.is_over(&content("b"), at + AGAIN), "the waits begin anew");
    }
}
