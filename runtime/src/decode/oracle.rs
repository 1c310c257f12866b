//! The decoder against an independent one: cloudevents-sdk.
//!
//! Where both accept a record, every attribute and the data agree, after what is
//! known to differ has been evened out:
//! - `time`: the SDK converts it to UTC; both are compared as instants.
//! - `dataschema`: the SDK wants an absolute URL and normalises it; compared after the same.
//! - `data`: the SDK parses JSON and drops its spelling; compared as values. It also parses
//!   `data_base64` under a JSON content type.
//!
//! One accepts what the other refuses, on purpose, in these cases:
//! - We refuse and the SDK accepts: version 0.3, empty required attributes, illegal attribute
//!   names, duplicate members (it takes the last), integers beyond 32 bits, batch and other formats.
//! - We accept and the SDK refuses: a relative `dataschema`, a value that is not a string under a
//!   content type that is not JSON, a null `data_base64`.
//! - The SDK takes `application/json5` for JSON and `application/x+json; charset=utf-8` for not
//!   JSON; the generator has neither.

use std::borrow::Cow;
use std::collections::BTreeMap;

use cloudevents::event::{Data, ExtensionValue, SpecVersion};
use cloudevents::message::{BinaryDeserializer, BinarySerializer, MessageAttributeValue, Result as SdkResult};
use cloudevents::{AttributesReader, Event as SdkEvent};
use proptest::prelude::*;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::decode;
use crate::envelope::Envelope;
use crate::event::Event;
use crate::record::Record;

/// The parts of an event, as a generator makes them and a record carries them.
#[derive(Clone, Debug)]
struct Parts {
    /// Known and extension attributes, `specversion` included.
    attributes: BTreeMap<String, Value>,
    content_type: Option<&'static str>,
    data: Payload,
}

#[derive(Clone, Debug)]
enum Payload {
    None,
    Json(Value),
    Bytes(Vec<u8>),
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof!["[a-z0-9/._-]{1,20}", "\\PC{1,12}", "[\"\\\\/\u{0}-\u{1f}äß漢😀]{1,6}"]
}

fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        text().prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(text(), inner, 0..4).prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

fn time_text() -> impl Strategy<Value = String> {
    "20[0-9]{2}-0[1-9]-[12][0-8]T[01][0-9]:[0-5][0-9]:[0-5][0-9](\\.[0-9]{1,9})?(Z|[+-]0[0-9]:[0-5][0-9])"
}

/// Events that both decoders accept.
fn parts() -> impl Strategy<Value = Parts> {
    let extension = prop_oneof![
        text().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        any::<bool>().prop_map(Value::from),
    ];
    let optional = (
        prop::option::of(text()),
        prop::option::of(time_text()),
        prop::option::of("https://example\\.com/[a-z]{0,8}"),
        prop::collection::btree_map("[a-z0-9]{3}|partitionkey|traceparent", extension, 0..7),
    );
    let content_type = prop::option::of(prop::sample::select(vec![
        "application/json",
        "text/json",
        "application/x+json",
        "text/plain",
    ]));
    let payload = prop_oneof![
        Just(Payload::None),
        json_value().prop_map(Payload::Json),
        prop::collection::vec(any::<u8>(), 0..40).prop_map(Payload::Bytes),
    ];
    (text(), text(), text(), optional, content_type, payload).prop_map(
        |(id, source, ty, (subject, time, schema, extensions), content_type, mut data)| {
            let mut attributes: BTreeMap<String, Value> = extensions;
            attributes.remove("data");
            for (name, value) in [("subject", subject), ("time", time), ("dataschema", schema)] {
                attributes.extend(value.map(|value| (name.to_owned(), Value::from(value))));
            }
            for (name, value) in [("specversion", "1.0".to_owned()), ("id", id), ("source", source), ("type", ty)] {
                attributes.insert(name.to_owned(), value.into());
            }
            if content_type == Some("text/plain") {
                // The SDK takes nothing but a string here.
                if let Payload::Json(value) = data {
                    data = Payload::Json(value.to_string().into());
                }
            }
            Parts { attributes, content_type, data }
        },
    )
}

fn canonical(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

impl Parts {
    fn binary(&self) -> Record {
        let mut headers: Vec<(String, String)> =
            self.attributes.iter().map(|(name, value)| (format!("ce_{name}"), canonical(value))).collect();
        headers.extend(self.content_type.map(|value| ("content-type".to_owned(), value.to_owned())));
        let data = match &self.data {
            Payload::None => None,
            Payload::Json(text) if self.content_type == Some("text/plain") => Some(canonical(text).into_bytes()),
            Payload::Json(value) => Some(value.to_string().into_bytes()),
            Payload::Bytes(bytes) => Some(bytes.clone()),
        };
        let headers = headers.iter().map(|(name, value)| (name.as_bytes(), Some(value.as_bytes())));
        Record::new(0, None, None, data.as_deref(), headers)
    }

    fn structured(&self, pretty: bool) -> Record {
        let mut object = json!(self.attributes);
        if let Some(content_type) = self.content_type {
            object["datacontenttype"] = content_type.into();
        }
        match &self.data {
            Payload::None => {}
            Payload::Json(value) => object["data"] = value.clone(),
            Payload::Bytes(bytes) => {
                object["data_base64"] = base64::Engine::encode(&base64::prelude::BASE64_STANDARD, bytes).into();
            }
        }
        structured(if pretty { format!("{object:#}") } else { object.to_string() }.as_bytes())
    }
}

fn structured(value: &[u8]) -> Record {
    let headers: [(&[u8], Option<&[u8]>); 1] = [(b"content-type", Some(b"application/cloudevents+json"))];
    Record::new(0, None, None, Some(value), headers.into_iter())
}

/// What the SDK's Kafka binding does with a record, without its rdkafka.
struct Binary<'r>(&'r Record);

impl BinaryDeserializer for Binary<'_> {
    fn deserialize_binary<R: Sized, V: BinarySerializer<R>>(self, mut visitor: V) -> SdkResult<R> {
        visitor = visitor.set_spec_version(SpecVersion::V10)?;
        let known = ["id", "type", "source", "dataschema", "subject", "time"];
        for (name, value) in self.0.headers() {
            let (name, value) = (std::str::from_utf8(name).unwrap(), std::str::from_utf8(value.unwrap()).unwrap());
            let value = MessageAttributeValue::String(value.to_owned());
            visitor = match name.strip_prefix("ce_") {
                Some("specversion") => visitor,
                Some(name) if known.contains(&name) => visitor.set_attribute(name, value)?,
                Some(name) => visitor.set_extension(name, value)?,
                None => visitor.set_attribute("datacontenttype", value)?,
            };
        }
        match self.0.value() {
            Some(value) => visitor.end_with_data(value.to_vec()),
            None => visitor.end(),
        }
    }
}

fn agree(ours: &Event<'_>, theirs: &SdkEvent) -> Result<(), TestCaseError> {
    prop_assert_eq!(theirs.specversion(), SpecVersion::V10);
    prop_assert_eq!(&*ours.id, theirs.id());
    prop_assert_eq!(&*ours.source, theirs.source().as_str());
    prop_assert_eq!(&*ours.ty, theirs.ty());
    prop_assert_eq!(ours.subject.as_deref(), theirs.subject());
    prop_assert_eq!(ours.datacontenttype.as_deref(), theirs.datacontenttype());
    prop_assert_eq!(ours.dataschema.as_deref(), theirs.dataschema().map(|url| url.as_str()));
    let instant = |text: &str| OffsetDateTime::parse(text, &Rfc3339).unwrap().unix_timestamp_nanos();
    prop_assert_eq!(ours.time.as_deref().map(instant), theirs.time().map(|time| instant(&time.to_rfc3339())));
    let extensions: BTreeMap<&str, Cow<'_, str>> = theirs
        .iter_extensions()
        .map(|(name, value)| match value {
            ExtensionValue::String(text) => (name, Cow::Borrowed(text.as_str())),
            other => (name, Cow::Owned(other.to_string())),
        })
        .collect();
    prop_assert_eq!(ours.extensions.len(), extensions.len());
    for (name, value) in &ours.extensions {
        prop_assert_eq!(Some(value), extensions.get(&**name));
    }
    match (ours.data.as_deref(), theirs.data()) {
        (None, None) => {}
        (Some(ours), Some(Data::Json(theirs))) => {
            prop_assert_eq!(&serde_json::from_slice::<Value>(ours).unwrap(), theirs)
        }
        (Some(ours), Some(Data::String(theirs))) => prop_assert_eq!(ours, theirs.as_bytes()),
        (Some(ours), Some(Data::Binary(theirs))) => prop_assert_eq!(ours, &theirs[..]),
        (ours, theirs) => prop_assert!(false, "data: {ours:?}, the SDK has {theirs:?}"),
    }
    Ok(())
}

/// An envelope gives back the event it was made from.
fn kept(record: Record) -> Result<(), TestCaseError> {
    let copy = Record::new(0, None, record.key(), record.value(), record.headers());
    match (decode(&copy), Envelope::decode(record)) {
        (Ok(event), Ok(envelope)) => {
            let text = |value: &Option<Cow<'_, str>>| value.as_deref().map(str::to_owned);
            let owned = |value: Option<&str>| value.map(str::to_owned);
            prop_assert_eq!(
                (&*event.id, &*event.source, &*event.ty),
                (envelope.id(), envelope.source(), envelope.ty())
            );
            prop_assert_eq!(text(&event.subject), owned(envelope.subject()));
            prop_assert_eq!(text(&event.time), owned(envelope.time()));
            prop_assert_eq!(text(&event.datacontenttype), owned(envelope.datacontenttype()));
            prop_assert_eq!(text(&event.dataschema), owned(envelope.dataschema()));
            prop_assert_eq!(event.data.as_deref(), envelope.data());
            prop_assert!(event.extensions.iter().map(|(n, v)| (&**n, &**v)).eq(envelope.extensions()));
            for name in
                ["id", "source", "type", "specversion", "subject", "time", "datacontenttype", "dataschema", "none"]
            {
                prop_assert_eq!(event.attribute(name), envelope.attribute(name));
            }
            for (name, value) in &event.extensions {
                prop_assert_eq!(envelope.attribute(name), Some(&**value));
            }
        }
        (Err(reason), Err(refused)) => {
            let (record, same) = *refused;
            prop_assert_eq!(&reason, &same);
            prop_assert!(reason.to_string().len() < 1000 && !reason.to_string().contains('\n'));
            prop_assert_eq!(record.bytes(), copy.bytes());
        }
        (ours, kept) => prop_assert!(false, "{ours:?} and yet {:?}", kept.is_ok()),
    }
    Ok(())
}

/// What a mutation of a good event puts somewhere.
const SPLICES: [&str; 24] = [
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "\"",
    "\\",
    "\\u00",
    "\\ud800",
    "null",
    "1.5",
    "-0",
    "1e9",
    "3000000000",
    "\"data\":1,",
    "\"data_base64\":\"AA==\",",
    "\"id\":\"x\",",
    "\"x\":null,",
    "\"X\":1,",
    "\"datacontenttype\":\"text/plain\",",
    " ",
    "\u{0}",
    "ä",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn binary_events_agree_with_the_sdk(parts in parts()) {
        let record = parts.binary();
        agree(&decode(&record).unwrap(), &Binary(&record).into_event().unwrap())?;
        kept(record)?;
    }

    #[test]
    fn structured_events_agree_with_the_sdk(parts in parts(), pretty: bool) {
        let record = parts.structured(pretty);
        agree(&decode(&record).unwrap(), &serde_json::from_slice(record.value().unwrap()).unwrap())?;
        kept(record)?;
    }

    #[test]
    fn an_event_means_the_same_in_both_modes(parts in parts()) {
        let (binary, structured) = (parts.binary(), parts.structured(false));
        let (mut binary, mut structured) = (decode(&binary).unwrap(), decode(&structured).unwrap());
        binary.extensions.sort();
        structured.extensions.sort();
        prop_assert_eq!(binary, structured);
    }

    #[test]
    fn damaged_events_agree_with_the_sdk_where_both_accept_them(
        parts in parts(), pretty: bool, at: prop::sample::Index, cut in 0..4_usize, splice in prop::sample::select(&SPLICES[..])
    ) {
        let record = parts.structured(pretty);
        let mut value = record.value().unwrap().to_vec();
        let at = at.index(value.len());
        let end = (at + cut).min(value.len());
        value.splice(at..end, splice.bytes());
        let record = structured(&value);
        if let (Ok(ours), Ok(theirs)) = (decode(&record), serde_json::from_slice::<SdkEvent>(&value)) {
            // `dataschema` is normalised by the SDK, and a damaged one may be anything. So may a
            // media type, and of one that is none they differ on whether it stands for JSON.
            let same = |e: &Event<'_>| {
                e.dataschema.as_deref() == theirs.dataschema().map(|url| url.as_str())
                    && e.datacontenttype.as_deref() == parts.content_type
            };
            if same(&ours) {
                agree(&ours, &theirs)?;
            }
        }
        kept(record)?;
    }

    #[test]
    fn arbitrary_records_never_panic(
        key in prop::option::of(prop::collection::vec(any::<u8>(), 0..4)),
        value in prop::option::of(prop_oneof![
            prop::collection::vec(any::<u8>(), 0..64),
            "[\\{\\}\\[\\]\",:a-e0-9\\\\ .+-]{0,64}".prop_map(String::into_bytes),
        ]),
        headers in prop::collection::vec((
            prop_oneof![
                prop::collection::vec(any::<u8>(), 0..8),
                "ce_(id|type|source|specversion|time|[a-c]{1,2})|[cC]ontent-[tT]ype".prop_map(String::into_bytes),
            ],
            prop::option::of(prop_oneof![
                prop::collection::vec(any::<u8>(), 0..8),
                "1\\.0|application/cloudevents(\\+json|-batch\\+json|\\+avro)?|x".prop_map(String::into_bytes),
            ]),
        ), 0..8),
    ) {
        let headers = headers.iter().map(|(name, value)| (&name[..], value.as_deref()));
        kept(Record::new(0, None, key.as_deref(), value.as_deref(), headers))?;
    }
}
