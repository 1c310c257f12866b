//! What to write instead.

use super::read::{Key, Problem};

/// Keys that stand elsewhere: section (the raw type's name), key, where.
const ELSEWHERE: [(&str, &str, &str); 14] = [
    ("OnFailure", "undecodable", "no route is reached then: use the top-level key `undecodable`"),
    ("OnFailure", "unrouted", "no route is reached then: use the top-level key `unmatched`"),
    ("Defaults", "name", "it belongs to a route"),
    ("Defaults", "match", "it belongs to a route"),
    ("Defaults", "handler", "it belongs to a route"),
    ("Route", "timeout", "it is one of the handler's `limits`"),
    ("Route", "maxRetries", "it stands under `retry`"),
    ("Handler", "timeout", "it stands under `limits`"),
    ("Handler", "http", "it stands under `allow`"),
    ("Handler", "keyValue", "it stands under `allow`"),
    ("Allow", "config", "it stands beside `allow`, and what is there is granted"),
    ("Allow", "secrets", "it stands beside `allow`, and what is there is granted"),
    ("Allow", "env", "it stands beside `allow`, and what is there is granted"),
    ("Allow", "ca", "it is called `httpCa`"),
];

/// The problem with a key that `section` does not have.
pub(super) fn unknown_key(section: &str, key: &Key, names: &[&str]) -> Problem {
    let name = key.name.as_str();
    let is = |entry: &&(&str, &str, &str)| entry.0 == section && entry.1 == name;
    let problem = Problem::error(key.place, format!("unknown key `{}`", key.shown()));
    if let Some((_, _, place)) = ELSEWHERE.iter().find(is) {
        return problem.help(*place);
    }
    match nearest(name, names) {
        Some(near) => problem.help(format!("did you mean `{near}`?")),
        None => problem.help(format!("the keys here are {}", listed(names, "and"))),
    }
}

/// The candidate that `text` was probably meant to be.
pub(super) fn nearest<'a>(text: &str, candidates: &[&'a str]) -> Option<&'a str> {
    let plain = |text: &str| text.to_lowercase().replace(['-', '_', '.'], "");
    let meant = plain(text);
    let distance = |candidate: &str| strsim::damerau_levenshtein(&meant, &plain(candidate));
    let (near, best) = candidates.iter().map(|c| (*c, distance(c))).min_by_key(|(_, distance)| *distance)?;
    // A third of the letters wrong is a slip; more is another word.
    (best <= near.chars().count().max(3) / 3).then_some(near)
}

/// "`a`, `b` or `c`".
pub(super) fn one_of(names: &[&str]) -> String {
    listed(names, "or")
}

fn listed(names: &[&str], last: &str) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    match quoted.split_last() {
        None => "none".to_owned(),
        Some((only, [])) => only.clone(),
        Some((end, rest)) => format!("{} {last} {end}", rest.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_is_a_slip_away() {
        let keys = ["type", "source", "maxRetries", "groupId"];
        for (text, near) in [("tpye", "type"), ("Type", "type"), ("max_retries", "maxRetries"), ("groupid", "groupId")]
        {
            assert_eq!(nearest(text, &keys), Some(near), "{text}");
        }
        for text in ["", "x", "partition", "retry"] {
            assert_eq!(nearest(text, &keys), None, "{text}");
        }
        assert_eq!(nearest("type", &[]), None);
    }

    #[test]
    fn lists() {
        assert_eq!(one_of(&[]), "none");
        assert_eq!(one_of(&["a"]), "`a`");
        assert_eq!(one_of(&["a", "b", "c"]), "`a`, `b` or `c`");
    }
}
