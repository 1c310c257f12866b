//! An output as one JSON document: the CloudEvents JSON event format, written.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Serializer;
use serde::ser::SerializeMap;
use serde_json::value::RawValue;

use super::optional;
use crate::outcome::Output;

/// The content type of a record in structured mode.
pub(super) const CONTENT_TYPE: &[u8] = b"application/cloudevents+json; charset=UTF-8";

/// The document. Attributes and extensions are JSON strings; data is
/// - the JSON value itself, as it was written, where its content type is JSON or
///   not given (which the format reads as JSON) and it is valid JSON;
/// - a JSON string where its content type is text or XML and it is UTF-8;
/// - base64 otherwise, valid UTF-8 or not: events of one type look alike.
pub(super) fn document(output: &Output, id: &str, source: &str) -> Result<Vec<u8>, serde_json::Error> {
    let data = output.data.as_deref().map(|data| form(data, output.datacontenttype.as_deref()));
    let size = match &data {
        None => 0,
        Some(Form::Json(value)) => value.get().len(),
        Some(Form::Text(text)) => text.len(),
        Some(Form::Base64(text)) => text.len(),
    };
    let mut document = Vec::with_capacity(512 + size);
    let mut json = serde_json::Serializer::new(&mut document);
    let mut members = json.serialize_map(None)?;
    members.serialize_entry("specversion", "1.0")?;
    members.serialize_entry("id", id)?;
    members.serialize_entry("source", source)?;
    members.serialize_entry("type", &output.ty)?;
    for (name, value) in optional(output) {
        members.serialize_entry(name, value)?;
    }
    for (name, value) in &output.extensions {
        members.serialize_entry(name, value)?;
    }
    match data {
        None => {}
        Some(Form::Json(value)) => members.serialize_entry("data", value)?,
        Some(Form::Text(text)) => members.serialize_entry("data", text)?,
        Some(Form::Base64(text)) => members.serialize_entry("data_base64", &text)?,
    }
    members.end()?;
    Ok(document)
}

enum Form<'a> {
    Json(&'a RawValue),
    Text(&'a str),
    Base64(String),
}

fn form<'a>(data: &'a [u8], content_type: Option<&str>) -> Form<'a> {
    let media = content_type.unwrap_or_default().split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let (kind, subtype) = media.split_once('/').unwrap_or((&media, ""));
    let form = if media.is_empty() || subtype == "json" || subtype.ends_with("+json") {
        serde_json::from_slice(data).ok().map(Form::Json)
    } else if kind == "text" || subtype == "xml" || subtype.ends_with("+xml") {
        str::from_utf8(data).ok().map(Form::Text)
    } else {
        None
    };
    form.unwrap_or_else(|| Form::Base64(STANDARD.encode(data)))
}
