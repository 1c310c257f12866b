//! What is wrong with a manifest, where, and what to write instead.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::settle::reason::printable;

/// How much a diagnostic weighs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The manifest is not used.
    Error,
    /// The manifest is used; something in it is probably not meant.
    Warning,
}

impl Severity {
    /// The word in front of the message.
    pub const fn as_str(self) -> &'static str {
        match self {
            Severity::Error => "error",
            Severity::Warning => "warning",
        }
    }

    const fn colour(self) -> &'static str {
        match self {
            Severity::Error => "\x1b[1;31m",
            Severity::Warning => "\x1b[1;33m",
        }
    }
}

/// One problem of a manifest. It holds no secret: values that came from a
/// variable or a file, and those of `kafka.properties`, are not in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// Whether the manifest can be used all the same.
    pub severity: Severity,
    /// The manifest's name as the caller gave it.
    pub file: String,
    /// `None`: it concerns the file as a whole.
    pub location: Option<Location>,
    /// What is wrong.
    pub message: String,
    /// What to write instead.
    pub help: Option<String>,
}

/// A place in the manifest, with the line that stands there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Location {
    /// From 1.
    pub line: u32,
    /// In characters, from 1.
    pub column: u32,
    /// The line's text; secrets are replaced by `***`, control characters by a space.
    pub source_line: String,
    /// Where the caret goes, in characters of `source_line`, from 0.
    pub caret: usize,
    /// How many characters are underlined, at least 1.
    pub width: usize,
}

/// What the manifest says, in a message: without what a terminal would obey, and not without end.
fn shown(text: &str) -> String {
    printable(text, 4 << 10)
}

/// The widest stretch of a source line that is shown, in characters.
const WIDEST: usize = 140;

impl Diagnostic {
    /// The diagnostic as a person reads it, over several lines, without a line
    /// break at the end. `colour`: with ANSI colours.
    pub fn render(&self, colour: bool) -> String {
        let paint = |code: &'static str| if colour { code } else { "" };
        let (head, bold, blue, plain) =
            (paint(self.severity.colour()), paint("\x1b[1m"), paint("\x1b[1;34m"), paint("\x1b[0m"));
        let mut out = format!("{head}{}{plain}{bold}: {}{plain}", self.severity.as_str(), shown(&self.message));
        let help = self.help.as_deref().map(shown);
        // Writing to a String cannot fail.
        match &self.location {
            None => {
                let _ = write!(out, "\n {blue}-->{plain} {}", self.file);
                if let Some(help) = help {
                    let _ = write!(out, "\n  {blue}={plain} help: {help}");
                }
            }
            Some(at) => {
                let gutter = at.line.to_string();
                let pad = " ".repeat(gutter.len());
                let (line, caret, width) = at.window();
                let _ = write!(out, "\n{pad}{blue}-->{plain} {}:{}:{}", self.file, at.line, at.column);
                let _ = write!(out, "\n{pad} {blue}|{plain}\n{blue}{gutter} |{plain} {line}");
                let mark = "^".repeat(width);
                let _ = write!(out, "\n{pad} {blue}|{plain} {}{head}{mark}{plain}", " ".repeat(caret));
                if let Some(help) = help {
                    let _ = write!(out, "\n{pad} {blue}={plain} help: {help}");
                }
            }
        }
        out
    }

    /// The diagnostic for programs.
    pub fn to_json(&self) -> Value {
        let at = self.location.as_ref();
        json!({
            "severity": self.severity.as_str(),
            "file": self.file,
            "line": at.map(|at| at.line),
            "column": at.map(|at| at.column),
            "message": self.message,
            "help": self.help,
            "sourceLine": at.map(|at| at.source_line.as_str()),
        })
    }
}

impl Location {
    /// The part of the line that is shown, and the caret within it.
    fn window(&self) -> (String, usize, usize) {
        let length = self.source_line.chars().count();
        if length <= WIDEST {
            return (self.source_line.clone(), self.caret, self.width);
        }
        let from = self.caret.saturating_sub(WIDEST / 2).min(length - WIDEST);
        let shown: String = self.source_line.chars().skip(from).take(WIDEST).collect();
        let caret = self.caret - from;
        (shown, caret, self.width.min(WIDEST.saturating_sub(caret)).max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn diagnostic(source_line: &str, caret: usize, width: usize) -> Diagnostic {
        let location =
            Location { line: 12, column: caret as u32 + 1, source_line: source_line.to_owned(), caret, width };
        Diagnostic {
            severity: Severity::Error,
            file: "outrigger.yaml".to_owned(),
            location: Some(location),
            message: "unknown key `tpye`".to_owned(),
            help: Some("did you mean `type`?".to_owned()),
        }
    }

    #[test]
    fn is_rendered_with_line_and_caret() {
        let expected = "\
error: unknown key `tpye`
  --> outrigger.yaml:12:12
   |
12 |     match: tpye
   |            ^^^^
   = help: did you mean `type`?";
        assert_eq!(diagnostic("    match: tpye", 11, 4).render(false), expected);
    }

    #[test]
    fn a_long_line_is_cut_around_the_caret() {
        let line = format!("{}tpye{}", "a".repeat(500), "b".repeat(500));
        let rendered = diagnostic(&line, 500, 4).render(false);
        assert!(rendered.contains("aaatpyebbb"), "{rendered}");
        assert!(rendered.lines().all(|line| line.chars().count() <= WIDEST + 5), "{rendered}");
        let lines: Vec<&str> = rendered.lines().collect();
        assert_eq!(lines[3].find("tpye"), lines[4].find("^^^^"), "{rendered}");
    }

    #[test]
    fn colours_only_where_asked() {
        assert!(!diagnostic("x", 0, 1).render(false).contains('\x1b'));
        assert!(diagnostic("x", 0, 1).render(true).contains("\x1b[1;31merror"));
    }
}
