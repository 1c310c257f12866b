//! `${VAR}`, `${VAR:-default}` and `${file:/path}` in scalars.
//!
//! It works on the parsed tree, so a value cannot become anything but the text
//! of the scalar that it stands in, and it keeps the text as written, so that
//! messages show the expression and never the value.

use std::io::Read as _;
use std::path::Path;

use super::{Kind, Node, Place, Problem, Problems, Scalar};

/// The largest file that a value is read from.
const MAX_FILE: u64 = 1 << 20;

/// Where values come from.
pub(in crate::manifest) struct Lookup<'a> {
    /// A variable's value.
    pub env: &'a dyn Fn(&str) -> Option<String>,
    /// What relative paths are relative to.
    pub base: &'a Path,
}

/// Puts in the values, everywhere below `node`. What cannot be put in is added
/// to `problems`, and its node becomes [`Kind::Broken`].
pub(in crate::manifest) fn substitute(node: &mut Node, lookup: &Lookup<'_>, problems: &Problems) {
    match &mut node.kind {
        Kind::List(items) => items.iter_mut().for_each(|item| substitute(item, lookup, problems)),
        Kind::Map(entries) => entries.iter_mut().for_each(|(_, value)| substitute(value, lookup, problems)),
        Kind::Scalar(scalar) if scalar.text.contains("${") => match expand(&scalar.text, lookup) {
            Ok(expanded) => put(scalar, expanded),
            Err(wrong) => {
                problems.add(wrong.into_problem(node.place));
                node.kind = Kind::Broken;
            }
        },
        Kind::Scalar(_) | Kind::Broken => {}
    }
}

fn put(scalar: &mut Scalar, expanded: Expanded) {
    let written = std::mem::replace(&mut scalar.text, expanded.text);
    // A text that only escapes holds no value from elsewhere.
    if expanded.has_values {
        // What is a secret as it is written is hidden already.
        scalar.written.get_or_insert(written);
    }
}

struct Expanded {
    text: String,
    has_values: bool,
}

struct Wrong {
    message: String,
    help: Option<String>,
}

impl Wrong {
    fn new(message: impl Into<String>, help: impl Into<String>) -> Wrong {
        Wrong { message: message.into(), help: Some(help.into()) }
    }

    fn into_problem(self, place: Place) -> Problem {
        Problem { help: self.help, ..Problem::error(place, self.message) }
    }
}

fn expand(text: &str, lookup: &Lookup<'_>) -> Result<Expanded, Wrong> {
    let mut out = Expanded { text: String::with_capacity(text.len()), has_values: false };
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        if rest[..at].ends_with('$') {
            out.text.push_str(&rest[..at - 1]);
            out.text.push_str("${");
            rest = &rest[at + 2..];
            continue;
        }
        out.text.push_str(&rest[..at]);
        let inner = &rest[at + 2..];
        let Some(end) = inner.find('}') else {
            return Err(Wrong::new("`${` is not closed", "write `${NAME}`, or `$${` for the characters themselves"));
        };
        out.text.push_str(&value(&inner[..end], lookup)?);
        out.has_values = true;
        rest = &inner[end + 1..];
    }
    out.text.push_str(rest);
    Ok(out)
}

fn value(expression: &str, lookup: &Lookup<'_>) -> Result<String, Wrong> {
    if let Some(path) = expression.strip_prefix("file:") {
        return read_file(path, lookup.base);
    }
    let (name, default) = match expression.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (expression, None),
    };
    let well_formed = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
        && name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    if !well_formed {
        let help = "write ${NAME}, ${NAME:-default} or ${file:/path}, or $${ for the characters themselves";
        // Its text is not shown: it may be part of a password, or have one as its default.
        return Err(Wrong::new("what stands between `${` and `}` names no variable", help));
    }
    match ((lookup.env)(name), default) {
        // As in a shell, `:-` also stands in for an empty value.
        (Some(value), None) => Ok(value),
        (Some(value), Some(_)) if !value.is_empty() => Ok(value),
        (_, Some(default)) => Ok(default.to_owned()),
        (None, None) => {
            let message = format!("the environment variable `{name}` is not set, or not UTF-8");
            Err(Wrong::new(message, format!("set it, or give a default: ${{{name}:-...}}")))
        }
    }
}

fn read_file(path: &str, base: &Path) -> Result<String, Wrong> {
    if path.is_empty() {
        return Err(Wrong::new("`${file:}` names no file", "write ${file:/path}"));
    }
    let cannot = |why: String| Wrong { message: format!("the file `{path}` cannot be used: {why}"), help: None };
    let file = std::fs::File::open(base.join(path)).map_err(|error| cannot(io_reason(&error)))?;
    let mut bytes = Vec::new();
    file.take(MAX_FILE + 1).read_to_end(&mut bytes).map_err(|error| cannot(io_reason(&error)))?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(cannot("it is larger than 1 MiB".to_owned()));
    }
    let mut text = String::from_utf8(bytes).map_err(|_| cannot("it is not UTF-8".to_owned()))?;
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    Ok(text)
}

/// Why a file cannot be read, in words that name the file's trouble and not the system's call.
pub fn io_reason(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::NotFound => "there is no such file".to_owned(),
        kind => kind.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn run(text: &str) -> Result<(String, bool), String> {
        let env = |name: &str| match name {
            "A" => Some("alpha".to_owned()),
            "EMPTY" => Some(String::new()),
            "TRICK" => Some("${A}: [x, {".to_owned()),
            _ => None,
        };
        let lookup = Lookup { env: &env, base: Path::new(".") };
        expand(text, &lookup).map(|out| (out.text, out.has_values)).map_err(|wrong| wrong.message)
    }

    fn text(text: &str) -> String {
        run(text).unwrap().0
    }

    #[test]
    fn variables_and_defaults() {
        assert_eq!(text("x${A}y${A}"), "xalphayalpha");
        assert_eq!(text("${NONE:-d}"), "d");
        assert_eq!(text("${EMPTY:-d}"), "d");
        assert_eq!(text("${EMPTY}"), "");
        assert_eq!(text("${NONE:-}"), "");
        assert_eq!(text("${A:-d}"), "alpha");
        assert!(run("${NONE}").unwrap_err().contains("`NONE` is not set"));
        for wrong in ["${", "${A", "${}", "${1A}", "${A B}", "${file:}", "${A-d}"] {
            assert!(run(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_value_is_taken_as_it_is() {
        assert_eq!(text("${TRICK}"), "${A}: [x, {");
    }

    #[test]
    fn escapes() {
        assert_eq!(run("$${A}"), Ok(("${A}".to_owned(), false)));
        assert_eq!(run("$${A}${A}"), Ok(("${A}alpha".to_owned(), true)));
        assert_eq!(text("$5 {x} $"), "$5 {x} $");
    }

    #[test]
    fn files_lose_one_line_end() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("s"), "top\n\r\n").unwrap();
        let lookup = Lookup { env: &|_| None, base: folder.path() };
        assert_eq!(expand("${file:s}", &lookup).ok().unwrap().text, "top\n");
        std::fs::write(folder.path().join("b"), [0xff, 0xfe]).unwrap();
        assert!(expand("${file:b}", &lookup).err().unwrap().message.contains("not UTF-8"));
        assert!(expand("${file:none}", &lookup).err().unwrap().message.contains("no such file"));
    }

    proptest! {
        #[test]
        fn never_panics(input in "[\\$\\{\\}A:\\-é]{0,12}") {
            let _ = run(&input);
        }
    }
}
