//! A handler that says in its output what it was given, so that a test can
//! tell which events were handled, in which order and at which attempt.
//!
//! An event's data is a JSON object. Its member `do` says what becomes of the
//! event; without data, or without that member, it is `ok`.
//!
//! | `do` | result |
//! |---|---|
//! | `ok` | one output that echoes the event and its delivery |
//! | `many:N` | N of them, with the members `index` 0 to N-1 |
//! | `none` | no output |
//! | `to:TOPIC` | one output to this topic |
//! | `named:ID` | one output with this event id; the others leave theirs to the host |
//! | `fail:N` | `retry` for the first N attempts, then as `ok` |
//! | `unavailable:N` | the same with `unavailable` |
//! | `down-until:MS` | `unavailable` before this Unix time in milliseconds, then as `ok` |
//! | `slow:MS` | sleeps so long, then as `ok` |
//! | `stuck-until:MS` | sleeps until this Unix time in milliseconds, then as `ok` |
//! | `reject` | `reject` |
//! | `trap` | a panic |
#![cfg(target_arch = "wasm32")]
// The bindings are generated: their calls across the component's edge are unsafe,
// and their items have no documentation.
#![allow(unsafe_code, missing_docs)]

use std::time::{Duration, SystemTime, UNIX_EPOCH};

wit_bindgen::generate!({ path: "../../../wit", world: "event-handler" });

use exports::outrigger::handler::handler::{Delivery, Event, Failure, Guest, Output, Retry};

struct Ledger;
export!(Ledger);

impl Guest for Ledger {
    fn handle(event: Event, delivery: Delivery) -> Result<Vec<Output>, Failure> {
        let data: serde_json::Value = match event.data.as_deref() {
            None => serde_json::Value::Null,
            Some(data) => serde_json::from_slice(data).map_err(|e| Failure::Reject(format!("not JSON: {e}")))?,
        };
        let (verb, argument) = match data["do"].as_str() {
            None => ("ok", ""),
            Some(order) => order.split_once(':').unwrap_or((order, "")),
        };
        let number = || argument.parse::<u32>().map_err(|_| Failure::Reject(format!("`{argument}` is not a number")));
        let retry = || Retry { reason: format!("attempt {} was to fail", delivery.attempt), after_ms: None };
        let until = || {
            let end = argument.parse().map_err(|_| Failure::Reject(format!("`{argument}` is no time")))?;
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            Ok(Duration::from_millis(end).saturating_sub(now))
        };
        match verb {
            "ok" | "to" | "named" => {}
            "many" => return Ok((0..number()?).map(|index| echo(&event, &delivery, index)).collect()),
            "none" => return Ok(Vec::new()),
            "fail" if delivery.attempt <= number()? => return Err(Failure::Retry(retry())),
            "unavailable" if delivery.attempt <= number()? => return Err(Failure::Unavailable(retry())),
            "fail" | "unavailable" => {}
            "down-until" if !until()?.is_zero() => {
                return Err(Failure::Unavailable(Retry { reason: "it is down".to_owned(), after_ms: None }));
            }
            "down-until" => {}
            "stuck-until" => std::thread::sleep(until()?),
            "slow" => std::thread::sleep(Duration::from_millis(number()?.into())),
            "reject" => return Err(Failure::Reject("told to reject".to_owned())),
            "trap" => panic!("told to trap"),
            other => return Err(Failure::Reject(format!("what is `{other}`?"))),
        }
        let mut output = echo(&event, &delivery, 0);
        match verb {
            "to" => output.topic = Some(argument.to_owned()),
            "named" => output.event.id = argument.to_owned(),
            _ => {}
        }
        Ok(vec![output])
    }
}

fn echo(event: &Event, delivery: &Delivery, index: u32) -> Output {
    let data = serde_json::json!({
        "id": event.id,
        "type": event.type_,
        "route": delivery.route,
        "topic": delivery.topic,
        "partition": delivery.partition,
        "offset": delivery.offset,
        "key": delivery.key.as_deref().map(String::from_utf8_lossy),
        "attempt": delivery.attempt,
        "index": index,
        "bytes": event.data.as_ref().map(Vec::len),
    });
    Output {
        event: Event {
            id: String::new(),
            source: "/tests/ledger".to_owned(),
            type_: "test.echo".to_owned(),
            subject: Some(event.id.clone()),
            time: None,
            datacontenttype: Some("application/json".to_owned()),
            dataschema: None,
            extensions: Vec::new(),
            data: Some(data.to_string().into_bytes()),
        },
        topic: None,
        key: None,
        headers: Vec::new(),
    }
}
