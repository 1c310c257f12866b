//! The outputs of a handler, checked: an event that leaves here can be published.

use std::collections::HashSet;

use super::bindings::{EventResult, OutputResult};
use super::classify::Bytes;
use crate::decode::is_rfc3339;
use crate::manifest::Limits;
use crate::outcome::Output;

/// Names that extension attributes cannot have.
const CONTEXT: [&str; 10] =
    ["id", "source", "type", "specversion", "subject", "time", "datacontenttype", "dataschema", "data", "data_base64"];

/// Fuel for lifting a handler's answer: enough for what the limits allow in any
/// shape, and a bound on what a hostile one can make the host allocate.
pub(super) fn fuel(limits: &Limits) -> usize {
    let outputs = limits.outputs.saturating_mul(1024);
    limits.output.saturating_mul(2).saturating_add(outputs).saturating_add(64 * 1024)
}

/// Checks number, size and validity.
///
/// # Errors
/// A reason for people: which output (from 1), which attribute, what is wrong.
pub(super) fn check(outputs: Vec<OutputResult>, limits: &Limits) -> Result<Vec<Output>, String> {
    if outputs.len() > limits.outputs {
        return Err(format!("the handler returned {} outputs, its limit is {}", outputs.len(), limits.outputs));
    }
    let size = outputs.iter().map(size).sum::<usize>();
    if size > limits.output {
        return Err(format!("the handler returned {size} bytes of outputs, its limit is {}", Bytes(limits.output)));
    }
    for (index, output) in outputs.iter().enumerate() {
        check_one(output).map_err(|problem| format!("output {}: {problem}", index + 1))?;
    }
    Ok(outputs.into_iter().map(convert).collect())
}

fn size(output: &OutputResult) -> usize {
    let event = &output.event;
    let optional = |text: &Option<String>| text.as_ref().map_or(0, String::len);
    let bytes = |bytes: &Option<Vec<u8>>| bytes.as_ref().map_or(0, Vec::len);
    event.id.len()
        + event.source.len()
        + event.ty.len()
        + optional(&event.subject)
        + optional(&event.time)
        + optional(&event.datacontenttype)
        + optional(&event.dataschema)
        + event.extensions.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>()
        + bytes(&event.data)
        + optional(&output.topic)
        + bytes(&output.key)
        + output.headers.iter().map(|header| header.name.len() + bytes(&header.value)).sum::<usize>()
}

fn check_one(output: &OutputResult) -> Result<(), String> {
    let event = &output.event;
    // An empty id is filled in by the host.
    text("id", &event.id)?;
    required("source", &event.source)?;
    required("type", &event.ty)?;
    let optional = [
        ("subject", &event.subject),
        ("time", &event.time),
        ("datacontenttype", &event.datacontenttype),
        ("dataschema", &event.dataschema),
    ];
    for (name, value) in optional {
        if let Some(value) = value {
            required(name, value)?;
        }
    }
    if let Some(time) = &event.time
        && !is_rfc3339(time)
    {
        return Err(format!("`time` is not RFC 3339: {time:?}"));
    }
    for (name, value) in &event.extensions {
        extension_name(name)?;
        text(name, value)?;
    }
    if let Some(name) = repeated(&event.extensions) {
        return Err(format!("the extension `{name}` is there twice"));
    }
    if output.topic.as_deref() == Some("") {
        return Err("`topic` is empty; leave it out to use the route's".to_owned());
    }
    output.headers.iter().try_for_each(|header| header_name(&header.name))
}

fn required(name: &str, value: &str) -> Result<(), String> {
    if value.is_empty() {
        return Err(format!("`{name}` is empty"));
    }
    text(name, value)
}

fn text(name: &str, value: &str) -> Result<(), String> {
    match value.chars().find(|c| c.is_control()) {
        Some(c) => Err(format!("`{name}` contains the control character U+{:04X}", u32::from(c))),
        None => Ok(()),
    }
}

fn extension_name(name: &str) -> Result<(), String> {
    if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit()) {
        return Err(format!("the extension name {name:?} is not made of lower-case letters and digits"));
    }
    if CONTEXT.contains(&name) {
        return Err(format!("`{name}` is an attribute of its own, not an extension"));
    }
    Ok(())
}

fn repeated(extensions: &[(String, String)]) -> Option<&str> {
    let mut names = extensions.iter().map(|(name, _)| name.as_str());
    if extensions.len() <= 16 {
        let earlier = |index: usize, name: &str| extensions[..index].iter().any(|(earlier, _)| earlier == name);
        return names.enumerate().find(|(index, name)| earlier(*index, name)).map(|(_, name)| name);
    }
    // A hostile guest can return a hundred thousand: comparing each with each would stop the worker.
    let mut seen = HashSet::with_capacity(extensions.len());
    names.find(|name| !seen.insert(*name))
}

fn header_name(name: &str) -> Result<(), String> {
    let belongs_to_the_event = name.eq_ignore_ascii_case("content-type")
        || name.get(..3).is_some_and(|prefix| prefix.eq_ignore_ascii_case("ce_"));
    if belongs_to_the_event {
        return Err(format!("the header {name:?} belongs to the event; set the attribute instead"));
    }
    Ok(())
}

fn convert(output: OutputResult) -> Output {
    let OutputResult { event, topic, key, headers } = output;
    let EventResult { id, source, ty, subject, time, datacontenttype, dataschema, extensions, data } = event;
    let headers = headers.into_iter().map(|header| (header.name, header.value)).collect();
    Output { id, source, ty, subject, time, datacontenttype, dataschema, extensions, data, topic, key, headers }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::bindings::HeaderResult;
    use super::*;

    const LIMITS: Limits = Limits {
        memory: 1 << 20,
        cpu_time: Duration::from_millis(500),
        timeout: Duration::from_secs(5),
        input: 1 << 20,
        output: 1000,
        outputs: 2,
        http_requests: 0,
        http_request_bytes: 0,
        http_response_bytes: 0,
    };

    fn output() -> OutputResult {
        let event = EventResult {
            id: String::new(),
            source: "/s".into(),
            ty: "t".into(),
            subject: None,
            time: Some("2026-02-03T04:05:06.7+08:00".into()),
            datacontenttype: None,
            dataschema: None,
            extensions: vec![("a1".into(), String::new())],
            data: Some(vec![0]),
        };
        let headers = vec![HeaderResult { name: "traceparent".into(), value: None }];
        OutputResult { event, topic: None, key: None, headers }
    }

    fn refused(change: impl FnOnce(&mut OutputResult)) -> String {
        let mut bad = output();
        change(&mut bad);
        check(vec![output(), bad], &LIMITS).unwrap_err()
    }

    #[test]
    fn number_and_size_are_exact() {
        assert_eq!(check(vec![output(), output()], &LIMITS).unwrap().len(), 2);
        let three = check(vec![output(), output(), output()], &LIMITS).unwrap_err();
        assert_eq!(three, "the handler returned 3 outputs, its limit is 2");
        let mut full = output();
        let rest = LIMITS.output - size(&output());
        full.key = Some(vec![0; rest]);
        let mut over = output();
        over.key = Some(vec![0; rest + 1]);
        assert!(check(vec![full], &LIMITS).is_ok());
        let over = check(vec![over], &LIMITS).unwrap_err();
        assert_eq!(over, "the handler returned 1001 bytes of outputs, its limit is 1000 bytes");
    }

    #[test]
    fn a_bad_attribute_is_named_with_its_output() {
        assert_eq!(refused(|o| o.event.source.clear()), "output 2: `source` is empty");
        assert_eq!(refused(|o| o.event.ty.clear()), "output 2: `type` is empty");
        assert_eq!(refused(|o| o.event.subject = Some(String::new())), "output 2: `subject` is empty");
        assert!(refused(|o| o.event.time = Some("today".into())).contains("RFC 3339"));
        assert!(refused(|o| o.event.id = "a\nb".into()).contains("U+000A"));
        assert!(refused(|o| o.topic = Some(String::new())).contains("`topic` is empty"));
    }

    #[test]
    fn extension_and_header_names_are_checked() {
        for name in ["", "Upper", "with_underscore", "dash-ed", "ünicode"] {
            assert!(refused(|o| o.event.extensions = vec![(name.into(), "v".into())]).contains("lower-case"), "{name}");
        }
        for name in CONTEXT.iter().filter(|name| !name.contains('_')) {
            let reason = refused(|o| o.event.extensions = vec![((*name).into(), "v".into())]);
            assert!(reason.contains("not an extension"), "{reason}");
        }
        let twice = vec![("a".to_owned(), "1".to_owned()), ("a".to_owned(), "2".to_owned())];
        assert!(refused(|o| o.event.extensions = twice).contains("twice"));
        let mut many: Vec<_> = (0..100_000).map(|i| (format!("a{i}"), String::new())).collect();
        assert_eq!(repeated(&many), None);
        many.push(("a7".into(), String::new()));
        assert_eq!(repeated(&many), Some("a7"));
        for name in ["ce_id", "CE_x", "content-type", "Content-Type"] {
            let reason = refused(|o| o.headers[0].name = name.into());
            assert!(reason.contains("belongs to the event"), "{reason}");
        }
    }
}
