//! A handler's output as the record that is published: the CloudEvents Kafka
//! protocol binding, written.

mod check;
mod structured;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::sync::Arc;

use super::message::{Headers, ID, Id};
use crate::manifest::{OutputMode, Route};
use crate::outcome::{Failure, FailureClass, Output};
use crate::record::Record;

pub use super::message::Message;

/// The record that a handler was called with.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    /// The consumer group.
    pub group: &'a str,
    /// Its topic.
    pub topic: &'a str,
    /// Its partition.
    pub partition: i32,
    /// The record.
    pub record: &'a Record,
}

/// Encodes an output of an attempt on `route`; `index` is its place among the
/// attempt's outputs, from 0, and `allowed_topics` are those of the handler.
///
/// The mode is the route's. What the handler left out is filled in: the topic is the
/// route's, the key is the input's, and an empty id becomes
/// `group/topic/partition/offset/route/index` of the input. That id also goes into the
/// header `outrigger-id`, in place of one by the handler, so that a consumer can
/// drop doubles whatever ids the handler gives. An event without data gets a null value
/// in binary mode, which on a compacted topic deletes the key.
///
/// A component's output with an empty source, or with an optional attribute that is empty,
/// does not come here: `invoke` has refused it. For guests that are no components, whose
/// outputs it does not check, the source becomes `outrigger/<route>` and the attribute is
/// left out.
///
/// # Errors
///
/// A failure of class output, its reason for the handler's author, where the
/// output is not a CloudEvent, goes to a topic it may not, or cannot be written
/// in the route's mode. Nothing of the attempt may be published then.
pub fn encode(
    output: Output,
    route: &Route,
    allowed_topics: &[String],
    input: &Input<'_>,
    index: usize,
) -> Result<Message, Failure> {
    let refused = |what: Cow<'static, str>| Failure {
        class: FailureClass::Output,
        reason: format!("output {}: {what}", index + 1).into(),
        retry_after: None,
    };
    check::event(&output, route.output_mode).map_err(refused)?;
    let topic = topic(output.topic.as_deref(), route, allowed_topics).map_err(refused)?;

    let own_id = Id {
        group: input.group,
        topic: input.topic,
        partition: input.partition,
        offset: input.record.offset(),
        route: Some(&route.name),
        index: Some(index),
    }
    .to_string();
    let id = if output.id.is_empty() { &own_id } else { &output.id };
    let source: Cow<'_, str> = match &*output.source {
        "" => format!("outrigger/{}", route.name).into(),
        source => source.into(),
    };

    let further = output.headers.iter().map(|(name, value)| name.len() + value.as_ref().map_or(0, Vec::len));
    let further = further.sum::<usize>() + ID.len() + own_id.len();
    let mut headers = match route.output_mode {
        OutputMode::Binary => binary(&output, id, &source, further),
        OutputMode::Structured => {
            let mut headers = Headers::with_capacity(2 + output.headers.len(), 64 + further);
            headers.push(b"content-type", Some(structured::CONTENT_TYPE));
            headers
        }
    };
    for (name, value) in output.headers.iter().filter(|(name, _)| name != ID) {
        headers.push(name.as_bytes(), value.as_deref());
    }
    headers.push(ID.as_bytes(), Some(own_id.as_bytes()));
    let value = match route.output_mode {
        OutputMode::Binary => output.data,
        OutputMode::Structured => {
            let document = structured::document(&output, id, &source);
            Some(document.map_err(|error| refused(format!("it cannot be written as JSON: {error}").into()))?)
        }
    };
    let key = output.key.or_else(|| input.record.key().map(<[u8]>::to_vec));
    Ok(Message { topic, key, value, headers })
}

/// Where an output goes, if it may.
fn topic(asked: Option<&str>, route: &Route, allowed: &[String]) -> Result<Arc<str>, Cow<'static, str>> {
    match (asked, &route.output) {
        (None, Some(topic)) => Ok(topic.clone()),
        (Some(asked), Some(topic)) if asked == &**topic => Ok(topic.clone()),
        (Some(asked), _) if allowed.iter().any(|topic| topic == asked) => Ok(asked.into()),
        (None, None) => Err(format!(
            "it names no topic and the route `{route}` has none for it; write `output: <topic>` into the route, \
             or name a topic that the handler `{handler}` may write to under `allow.topics`",
            route = route.name,
            handler = route.handler,
        )
        .into()),
        (Some(asked), _) => Err(format!(
            "it names the topic `{asked}`, which is neither the `output` of the route `{route}` nor in the \
             `allow.topics` of the handler `{handler}`",
            route = route.name,
            handler = route.handler,
        )
        .into()),
    }
}

/// The headers of an event in binary mode, with room for `further` bytes of others.
fn binary(output: &Output, id: &str, source: &str, further: usize) -> Headers {
    let optional = optional(output).map(|(name, value)| name.len() + value.len()).sum::<usize>();
    let extensions = output.extensions.iter().map(|(name, value)| name.len() + value.len() + 3).sum::<usize>();
    let bytes = 64 + id.len() + source.len() + output.ty.len() + optional + extensions + further;
    let mut headers = Headers::with_capacity(9 + output.extensions.len() + output.headers.len(), bytes);
    headers.push_prefixed("ce_", "specversion", "1.0");
    headers.push_prefixed("ce_", "id", id);
    headers.push_prefixed("ce_", "source", source);
    headers.push_prefixed("ce_", "type", &output.ty);
    for (name, value) in self::optional(output) {
        match name {
            "datacontenttype" => headers.push(b"content-type", Some(value.as_bytes())),
            name => headers.push_prefixed("ce_", name, value),
        }
    }
    for (name, value) in &output.extensions {
        headers.push_prefixed("ce_", name, value);
    }
    headers
}

/// The optional attributes that the output has: name and value.
fn optional(output: &Output) -> impl Iterator<Item = (&'static str, &str)> {
    [
        ("subject", &output.subject),
        ("time", &output.time),
        ("datacontenttype", &output.datacontenttype),
        ("dataschema", &output.dataschema),
    ]
    .into_iter()
    .filter_map(|(name, value)| Some((name, value.as_deref()?)))
    .filter(|(_, value)| !value.is_empty())
}
