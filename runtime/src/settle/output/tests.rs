use cloudevents::{AttributesReader, Data};
use proptest::prelude::*;

use super::*;
use crate::manifest::{DeadLetter, Exhausted, Filter, Ordering};

fn route(output_mode: OutputMode) -> Route {
    Route {
        name: "order-created".into(),
        filter: Filter::All(Vec::new()),
        handler: "enrich".into(),
        output: Some("orders.enriched".into()),
        output_mode,
        ordering: Ordering::Key,
        on_failure: Default::default(),
        dead_letter: Exhausted::DeadLetter(DeadLetter { topic: "{topic}.dlq".into(), omit_large_values: false }),
    }
}

fn output() -> Output {
    Output {
        id: "1".into(),
        source: "/shop".into(),
        ty: "shop.order.enriched".into(),
        datacontenttype: Some("application/json".into()),
        data: Some(br#"{"total": 1.50}"#.to_vec()),
        ..Output::default()
    }
}

fn encode_with(output: Output, route: &Route) -> Result<Message, Failure> {
    let record = Record::new(42, None, Some(b"key"), None, [].into_iter());
    let allowed = ["audit".to_owned()];
    encode(output, route, &allowed, &Input { group: "shop", topic: "orders", partition: 3, record: &record }, 1)
}

fn binary(output: Output) -> Message {
    encode_with(output, &route(OutputMode::Binary)).unwrap()
}

fn structured(output: Output) -> Message {
    encode_with(output, &route(OutputMode::Structured)).unwrap()
}

fn refused(output: Output) -> String {
    let failure = encode_with(output, &route(OutputMode::Binary)).unwrap_err();
    assert_eq!((failure.class, failure.retry_after), (FailureClass::Output, None));
    failure.reason.into_owned()
}

/// The headers as text, one a line.
fn headers(message: &Message) -> String {
    let line = |(name, value): (&[u8], Option<&[u8]>)| {
        let value = value.map_or("(null)".into(), String::from_utf8_lossy);
        format!("{}: {value}\n", String::from_utf8_lossy(name))
    };
    message.headers.iter().map(line).collect()
}

fn value(message: &Message) -> &str {
    str::from_utf8(message.value.as_deref().unwrap()).unwrap()
}

#[test]
fn binary_mode_has_the_attributes_as_headers() {
    let message = binary(Output {
        subject: Some("7".into()),
        time: Some("2026-01-31T08:30:00Z".into()),
        dataschema: Some("urn:order".into()),
        extensions: vec![("traceparent".into(), "00-1".into()), ("tenant".into(), "".into())],
        headers: vec![("x".into(), None), ("y".into(), Some(b"\xff".to_vec()))],
        ..output()
    });
    assert_eq!(&*message.topic, "orders.enriched");
    assert_eq!(message.key.as_deref(), Some(&b"key"[..]), "the input's");
    assert_eq!(value(&message), r#"{"total": 1.50}"#);
    insta::assert_snapshot!(headers(&message), @r"
    ce_specversion: 1.0
    ce_id: 1
    ce_source: /shop
    ce_type: shop.order.enriched
    ce_subject: 7
    ce_time: 2026-01-31T08:30:00Z
    content-type: application/json
    ce_dataschema: urn:order
    ce_traceparent: 00-1
    ce_tenant: 
    x: (null)
    y: �
    outrigger-id: shop/orders/3/42/order-created/1
    ");
}

#[test]
fn what_the_handler_leaves_empty_is_filled_in() {
    let message = binary(Output {
        ty: "t".into(),
        subject: Some("".into()),
        time: Some("".into()),
        key: Some(Vec::new()),
        ..Output::default()
    });
    assert_eq!((message.key.as_deref(), &message.value), (Some(&b""[..]), &None), "an empty key is one");
    insta::assert_snapshot!(headers(&message), @r"
    ce_specversion: 1.0
    ce_id: shop/orders/3/42/order-created/1
    ce_source: outrigger/order-created
    ce_type: t
    outrigger-id: shop/orders/3/42/order-created/1
    ");
}

#[test]
fn an_id_of_the_host_takes_the_place_of_a_copied_one() {
    let message = binary(Output { headers: vec![("outrigger-id".into(), Some(b"a/0/0/b/0".to_vec()))], ..output() });
    let ids: Vec<_> = message.headers.iter().filter(|(name, _)| *name == b"outrigger-id").collect();
    assert_eq!(ids, [(&b"outrigger-id"[..], Some(&b"shop/orders/3/42/order-created/1"[..]))]);
}

#[test]
fn an_output_goes_where_it_may_and_nowhere_else() {
    let to = |topic: &str| Output { topic: Some(topic.into()), ..output() };
    assert_eq!(&*binary(to("orders.enriched")).topic, "orders.enriched");
    assert_eq!(&*binary(to("audit")).topic, "audit");
    insta::assert_snapshot!(refused(to("payroll")), @"output 2: it names the topic `payroll`, which is neither the `output` of the route `order-created` nor in the `allow.topics` of the handler `enrich`");
    assert!(refused(to("")).contains("the topic ``"));
    let nowhere = Route { output: None, ..route(OutputMode::Binary) };
    assert_eq!(&*encode_with(to("audit"), &nowhere).unwrap().topic, "audit");
    insta::assert_snapshot!(encode_with(output(), &nowhere).unwrap_err().reason, @"output 2: it names no topic and the route `order-created` has none for it; write `output: <topic>` into the route, or name a topic that the handler `enrich` may write to under `allow.topics`");
}

#[test]
fn what_is_no_event_is_refused() {
    let extension = |name: &str| (name.to_owned(), "x".to_owned());
    let header = |name: &str| Output { headers: vec![(name.into(), None)], ..output() };
    let cases = [
        Output { ty: "".into(), ..output() },
        Output { time: Some("yesterday".into()), ..output() },
        Output { extensions: vec![extension("traceParent")], ..output() },
        Output { extensions: vec![extension("")], ..output() },
        Output { extensions: vec![extension("data")], ..output() },
        Output { extensions: vec![extension("b"), extension("a"), extension("b")], ..output() },
        Output { datacontenttype: Some(" Application/CloudEvents+json".into()), ..output() },
        header("CE_id"),
        header("Content-Type"),
        header("a\0b"),
    ];
    insta::assert_snapshot!(cases.map(refused).join("\n"), @r"
    output 2: its event has no type; set one, such as `shop.order.enriched`
    output 2: its time `yesterday` is not RFC 3339, such as `2026-01-31T08:30:00Z`
    output 2: its extension `traceParent` is not named in lower-case letters and digits alone
    output 2: its extension `` is not named in lower-case letters and digits alone
    output 2: its extension `data` has the name of an attribute; set that instead
    output 2: its extension `b` is there twice
    output 2: its data is a CloudEvent itself, which binary mode cannot say; write `outputMode: structured` into the route
    output 2: its header `CE_id` belongs to the event; set the event's attribute instead
    output 2: its header `Content-Type` belongs to the event; set the event's attribute instead
    output 2: a NUL stands in the name of one of its headers
    ");
    binary(header("cell"));
}

#[test]
fn structured_mode_is_one_document() {
    let message = structured(Output {
        subject: Some("a \"b\"".into()),
        extensions: vec![("tenant".into(), "7".into())],
        headers: vec![("x".into(), Some(b"1".to_vec()))],
        ..output()
    });
    insta::assert_snapshot!(value(&message), @r#"{"specversion":"1.0","id":"1","source":"/shop","type":"shop.order.enriched","subject":"a \"b\"","datacontenttype":"application/json","tenant":"7","data":{"total": 1.50}}"#);
    insta::assert_snapshot!(headers(&message), @r"
    content-type: application/cloudevents+json; charset=UTF-8
    x: 1
    outrigger-id: shop/orders/3/42/order-created/1
    ");
}

#[test]
fn structured_data_has_the_form_of_its_content_type() {
    let member = |content_type: Option<&str>, data: &[u8]| {
        let output = Output { datacontenttype: content_type.map(Into::into), data: Some(data.to_vec()), ..output() };
        let message = structured(output);
        value(&message).rsplit_once("\"data").map(|(_, data)| format!("\"data{data}")).unwrap()
    };
    assert_eq!(member(Some("application/json"), b" [1e400, \"\\u0041\"] "), r#""data":[1e400, "\u0041"]}"#);
    assert_eq!(member(Some("application/problem+JSON; v=1"), b"{}"), r#""data":{}}"#);
    assert_eq!(member(None, b"null"), r#""data":null}"#);
    assert_eq!(member(None, b"not json"), r#""data_base64":"bm90IGpzb24="}"#);
    assert_eq!(member(Some("application/json"), b""), r#""data_base64":""}"#);
    assert_eq!(member(Some("application/json"), b"\"\xff\""), r#""data_base64":"Iv8i"}"#);
    assert_eq!(member(Some("text/plain; charset=utf-8"), b"\"a\"\n"), r#""data":"\"a\"\n"}"#);
    assert_eq!(member(Some("application/soap+xml"), b"<a/>"), r#""data":"<a/>"}"#);
    assert_eq!(member(Some("text/plain"), b"\xff"), r#""data_base64":"/w=="}"#);
    assert_eq!(member(Some("application/octet-stream"), b"abc"), r#""data_base64":"YWJj"}"#);
}

/// Text with what JSON has to escape.
fn text() -> impl Strategy<Value = String> {
    prop_oneof!["[a-zA-Z0-9/:.-]{1,12}", any::<String>().prop_filter("empty", |text| !text.is_empty())]
}

fn any_output() -> impl Strategy<Value = Output> {
    let content_type = prop::sample::select(vec!["application/json", "text/plain", "image/png", "a/b+json"]);
    let data = prop_oneof![
        any::<Vec<u8>>(),
        any::<String>().prop_map(String::into_bytes),
        text().prop_map(|text| serde_json::json!({ "a": [text, null, 1.5] }).to_string().into_bytes()),
    ];
    let extensions = prop::collection::btree_map("x[a-z0-9]{0,8}", text(), 0..4);
    (
        (any::<String>(), text(), text(), prop::option::of(text()), prop::option::of(content_type)),
        (prop::option::of(data), extensions, prop::collection::vec(("h[a-z]{0,5}", any::<Option<Vec<u8>>>()), 0..3)),
        any::<Option<Vec<u8>>>(),
    )
        .prop_map(|((id, source, ty, subject, datacontenttype), (data, extensions, headers), key)| Output {
            id,
            source,
            ty,
            subject,
            time: None,
            datacontenttype: datacontenttype.map(Into::into),
            dataschema: None,
            extensions: extensions.into_iter().collect(),
            data,
            topic: None,
            key,
            headers,
        })
}

proptest! {
    /// Every attribute is a header, every header is one that was asked for, and the data is untouched.
    #[test]
    fn binary_mode_loses_nothing(output in any_output()) {
        let message = binary(output.clone());
        let mut expected: Vec<(String, Option<Vec<u8>>)> = Vec::new();
        let mut add = |name: &str, value: &str| expected.push((name.to_owned(), Some(value.as_bytes().to_vec())));
        let own_id = "shop/orders/3/42/order-created/1";
        add("ce_specversion", "1.0");
        add("ce_id", if output.id.is_empty() { own_id } else { &output.id });
        add("ce_source", &output.source);
        add("ce_type", &output.ty);
        output.subject.iter().for_each(|subject| add("ce_subject", subject));
        output.datacontenttype.iter().for_each(|content_type| add("content-type", content_type));
        output.extensions.iter().for_each(|(name, value)| add(&format!("ce_{name}"), value));
        expected.extend(output.headers.iter().cloned());
        expected.push(("outrigger-id".into(), Some(own_id.into())));
        let headers: Vec<_> = message
            .headers
            .iter()
            .map(|(name, value)| (String::from_utf8(name.to_vec()).unwrap(), value.map(<[u8]>::to_vec)))
            .collect();
        prop_assert_eq!(headers, expected);
        prop_assert_eq!(message.value, output.data);
        prop_assert_eq!(message.key, output.key.or(Some(b"key".to_vec())));
    }

    /// The reference implementation reads back what was put in.
    #[test]
    fn structured_mode_is_read_by_the_reference(output in any_output()) {
        let message = structured(output.clone());
        // It wants a URI reference, a kind of text that the others do not have to be.
        let mut document: serde_json::Value = serde_json::from_slice(message.value.as_deref().unwrap()).unwrap();
        prop_assert_eq!(document["source"].as_str(), Some(&*output.source));
        document["source"] = "/shop".into();
        let event: cloudevents::Event = serde_json::from_value(document).unwrap();
        prop_assert_eq!(event.id(), if output.id.is_empty() { "shop/orders/3/42/order-created/1" } else { &output.id });
        prop_assert_eq!(event.ty(), &output.ty);
        prop_assert_eq!(event.subject(), output.subject.as_deref());
        prop_assert_eq!(event.datacontenttype(), output.datacontenttype.as_deref());
        for (name, value) in &output.extensions {
            prop_assert_eq!(event.extension(name).map(ToString::to_string), Some(value.clone()));
        }
        match (event.data(), &output.data) {
            (None, None) => {}
            (Some(Data::Json(read)), Some(data)) => {
                let json: Option<serde_json::Value> = serde_json::from_slice(data).ok();
                let text = str::from_utf8(data).ok().map(serde_json::Value::from);
                prop_assert!(Some(read) == json.as_ref() || Some(read) == text.as_ref());
            }
            (Some(Data::String(read)), Some(data)) => prop_assert_eq!(read.as_bytes(), data),
            (Some(Data::Binary(read)), Some(data)) => prop_assert_eq!(read, data),
            (read, data) => prop_assert!(false, "{read:?} for {data:?}"),
        }
    }
}
