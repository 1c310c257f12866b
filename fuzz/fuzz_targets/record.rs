//! Records of any headers and bytes through decode, envelope and router.

#![no_main]
// The modules have more items than this target uses.
#![allow(dead_code, unused_imports)]

#[path = "../../runtime/src/decode/mod.rs"]
mod decode;
#[path = "../../runtime/src/envelope.rs"]
mod envelope;
#[path = "../../runtime/src/event.rs"]
mod event;
#[path = "../../runtime/src/manifest/model.rs"]
mod manifest;
#[path = "../../runtime/src/outcome.rs"]
mod outcome;
#[path = "../../runtime/src/record.rs"]
mod record;
#[path = "../../runtime/src/route/mod.rs"]
mod route;

use std::sync::{Arc, LazyLock};

use libfuzzer_sys::fuzz_target;

use envelope::Envelope;
use manifest::{Exhausted, Filter, Ordering, OutputMode, Route};
use record::Record;
use route::Router;

type Header<'a> = (&'a [u8], Option<&'a [u8]>);

const STRUCTURED: Header = (b"content-type", Some(b"application/cloudevents+json"));

fuzz_target!(|input: &[u8]| {
    let Some((mode, rest)) = input.split_first() else { return };
    if *mode == 0 {
        check(&[STRUCTURED], Some(rest));
    } else {
        let mut parts = rest.splitn(2, |byte| *byte == 0x1d);
        let headers: Vec<Header> = parts.next().unwrap_or_default().split(|byte| *byte == 0x1e).map(header).collect();
        check(&headers, parts.next());
    }
});

/// A name and a value; without the separator, the value is null.
fn header(text: &[u8]) -> Header<'_> {
    let mut parts = text.splitn(2, |byte| *byte == 0x1f);
    (parts.next().unwrap_or_default(), parts.next())
}

fn check(headers: &[Header], value: Option<&[u8]>) {
    let record = || Record::new(0, None, Some(b"key"), value, headers.iter().copied());
    let copy = record();
    let event = decode::decode(&copy);
    let envelope = match Envelope::decode(record()) {
        Ok(envelope) => envelope,
        Err(refused) => {
            let (record, reason) = *refused;
            assert_eq!(Some(&reason), event.as_ref().err());
            assert_eq!(record.bytes(), copy.bytes());
            let message = reason.to_string();
            assert!(message.len() < 1024 && !message.contains(char::is_control), "{message:?}");
            return;
        }
    };
    let event = event.expect("both decode alike");
    assert!(!event.id.is_empty() && !event.source.is_empty() && !event.ty.is_empty());
    assert_eq!((&*event.id, &*event.source, &*event.ty), (envelope.id(), envelope.source(), envelope.ty()));
    assert_eq!(event.data.as_deref(), envelope.data());
    assert!(event.extensions.iter().map(|(name, value)| (&**name, &**value)).eq(envelope.extensions()));
    let known =
        ["id", "source", "type", "specversion", "subject", "time", "datacontenttype", "dataschema", "x", "data"];
    for name in known.into_iter().chain(event.extensions.iter().map(|(name, _)| &**name)) {
        assert_eq!(event.attribute(name), envelope.attribute(name), "{name}");
    }
    assert_eq!(event.subject.as_deref(), envelope.subject());
    assert_eq!(event.time.as_deref(), envelope.time());
    assert_eq!(event.datacontenttype.as_deref(), envelope.datacontenttype());
    assert_eq!(event.dataschema.as_deref(), envelope.dataschema());
    assert!(envelope.headers().count() <= headers.len());
    assert!(envelope.size() >= envelope.record().size());

    let mut matching = Vec::new();
    ROUTES.1.matching(&envelope, &mut matching);
    let naive = ROUTES.0.iter().enumerate().filter(|(_, route)| takes(&route.filter, &envelope)).map(|(i, _)| i);
    assert!(naive.eq(matching));
}

/// The filter read word for word.
fn takes(filter: &Filter, event: &Envelope) -> bool {
    let every = |pairs: &[(String, String)], holds: fn(&str, &str) -> bool| {
        pairs.iter().all(|(name, expected)| event.attribute(name).is_some_and(|value| holds(value, expected)))
    };
    match filter {
        Filter::Exact(pairs) => every(pairs, |value, expected| value == expected),
        Filter::Prefix(pairs) => every(pairs, |value, expected| value.starts_with(expected)),
        Filter::Suffix(pairs) => every(pairs, |value, expected| value.ends_with(expected)),
        Filter::All(parts) => parts.iter().all(|part| takes(part, event)),
        Filter::Any(parts) => parts.iter().any(|part| takes(part, event)),
        Filter::Not(part) => !takes(part, event),
    }
}

static ROUTES: LazyLock<(Vec<Route>, Router)> = LazyLock::new(|| {
    let pair = |name: &str, value: &str| vec![(name.to_owned(), value.to_owned())];
    let routes: Vec<Route> = [
        Filter::Exact(pair("type", "t")),
        Filter::Any(vec![Filter::Exact(pair("type", "t")), Filter::Exact(pair("type", "u"))]),
        Filter::All(vec![Filter::Exact(pair("type", "u")), Filter::Prefix(pair("subject", "a"))]),
        Filter::Suffix(pair("source", "s")),
        Filter::Not(Box::new(Filter::Exact(pair("x", "1")))),
        Filter::Prefix(pair("specversion", "1")),
    ]
    .map(route)
    .into();
    let router = Router::new(&routes);
    (routes, router)
});

fn route(filter: Filter) -> Route {
    Route {
        name: Arc::from("route"),
        filter,
        handler: Arc::from("handler"),
        output: None,
        output_mode: OutputMode::Binary,
        ordering: Ordering::Key,
        on_failure: Default::default(),
        dead_letter: Exhausted::Drop,
    }
}
