//! Binary mode: attributes are headers, the value is `data`.

use std::borrow::Cow;

use super::PREFIX;
use super::attributes::{Draft, Mode};
use super::error::{Place, Undecodable};
use crate::event::Event;
use crate::record::Record;

/// `content_type` is the record's `content-type`, which is the event's `datacontenttype`.
pub(super) fn decode<'r>(record: &'r Record, content_type: Option<&'r str>) -> Result<Event<'r>, Undecodable> {
    let mut draft = Draft::new(Mode::Binary);
    let mut any = false;
    for (header, value) in record.headers() {
        let Some(name) = header.strip_prefix(PREFIX) else { continue };
        any = true;
        let Ok(name) = std::str::from_utf8(name) else {
            return Err(Undecodable::Name { place: Place::header(header) });
        };
        let value = match value.map(std::str::from_utf8).transpose() {
            Ok(value) => value,
            Err(error) => return Err(Undecodable::utf8(Place::header(header), &error)),
        };
        draft.put(Cow::Borrowed(name), value.map(Cow::Borrowed))?;
    }
    if !any {
        return Err(Undecodable::NotCloudEvent);
    }
    if let Some(content_type) = content_type {
        // The binding has no `ce_datacontenttype`. Producers that write it mean the same by it.
        if draft.event.datacontenttype.as_ref().is_some_and(|other| other != content_type) {
            return Err(Undecodable::ContentTypes);
        }
        draft.event.datacontenttype = Some(Cow::Borrowed(content_type));
    }
    draft.event.data = record.value().map(Cow::Borrowed);
    draft.finish()
}

#[cfg(test)]
mod tests {
    use crate::decode::decode;
    use crate::event::Event;
    use crate::record::Record;

    type Header<'a> = (&'a str, Option<&'a [u8]>);

    const REQUIRED: [Header; 4] = [
        ("ce_specversion", Some(b"1.0")),
        ("ce_id", Some(b"42")),
        ("ce_source", Some(b"/shop")),
        ("ce_type", Some(b"shop.order.created")),
    ];

    fn record(headers: &[Header], value: Option<&[u8]>) -> Record {
        Record::new(0, None, None, value, headers.iter().map(|(name, value)| (name.as_bytes(), *value)))
    }

    /// The required headers and these.
    fn with(more: &[Header]) -> Record {
        record(&[&REQUIRED, more].concat(), Some(b"data"))
    }

    fn refusal(record: &Record) -> String {
        decode(record).unwrap_err().to_string()
    }

    #[test]
    fn headers_become_attributes_and_the_value_data() {
        let record = with(&[
            ("traceparent", Some(b"00-1-2-3")),
            ("ce_subject", Some(b"order-1")),
            ("ce_time", Some(b"2018-04-05T17:31:00Z")),
            ("ce_dataschema", Some(b"#/v1")),
            ("content-type", Some(b"text/plain; charset=utf-8")),
            ("ce_partitionkey", Some("zwölf".as_bytes())),
            ("ce_sampled", Some(b"true")),
            ("CE_other", Some(b"not an attribute")),
        ]);
        let expected = Event {
            id: "42".into(),
            source: "/shop".into(),
            ty: "shop.order.created".into(),
            subject: Some("order-1".into()),
            time: Some("2018-04-05T17:31:00Z".into()),
            datacontenttype: Some("text/plain; charset=utf-8".into()),
            dataschema: Some("#/v1".into()),
            extensions: vec![("partitionkey".into(), "zwölf".into()), ("sampled".into(), "true".into())],
            data: Some(b"data"[..].into()),
        };
        assert_eq!(decode(&record).unwrap(), expected);
    }

    #[test]
    fn a_tombstone_is_an_event_without_data_and_an_empty_value_is_empty_data() {
        assert_eq!(decode(&record(&REQUIRED, None)).unwrap().data, None);
        assert_eq!(decode(&record(&REQUIRED, Some(b""))).unwrap().data.as_deref(), Some(&b""[..]));
    }

    #[test]
    fn data_that_is_not_text_is_kept() {
        assert_eq!(decode(&record(&REQUIRED, Some(b"\xff\0"))).unwrap().data.as_deref(), Some(&b"\xff\0"[..]));
    }

    #[test]
    fn each_required_attribute_is_required() {
        for (i, (header, _)) in REQUIRED.iter().enumerate() {
            let name = header.strip_prefix("ce_").unwrap();
            let mut headers = REQUIRED.to_vec();
            headers.remove(i);
            let missing = format!("attribute `{name}` is missing: expected header `{header}`");
            assert_eq!(refusal(&record(&headers, None)), missing);
            headers.push((header, None));
            assert_eq!(refusal(&record(&headers, None)), missing, "null is absent");
            headers.pop();
            headers.push((header, Some(b"")));
            let refused = refusal(&record(&headers, None));
            if name == "specversion" {
                assert_eq!(refused, "header `ce_specversion` is \"\": expected \"1.0\"");
            } else {
                assert_eq!(refused, format!("header `{header}` is empty: expected at least one character"));
            }
        }
    }

    #[test]
    fn another_version_is_refused() {
        let mut headers = REQUIRED;
        headers[0].1 = Some(b"0.3");
        assert_eq!(refusal(&record(&headers, None)), "header `ce_specversion` is \"0.3\": expected \"1.0\"");
    }

    #[test]
    fn a_null_header_is_an_absent_attribute() {
        let record = with(&[("ce_subject", None), ("ce_tenant", None), ("content-type", None)]);
        let event = decode(&record).unwrap();
        assert_eq!((event.subject, event.datacontenttype, event.extensions.len()), (None, None, 0));
    }

    #[test]
    fn a_repeated_header_is_refused_even_where_it_is_null_or_the_same() {
        for header in ["ce_id", "ce_subject", "ce_specversion", "ce_tenant"] {
            for (first, second) in [(Some(&b"1.0"[..]), Some(&b"1.0"[..])), (Some(b"1.0"), None), (None, Some(b"1.0"))]
            {
                let mut headers: Vec<Header> = REQUIRED.iter().copied().filter(|(name, _)| *name != header).collect();
                headers.extend([(header, first), (header, second)]);
                let expected = format!("header `{header}` is there more than once: expected it once");
                assert_eq!(refusal(&record(&headers, None)), expected);
            }
        }
        let other = [("trace", Some(&b"1"[..])), ("trace", Some(b"2"))];
        assert!(decode(&with(&other)).is_ok(), "headers of the application may repeat");
    }

    #[test]
    fn illegal_names_are_refused() {
        for header in ["ce_", "ce_Id", "ce_my_key", "ce_my-key", "ce_schlüssel", "ce_a b"] {
            let expected =
                format!("header `{header}` does not name an attribute: expected only the letters a to z and digits");
            assert_eq!(refusal(&with(&[(header, Some(b"x"))])), expected);
        }
        let reserved = "header `ce_data` does not name an attribute: the name `data` is reserved for the payload";
        assert_eq!(refusal(&with(&[("ce_data", Some(b"x"))])), reserved);
        let headers: [(&[u8], Option<&[u8]>); 1] = [(b"ce_\xff", Some(b"x"))];
        let refused = refusal(&Record::new(0, None, None, None, headers.into_iter()));
        assert!(refused.starts_with("header `ce_\u{fffd}` does not name an attribute"), "{refused}");
    }

    #[test]
    fn values_that_are_not_utf8_are_refused() {
        let refused = refusal(&with(&[("ce_tenant", Some(b"abc\xff"))]));
        assert_eq!(refused, "header `ce_tenant` is not valid UTF-8 from byte 3 on");
    }

    #[test]
    fn a_time_that_is_not_rfc_3339_is_refused() {
        let refused = refusal(&with(&[("ce_time", Some(b"yesterday"))]));
        let expected = "header `ce_time` is \"yesterday\": expected an RFC 3339 timestamp such as 2018-04-05T17:31:00Z";
        assert_eq!(refused, expected);
    }

    #[test]
    fn the_content_type_is_taken_from_a_second_place_only_where_the_two_agree() {
        let type_of = |record: &Record| decode(record).map(|event| event.datacontenttype.unwrap().into_owned());
        let (ours, json, xml) = ("content-type", Some(&b"application/json"[..]), Some(&b"text/xml"[..]));
        assert_eq!(type_of(&with(&[("ce_datacontenttype", json)])).unwrap(), "application/json");
        assert_eq!(type_of(&with(&[("ce_datacontenttype", json), (ours, json)])).unwrap(), "application/json");
        assert_eq!(
            refusal(&with(&[("ce_datacontenttype", json), (ours, xml)])),
            "headers `content-type` and `ce_datacontenttype` differ: expected only `content-type`"
        );
    }

    #[test]
    fn a_hundred_thousand_attributes_are_compared_in_no_time() {
        let names: Vec<String> = (0..100_000).map(|i| format!("ce_x{i}")).collect();
        let mut headers: Vec<Header> = REQUIRED.to_vec();
        headers.extend(names.iter().map(|name| (name.as_str(), Some(&b""[..]))));
        assert_eq!(decode(&record(&headers, None)).unwrap().extensions.len(), names.len());
        headers.push(("ce_x77", None));
        assert!(refusal(&record(&headers, None)).starts_with("header `ce_x77` is there more than once"));
    }
}
