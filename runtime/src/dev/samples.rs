//! Sample events from a JSON Lines file: what `outrigger dev --events` produces.
//!
//! Events are taken as they stand, not checked: a sample that is not a valid
//! event is a good way to see what becomes of one.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

/// Problems shown at once.
const PROBLEMS: usize = 20;

/// A record to produce.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    /// The line of the file it came from, from 1.
    pub line: usize,
    /// Where it goes.
    pub topic: String,
    /// `None`: null.
    pub key: Option<Vec<u8>>,
    /// Names and values; `None`: null.
    pub headers: Vec<(String, Option<Vec<u8>>)>,
    /// `None`: null.
    pub value: Option<Vec<u8>>,
}

/// What is wrong with a file of samples.
#[derive(Debug, thiserror::Error)]
pub enum SamplesError {
    /// It cannot be read.
    #[error("cannot read {}: {error}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// Some lines are wrong.
    #[error("{}", Listed(path, problems))]
    Wrong {
        /// The file.
        path: PathBuf,
        /// In the order of the file; the first twenty.
        problems: Vec<Problem>,
    },
}

/// What is wrong with a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// From 1.
    pub line: usize,
    /// From 1, where it is known.
    pub column: Option<usize>,
    /// What is wrong.
    pub message: String,
}

struct Listed<'a>(&'a Path, &'a [Problem]);

impl fmt::Display for Listed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, problem) in self.1.iter().enumerate() {
            let newline = if at == 0 { "" } else { "\n" };
            write!(f, "{newline}{}:{}", self.0.display(), problem.line)?;
            if let Some(column) = problem.column {
                write!(f, ":{column}")?;
            }
            write!(f, ": {}", problem.message)?;
        }
        Ok(())
    }
}

/// Reads the samples of a file. Lines that are blank or begin with `//` or `#` are skipped.
///
/// # Errors
/// If the file cannot be read, or any line is not a sample.
pub fn read(path: &Path, default_topic: &str) -> Result<Vec<Sample>, SamplesError> {
    let unreadable = |error| SamplesError::Unreadable { path: path.to_owned(), error };
    let file = File::open(path).map_err(unreadable)?;
    let (mut samples, mut problems) = (Vec::new(), Vec::new());
    for (at, text) in BufReader::new(file).lines().enumerate() {
        let (line, text) = (at + 1, text.map_err(unreadable)?);
        let trimmed = text.trim_start();
        if trimmed.is_empty() || trimmed.starts_with("//") || trimmed.starts_with('#') {
            continue;
        }
        match parse(line, &text, default_topic) {
            Ok(sample) => samples.push(sample),
            Err(problem) => problems.push(problem),
        }
        if problems.len() == PROBLEMS {
            break;
        }
    }
    if problems.is_empty() { Ok(samples) } else { Err(SamplesError::Wrong { path: path.to_owned(), problems }) }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line<'a> {
    topic: Option<String>,
    key: Option<String>,
    #[serde(default)]
    mode: Mode,
    #[serde(borrow)]
    event: Option<&'a RawValue>,
    /// Absent and null differ: null is a record without a value.
    #[serde(default, deserialize_with = "present")]
    raw: Option<Option<String>>,
    #[serde(default)]
    headers: BTreeMap<String, Option<String>>,
}

#[derive(Clone, Copy, Default, Deserialize, PartialEq)]
#[serde(rename_all = "lowercase")]
enum Mode {
    #[default]
    Structured,
    Binary,
}

fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<String>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

fn parse(number: usize, text: &str, default_topic: &str) -> Result<Sample, Problem> {
    let whole = |message: String| Problem { line: number, column: None, message };
    let line: Line = serde_json::from_str(text).map_err(|error| Problem {
        line: number,
        column: Some(error.column()),
        // The position is said in front, with the file's line instead of the text's.
        message: error.to_string().rsplit_once(" at line ").map_or(String::new(), |(message, _)| message.to_owned()),
    })?;
    let mut headers: Vec<_> =
        line.headers.into_iter().map(|(name, value)| (name, value.map(String::into_bytes))).collect();
    let value = match (line.event, line.raw) {
        (Some(_), Some(_)) => return Err(whole("`event` and `raw` exclude each other".into())),
        (None, None) => return Err(whole("neither `event` nor `raw`: one of them says what to produce".into())),
        (None, Some(raw)) => raw.map(String::into_bytes),
        (Some(event), None) if line.mode == Mode::Structured => {
            if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-type")) {
                headers.insert(0, header("content-type", "application/cloudevents+json; charset=UTF-8"));
            }
            Some(event.get().as_bytes().to_vec())
        }
        (Some(event), None) => {
            let (attributes, value) = binary(event).map_err(whole)?;
            headers.splice(0..0, attributes);
            value
        }
    };
    let topic = line.topic.unwrap_or_else(|| default_topic.to_owned());
    Ok(Sample { line: number, topic, key: line.key.map(String::into_bytes), headers, value })
}

fn header(name: &str, value: &str) -> (String, Option<Vec<u8>>) {
    (name.to_owned(), Some(value.as_bytes().to_vec()))
}

/// Headers and value of an event in Kafka's binary mode.
type Parts = (Vec<(String, Option<Vec<u8>>)>, Option<Vec<u8>>);

fn binary(event: &RawValue) -> Result<Parts, String> {
    let members: BTreeMap<String, &RawValue> =
        serde_json::from_str(event.get()).map_err(|_| "in binary mode `event` must be a JSON object".to_owned())?;
    let mut headers = Vec::new();
    let mut content_type = None;
    for (name, value) in members.iter().filter(|(name, _)| !name.starts_with("data")) {
        if let Some(value) = attribute(name, value)? {
            headers.push(header(&format!("ce_{name}"), &value));
        }
    }
    for (name, value) in members.iter().filter(|(name, _)| name.starts_with("data")) {
        match name.as_str() {
            "data" | "data_base64" => {}
            "datacontenttype" => content_type = attribute(name, value)?,
            _ => headers.extend(attribute(name, value)?.map(|value| header(&format!("ce_{name}"), &value))),
        }
    }
    let value = match (members.get("data"), members.get("data_base64")) {
        (Some(_), Some(_)) => return Err("`data` and `data_base64` exclude each other".into()),
        (None, None) => None,
        (None, Some(base64)) => {
            let text: String = serde_json::from_str(base64.get()).map_err(|_| "`data_base64` must be a string")?;
            Some(STANDARD.decode(text).map_err(|error| format!("`data_base64`: {error}"))?)
        }
        (Some(data), None) => Some(match (&content_type, serde_json::from_str::<String>(data.get())) {
            (Some(content_type), Ok(text)) if !is_json(content_type) => text.into_bytes(),
            _ => {
                // The JSON format says that data without a type is JSON; binary mode has to say so.
                content_type.get_or_insert_with(|| "application/json".to_owned());
                data.get().as_bytes().to_vec()
            }
        }),
    };
    headers.extend(content_type.map(|content_type| header("content-type", &content_type)));
    Ok((headers, value))
}

/// The canonical string form of an attribute's value; `None` for null, which is an absent attribute.
fn attribute(name: &str, value: &RawValue) -> Result<Option<String>, String> {
    match serde_json::from_str(value.get()) {
        Ok(serde_json::Value::String(text)) => Ok(Some(text)),
        Ok(serde_json::Value::Null) => Ok(None),
        Ok(serde_json::Value::Bool(_) | serde_json::Value::Number(_)) => Ok(Some(value.get().to_owned())),
        _ => Err(format!("attribute `{name}` must be a string, a number or a boolean")),
    }
}

fn is_json(content_type: &str) -> bool {
    let media_type = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    media_type.ends_with("/json") || media_type.ends_with("+json")
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn of(text: &str) -> Result<Sample, Problem> {
        parse(1, text, "shop.orders")
    }

    fn text(value: Option<&Vec<u8>>) -> Option<&str> {
        value.map(|value| std::str::from_utf8(value).unwrap())
    }

    fn header_of<'a>(sample: &'a Sample, name: &str) -> Option<&'a str> {
        text(sample.headers.iter().find(|(of, _)| of == name)?.1.as_ref())
    }

    #[test]
    fn a_structured_event_is_written_as_it_stands() {
        let sample = of(r#"{"key": "k", "event": {"id" : "1",  "data":[1, 2]}}"#).unwrap();
        assert_eq!(text(sample.value.as_ref()), Some(r#"{"id" : "1",  "data":[1, 2]}"#));
        assert_eq!((sample.topic.as_str(), text(sample.key.as_ref())), ("shop.orders", Some("k")));
        assert_eq!(header_of(&sample, "content-type"), Some("application/cloudevents+json; charset=UTF-8"));
    }

    #[test]
    fn a_binary_event_is_headers_and_data() {
        let line = r#"{"mode": "binary", "topic": "t", "headers": {"trace": null, "x": "y"},
            "event": {"specversion": "1.0", "id": "1", "retries": 3, "urgent": true, "gone": null,
                      "dataschema": "/s", "datacontenttype": "application/json", "data": {"a" : 1}}}"#;
        let sample = of(line).unwrap();
        assert_eq!(text(sample.value.as_ref()), Some(r#"{"a" : 1}"#));
        assert_eq!(header_of(&sample, "ce_retries"), Some("3"));
        assert_eq!(header_of(&sample, "ce_urgent"), Some("true"));
        assert_eq!(header_of(&sample, "ce_dataschema"), Some("/s"));
        assert_eq!(header_of(&sample, "content-type"), Some("application/json"));
        assert_eq!(header_of(&sample, "x"), Some("y"));
        assert_eq!(sample.headers.iter().find(|(name, _)| name == "trace"), Some(&("trace".to_owned(), None)));
        assert!(!sample.headers.iter().any(|(name, _)| name == "ce_gone"));
    }

    #[test]
    fn data_is_text_or_bytes_as_its_type_says() {
        let value = |event: &str| of(&format!(r#"{{"mode": "binary", "event": {event}}}"#)).unwrap().value.unwrap();
        assert_eq!(value(r#"{"datacontenttype": "text/plain", "data": "a\nb"}"#), b"a\nb");
        assert_eq!(value(r#"{"datacontenttype": "application/x+JSON; v=1", "data": "a"}"#), b"\"a\"");
        assert_eq!(value(r#"{"data": "a"}"#), b"\"a\"");
        assert_eq!(value(r#"{"data_base64": "AP8="}"#), [0, 255]);
    }

    #[test]
    fn a_raw_value_may_be_anything_or_null() {
        assert_eq!(of(r#"{"raw": "{"}"#).unwrap().value, Some(b"{".to_vec()));
        let tombstone = of(r#"{"key": null, "raw": null}"#).unwrap();
        assert_eq!((tombstone.key, tombstone.value, tombstone.headers), (None, None, vec![]));
    }

    #[test]
    fn every_problem_is_named_with_its_place() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        let lines = [
            "# a comment",
            r#"{"event": {}, "raw": "x"}"#,
            "",
            r#"{"evnt": {}}"#,
            r#"{"key": "k"}"#,
            r#"{"event": {}} x"#,
            r#"{"mode": "binary", "event": {"id": [1]}}"#,
            r#"  // {"#,
            r#"{"event": {"id": "fine"}}"#,
        ];
        file.write_all(lines.join("\n").as_bytes()).unwrap();
        let error = read(file.path(), "t").unwrap_err().to_string();
        let name = file.path().display().to_string();
        let errors: Vec<_> = error.lines().map(|line| line.strip_prefix(&name).unwrap()).collect();
        assert_eq!(errors.len(), 5, "{error}");
        assert_eq!(errors[0], ":2: `event` and `raw` exclude each other");
        assert!(errors[1].starts_with(":4:7: unknown field `evnt`, expected one of"), "{error}");
        assert!(errors[2].starts_with(":5: neither `event` nor `raw`"), "{error}");
        assert_eq!(errors[3], ":6:15: trailing characters");
        assert_eq!(errors[4], ":7: attribute `id` must be a string, a number or a boolean");
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let error = read(Path::new("no/such.jsonl"), "t").unwrap_err().to_string();
        assert!(error.starts_with("cannot read no/such.jsonl: "), "{error}");
    }
}
