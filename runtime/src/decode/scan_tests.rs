use proptest::prelude::*;
use serde_json::value::RawValue;

use super::*;

/// The members that the scan finds; `None` where it leaves the text to serde_json.
fn scanned(text: &str) -> Option<Vec<(String, String)>> {
    let mut found = Vec::new();
    let ended = members(text, |name, value| {
        found.push((name.to_owned(), value.to_owned()));
        Ok(())
    });
    ended.is_ok().then_some(found)
}

/// The members that serde_json finds.
fn parsed(text: &str) -> Option<Vec<(String, String)>> {
    struct Members(Vec<(String, String)>);
    impl<'de> serde::Deserialize<'de> for Members {
        fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Members, D::Error> {
            struct Visitor;
            impl<'de> serde::de::Visitor<'de> for Visitor {
                type Value = Members;
                fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                    f.write_str("an object")
                }
                fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                    let mut found = Vec::new();
                    while let Some((name, value)) = map.next_entry::<String, &RawValue>()? {
                        found.push((name, value.get().to_owned()));
                    }
                    Ok(Members(found))
                }
            }
            deserializer.deserialize_map(Visitor)
        }
    }
    serde_json::from_str::<Members>(text).ok().map(|members| members.0)
}

#[test]
fn members_are_found_whatever_stands_between_them() {
    let spaced = " {\n \"a\" : \"x\\\"y\" ,\t\"b\":[ 1 , {\"c\" : [] } , {} ]\r\n, \"\" : -1.5e+3 , \"d\":null} \n";
    let expected = [("a", "\"x\\\"y\""), ("b", "[ 1 , {\"c\" : [] } , {} ]"), ("", "-1.5e+3"), ("d", "null")];
    let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(scanned(spaced).unwrap(), expected);
    assert_eq!(scanned("{}"), Some(vec![]));
    assert_eq!(scanned(" { } "), Some(vec![]));
}

#[test]
fn what_is_not_json_is_not_taken() {
    for text in [
        "",
        " ",
        "1",
        "[]",
        "\"a\"",
        "{",
        "}",
        "{}{}",
        "{} x",
        "x{}",
        "{,}",
        "{\"a\"}",
        "{\"a\":}",
        "{\"a\":1,}",
        "{\"a\":1 \"b\":2}",
        "{\"a\" 1}",
        "{a:1}",
        "{\"a\":01}",
        "{\"a\":1.}",
        "{\"a\":.5}",
        "{\"a\":+1}",
        "{\"a\":1e}",
        "{\"a\":-}",
        "{\"a\":1 2}",
        "{\"a\":12\"b\"}",
        "{\"a\":\"b\"c}",
        "{\"a\":\"b\"\"c\"}",
        "{\"a\":tru}",
        "{\"a\":truex}",
        "{\"a\":nul l}",
        "{\"a\":[1,]}",
        "{\"a\":[1}",
        "{\"a\":{]}",
        "{\"a\":[1 2]}",
        "{\"a\":[:]}",
        "{\"a\":{\"b\"}}",
        "{\"a\":{\"b\":1,}}",
        "{\"a\":\"b}",
        "{\"a\":\"\\\"}",
        "{\"a\":\"\\x\"}",
        "{\"a\":\"\\u12g4\"}",
        "{\"a\":\"\\u12\"}",
        "{\"a\":\"\n\"}",
        "{\"a\":\"\u{1}\"}",
        "{\"a\":1}\u{0}",
        "\u{feff}{}",
        "{\"a\":\\\"b\\\"}",
        "{\"a\":1}\"",
        "{\"a\":\u{a0}1}",
        "{\"a\":é}",
        "{\"a\"\"b\":1}",
        "{\"a\"b:1}",
    ] {
        assert_eq!(parsed(text), None, "{text}: this list is wrong");
        assert_eq!(scanned(text), None, "{text}");
    }
}

#[test]
fn a_string_may_end_anywhere_in_a_block() {
    for before in 0..140 {
        for escapes in 0..6 {
            let text =
                format!("{{{}\"a\":\"{}\\\"{{\",\"b\":[\"\\u00e9é\",-0]}}", " ".repeat(before), "\\\\".repeat(escapes));
            assert_eq!(scanned(&text), parsed(&text), "{text}");
            assert!(scanned(&text).is_some());
        }
    }
}

#[test]
fn depth_is_bounded_and_the_rest_is_left_to_others() {
    let nested = |depth: usize| format!("{{\"a\":{}{}}}", "[".repeat(depth), "]".repeat(depth));
    assert!(scanned(&nested(64)).is_some());
    assert!(scanned(&nested(65)).is_none());
    assert!(scanned("{\"\\u0061\":1}").is_none());
}

#[test]
fn a_refusal_ends_the_scan() {
    let mut seen = 0;
    let ended = members(r#"{"a":1,"b":2,"c":"#, |name, _| {
        seen += 1;
        if name == "b" { Err(Undecodable::Batch) } else { Ok(()) }
    });
    assert!(matches!(ended, Err(End::Refused(Undecodable::Batch))));
    assert_eq!(seen, 2);
}

/// Any JSON, written with any space between its tokens.
fn json() -> impl Strategy<Value = String> {
    let space = || prop::sample::select(vec!["", "", "", " ", "\n\t ", "                 "]);
    let string = || {
        prop_oneof![
            "[a-z]{0,70}".prop_map(|text| format!("\"{text}\"")),
            any::<String>().prop_map(|text| serde_json::to_string(&text).unwrap()),
            "(\\\\\\\\|\\\\\"|\\\\u[0-9a-f]{4}|[{}:,é ]){0,40}".prop_map(|text| format!("\"{text}\"")),
        ]
    };
    let scalar = prop_oneof![
        string(),
        any::<i64>().prop_map(|number| number.to_string()),
        "-?(0|[1-9][0-9]{0,3})(\\.[0-9]{1,3})?([eE][+-]?[0-9]{1,3})?",
        prop::sample::select(vec!["true", "false", "null"]).prop_map(str::to_owned),
    ];
    let name = move || prop_oneof!["[a-z]{0,12}".prop_map(|text| format!("\"{text}\"")), string()];
    let value = scalar.prop_recursive(4, 60, 6, move |inner| {
        let array = prop::collection::vec((space(), inner.clone(), space()), 0..6);
        let array = array
            .prop_map(|items| items.iter().map(|(a, item, b)| format!("{a}{item}{b}")).collect::<Vec<_>>().join(","));
        let object = prop::collection::vec((space(), name(), space(), inner), 0..6);
        let object = object.prop_map(|items| {
            items.iter().map(|(a, name, b, item)| format!("{a}{name}{b}:{b}{item}{a}")).collect::<Vec<_>>().join(",")
        });
        prop_oneof![array.prop_map(|items| format!("[{items}]")), object.prop_map(|items| format!("{{{items}}}"))]
    });
    (space(), prop::collection::vec((space(), "[a-z]{0,9}", value), 0..6), space()).prop_map(|(a, members, b)| {
        let members: Vec<_> =
            members.iter().map(|(space, name, value)| format!("{space}\"{name}\"{space}:{a}{value}{b}")).collect();
        format!("{a}{{{}}}{b}", members.join(","))
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn finds_what_serde_json_finds(text in json()) {
        prop_assert_eq!(scanned(&text), parsed(&text));
        prop_assert!(scanned(&text).is_some());
    }

    /// A byte changed, put in or left out: where serde_json sees no JSON any more, neither does the scan.
    #[test]
    fn takes_nothing_that_serde_json_refuses(
        text in json(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), 0..3, prop::sample::select(b"\"\\{}[]:,0-1.eEtn x\n\0u/".to_vec())), 1..4),
    ) {
        let mut bytes = text.into_bytes();
        for (index, kind, byte) in changes {
            let at = index.index(bytes.len());
            match kind {
                0 => bytes[at] = byte,
                1 => bytes.insert(at, byte),
                _ => drop(bytes.remove(at)),
            }
            if bytes.is_empty() {
                bytes.push(b' ');
            }
        }
        if let Ok(text) = std::str::from_utf8(&bytes)
            && let Some(found) = scanned(text)
        {
            prop_assert_eq!(Some(found), parsed(text), "{}", text);
        }
    }

    #[test]
    fn the_masks_are_those_of_one_byte_at_a_time(block in prop::array::uniform32(any::<u8>()), other in prop::array::uniform32(prop::sample::select(b"\"\\{}[]:, \t\n\r\x1f\x20\x7f\x80\xfb\xfd".to_vec()))) {
        let mut bytes = [0; BLOCK];
        bytes[..32].copy_from_slice(&block);
        bytes[32..].copy_from_slice(&other);
        prop_assert_eq!(Masks::of(&bytes), Masks::one_by_one(&bytes));
    }
}
