//! Tests of structured mode, one per rule.

use super::*;
use crate::decode::error::Undecodable;

const REQUIRED: &str = r#""specversion":"1.0","id":"42","source":"/shop","type":"shop.order.created""#;

/// The required members and these.
fn with(more: &str) -> String {
    format!("{{{REQUIRED},{more}}}")
}

fn refusal(json: &str) -> String {
    decode(json.as_bytes()).unwrap_err().to_string()
}

fn data_of(more: &str) -> Option<Vec<u8>> {
    decode(with(more).as_bytes()).unwrap().data.map(Cow::into_owned)
}

#[test]
fn members_become_attributes() {
    let json = with(
        r#""subject":"order-1","time":"2018-04-05T17:31:00Z","datacontenttype":"application/json","dataschema":"/v1",
           "partitionkey" : "k" , "data" : { "a" : [1, 2.50] } "#,
    );
    let expected = Event {
        id: "42".into(),
        source: "/shop".into(),
        ty: "shop.order.created".into(),
        subject: Some("order-1".into()),
        time: Some("2018-04-05T17:31:00Z".into()),
        datacontenttype: Some("application/json".into()),
        dataschema: Some("/v1".into()),
        extensions: vec![("partitionkey".into(), "k".into())],
        data: Some(br#"{ "a" : [1, 2.50] }"#[..].into()),
    };
    let event = decode(json.as_bytes()).unwrap();
    assert_eq!(event, expected);
    let [(name, value)] = &event.extensions[..] else { panic!("one extension") };
    for attribute in [&event.id, &event.source, &event.ty, name, value] {
        assert!(matches!(attribute, Cow::Borrowed(_)), "{attribute} is copied");
    }
    assert!(matches!(event.data, Some(Cow::Borrowed(_))));
}

#[test]
fn data_under_a_json_content_type_is_its_text_byte_for_byte() {
    for content_type in [
        "",
        r#""datacontenttype":null,"#,
        r#""datacontenttype":"application/json; charset=utf-8","#,
        r#""datacontenttype":"Text/JSON","#,
        r#""datacontenttype":"application/vnd.acme+Json;v=1","#,
    ] {
        for data in [r#"{"b":1, "a":1.0e+2,"a":"\u00e4\/"}"#, "[ ]", "\"text\"", "\"\\ud800\"", "null", "1E400", "-0"] {
            assert_eq!(data_of(&format!("{content_type}\"data\": {data} ")).unwrap(), data.as_bytes());
        }
    }
}

#[test]
fn a_string_under_another_content_type_is_its_text() {
    for content_type in
        ["text/plain", "application/xml", "application/json5", "json", "x/notjson", "application/json+xml"]
    {
        let of = |data| data_of(&format!("\"data\":{data},\"datacontenttype\":\"{content_type}\"")).unwrap();
        assert_eq!(of(r#""<a b=\"c\"/>\u00e4""#), "<a b=\"c\"/>ä".as_bytes());
        assert_eq!(of(r#""plain""#), b"plain");
        assert_eq!(of(r#""""#), b"");
        assert_eq!(of(r#"{"a":1}"#), br#"{"a":1}"#, "not a string: as it stands");
        assert_eq!(of("null"), b"null");
    }
}

#[test]
fn half_a_surrogate_pair_is_refused_where_text_is_needed() {
    let refused = refusal(&with(r#""data":"\ud800","datacontenttype":"text/plain""#));
    assert!(refused.starts_with("member `data` is not a valid string: "), "{refused}");
    let refused = refusal(&with(r#""subject":"\udc00""#));
    assert!(refused.starts_with("member `subject` is not a valid string: "), "{refused}");
}

#[test]
fn base64_is_decoded() {
    assert_eq!(data_of(r#""data_base64":"eyAieHl6IjogMTIzIH0=""#).unwrap(), br#"{ "xyz": 123 }"#);
    assert_eq!(data_of(r#""data_base64":"\/w==""#).unwrap(), b"\xff");
    assert_eq!(data_of(r#""data_base64":"""#).unwrap(), b"");
    assert_eq!(data_of(r#""data_base64":null"#), None);
    assert_eq!(data_of(r#""data_base64":null,"data":1"#).unwrap(), b"1");
    for broken in ["\"?\"", "\"/w\"", "\"/x==\"", "\"_w==\"", "\"/w==\\n\"", "\"\\ud800\""] {
        let refused = refusal(&with(&format!("\"data_base64\":{broken}")));
        assert!(refused.starts_with("member `data_base64` is not valid base64: "), "{refused}");
    }
    assert_eq!(refusal(&with("\"data_base64\":[1]")), "member `data_base64` is an array: expected a string");
}

#[test]
fn no_payload_and_two_payloads() {
    assert_eq!(data_of("\"a\":\"b\""), None);
    for data in ["1", "null"] {
        let refused = refusal(&with(&format!(r#""data":{data},"data_base64":"""#)));
        assert_eq!(refused, "members `data` and `data_base64` are both there: expected at most one of them");
    }
}

#[test]
fn extensions_of_every_type_have_their_canonical_form() {
    let json = with(
        r#""s":"Ä \"x\" \/","e":"","t":true,"f":false,"i":-2147483648,"j":2147483647,"z":-0,"n":null,"1a":"digits may lead""#,
    );
    let event = decode(json.as_bytes()).unwrap();
    let found: Vec<(&str, &str)> = event.extensions.iter().map(|(n, v)| (&**n, &**v)).collect();
    let expected = [
        ("s", "Ä \"x\" /"),
        ("e", ""),
        ("t", "true"),
        ("f", "false"),
        ("i", "-2147483648"),
        ("j", "2147483647"),
        ("z", "0"),
        ("1a", "digits may lead"),
    ];
    assert_eq!(found, expected);
}

#[test]
fn extensions_of_other_types_are_refused() {
    for (value, found) in [("[]", "an array"), ("{\"a\":1}", "an object")] {
        let expected = format!("member `x` is {found}: expected a string, an integer or a boolean");
        assert_eq!(refusal(&with(&format!("\"x\":{value}"))), expected);
    }
    for value in ["1.5", "1.0", "1e2", "2147483648", "-2147483649", "99999999999999999999"] {
        let expected = format!("member `x` is \"{value}\": expected an integer from -2147483648 to 2147483647");
        assert_eq!(refusal(&with(&format!("\"x\":{value}"))), expected);
    }
}

#[test]
fn attributes_of_the_specification_are_strings() {
    for (value, found) in [("5", "a number"), ("true", "a boolean"), ("[]", "an array"), ("{}", "an object")] {
        for name in ["specversion", "id", "source", "type", "subject", "time", "datacontenttype", "dataschema"] {
            let json = format!("{{\"{name}\":{value}}}");
            assert_eq!(refusal(&json), format!("member `{name}` is {found}: expected a string"));
        }
    }
}

#[test]
fn required_attributes_are_required() {
    for name in ["id", "source", "type"] {
        let json = format!("{{{REQUIRED}}}");
        let gone = json.replace(&format!("\"{name}\":"), "\"other\":");
        let missing = format!("attribute `{name}` is missing: expected member `{name}`");
        assert_eq!(refusal(&gone), missing);
        assert_eq!(refusal(&format!("{},\"{name}\":null}}", gone.trim_end_matches('}'))), missing);
        let empty = format!("{},\"{name}\":\"\"}}", gone.trim_end_matches('}'));
        assert_eq!(refusal(&empty), format!("member `{name}` is empty: expected at least one character"));
    }
    assert_eq!(refusal("{}"), "attribute `specversion` is missing: expected member `specversion`");
    assert_eq!(refusal(r#"{"specversion":"1.1"}"#), "member `specversion` is \"1.1\": expected \"1.0\"");
}

#[test]
fn a_name_with_escapes_is_the_same_name() {
    let json = r#"{"specversion":"1.0","\u0069d":"42","source":"/","type":"t","\u0078":"y"}"#;
    let event = decode(json.as_bytes()).unwrap();
    assert_eq!((&*event.id, event.attribute("x")), ("42", Some("y")));
    assert_eq!(refusal(&with(r#""\u0069d":"43""#)), "member `id` is there more than once: expected it once");
}

#[test]
fn duplicate_members_are_refused() {
    for (name, value) in [
        ("id", "\"42\""),
        ("id", "null"),
        ("specversion", "\"1.0\""),
        ("x", "\"1\""),
        ("x", "null"),
        ("data", "1"),
        ("data", "null"),
        ("data_base64", "\"\""),
        ("data_base64", "null"),
    ] {
        let twice = format!("\"{name}\":{value},\"{name}\":{value}");
        let expected = format!("member `{name}` is there more than once: expected it once");
        assert_eq!(refusal(&with(&twice)), expected);
    }
    assert_eq!(refusal(&with(r#""x":null,"y":1,"x":"1""#)), "member `x` is there more than once: expected it once");
}

#[test]
fn illegal_names_are_refused() {
    for name in ["", "Id", "my_key", "my-key", "data_base_64", "schlüssel", "a b"] {
        let expected =
            format!("member `{name}` does not name an attribute: expected only the letters a to z and digits");
        assert_eq!(refusal(&with(&format!("\"{name}\":\"x\""))), expected);
        assert_eq!(refusal(&with(&format!("\"{name}\":null"))), expected);
    }
}

#[test]
fn what_is_not_an_object_in_utf8_is_refused() {
    for (json, reason) in [
        ("", "EOF while parsing a value at line 1 column 0"),
        ("[]", "invalid type: sequence, expected an object at line 1 column 0"),
        ("null", "invalid type: null, expected an object at line 1 column 4"),
        ("{\"id\":\"1\",}", "trailing comma at line 1 column 11"),
    ] {
        assert_eq!(refusal(json), format!("the record's value is not a CloudEvent in JSON: {reason}"));
    }
    for json in [
        "{",
        "{\"id\"}",
        "{\"id\":}",
        "{id:1}",
        "{\"id\":\"1\"}x",
        "{\"data\":[1,]}",
        "{\"data\":01}",
        "{\"data\":\"\n\"}",
        "{\"data\":\"\\x\"}",
        "{\"data\":nul}",
        "{\"data\":[}",
        "\u{feff}{}",
        "{\"data\":1.}",
        "{\"data\":+1}",
    ] {
        assert!(matches!(decode(json.as_bytes()), Err(Undecodable::Json { .. })), "{json}");
    }
    let refused = decode(b"{\"id\":\"\xff\"}").unwrap_err().to_string();
    assert_eq!(refused, "the record's value is not valid UTF-8 from byte 7 on");
}

#[test]
fn what_is_said_of_a_text_in_the_objects_place_does_not_hold_the_text() {
    for space in ["", " \r\n\t"] {
        let refused = refusal(&format!("{space}\"{}\"", "\u{7f}".repeat(1_000_000)));
        assert!(refused.len() < 200 && refused.contains("invalid type: string, expected an object"), "{refused:.300}");
    }
}

#[test]
fn nesting_of_any_depth_is_kept() {
    let deep = format!("{}{}", "[".repeat(200_000), "]".repeat(200_000));
    assert_eq!(data_of(&format!("\"data\":{deep}")).unwrap().len(), deep.len());
    assert!(decode(with(&format!("\"data\":{}", "[".repeat(200_000))).as_bytes()).is_err());
}
