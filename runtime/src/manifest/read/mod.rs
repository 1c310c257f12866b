//! From the manifest's text to its raw types: YAML, then `${...}`, then serde.
//!
//! Serde alone stops at the first error and knows no places. Here the text
//! becomes a tree that knows where each node stands ([`yaml`]); the values of
//! variables and files are put in ([`mod@substitute`]), after the parsing, so that
//! they can never be YAML; and a deserializer over the tree ([`de`]) reports
//! what is wrong and goes on, because every field of the raw types is a
//! [`Field`], which can be broken without breaking what it stands in.

pub(super) mod de;
mod field;
mod problems;
mod source;
mod substitute;
mod yaml;

pub(super) use field::{Field, Given};
pub(super) use problems::{Problem, Problems};
pub(super) use source::Source;
pub(super) use substitute::{Lookup, io_reason, substitute};
pub(super) use yaml::parse;

/// A place in the manifest: lines and columns from 1, the end exclusive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Place {
    pub line: u32,
    pub column: u32,
    pub end_line: u32,
    pub end_column: u32,
}

/// A node of the manifest.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub place: Place,
    pub kind: Kind,
}

#[derive(Clone, Debug)]
pub(super) enum Kind {
    Scalar(Scalar),
    List(Vec<Node>),
    Map(Vec<(Key, Node)>),
    /// What stands here was reported already.
    Broken,
}

#[derive(Clone, Debug)]
pub(super) struct Scalar {
    pub text: String,
    /// Written without quotes: it may be a number, a boolean or nothing.
    pub plain: bool,
    /// What messages show where `text` must not be shown: the text as written,
    /// where it came from a variable or a file, and `***` for a secret.
    pub written: Option<String>,
}

#[derive(Clone, Debug)]
pub(super) struct Key {
    pub name: String,
    pub place: Place,
    /// It was reported, and only what must not be shown of its value counts.
    pub ignored: bool,
}

impl Key {
    /// What a message may show of it: a key that looks like none may be a value,
    /// as in `sasl.password:hunter2`.
    pub fn shown(&self) -> &str {
        if is_plain(&self.name) { &self.name } else { "***" }
    }
}

/// Whether a text looks like a key of a manifest.
pub(super) fn is_plain(key: &str) -> bool {
    !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
}

impl Scalar {
    /// Whether it is YAML's null.
    pub fn is_null(&self) -> bool {
        self.plain && self.written.is_none() && matches!(self.text.as_str(), "" | "~" | "null" | "Null" | "NULL")
    }

    /// What a message may show of it.
    pub fn shown(&self) -> &str {
        self.written.as_deref().unwrap_or(&self.text)
    }
}
