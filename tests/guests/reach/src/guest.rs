//! What each event type does.

#![allow(unsafe_code, reason = "the generated export is an unsafe function")]

use crate::http::Request;

pub mod bindings {
    #![allow(missing_docs, clippy::all, reason = "generated")]
    wit_bindgen::generate!({
        path: "../../../wit",
        inline: "
            package outrigger:reach;
            world reach {
                include outrigger:handler/event-handler@0.1.0;
                include wasi:http/imports@0.2.12;
                include wasi:config/imports@0.2.0-rc.1;
                include wasi:keyvalue/imports@0.2.0-draft;
            }
        ",
        world: "outrigger:reach/reach",
        generate_all,
    });
}

use bindings::exports::outrigger::handler::handler::{Delivery, Event, Failure, Guest, Output};
use bindings::wasi::config::store as config;
use bindings::wasi::keyvalue::{atomics, batch, store};

struct Reach;

bindings::export!(Reach with_types_in bindings);

impl Guest for Reach {
    fn handle(event: Event, _: Delivery) -> Result<Vec<Output>, Failure> {
        let text = String::from_utf8_lossy(event.data.as_deref().unwrap_or_default()).into_owned();
        let words: Vec<&str> = text.split(' ').collect();
        let word = |n: usize| words.get(n).copied().unwrap_or_default();
        let said = match event.type_.as_str() {
            "send" => either(Request::parse(&text).send()),
            // So many requests, one after the other.
            "send-many" => {
                let (count, request) = text.split_once('\n').unwrap_or_default();
                let request = Request::parse(request);
                let sent = (0..count.parse().unwrap_or(0)).map(|_| either(request.send()));
                sent.collect::<Vec<_>>().join(", ")
            }
            // All begun, then all handles kept for ever.
            "leave-open" => {
                let begun = Request::parse(&text).begin();
                let said = begun.as_ref().map_or_else(Clone::clone, |_| "begun".to_owned());
                std::mem::forget(begun);
                said
            }
            // Begun, and the handles dropped: cancelled.
            "cancel" => Request::parse(&text).begin().map_or_else(|error| error, |_| "cancelled".to_owned()),
            "config" => format!("{:?}", config::get(&text)),
            "config-all" => format!("{:?}", config::get_all()),
            "env" => format!("{:?}", std::env::vars().collect::<Vec<_>>()),
            "kv-open" => store::open(&text).map_or_else(|error| format!("{error:?}"), |_| "open".to_owned()),
            "kv-set" => debug(bucket().set(word(0), &vec![b'v'; word(1).parse().unwrap_or(0)])),
            "kv-get" => format!("{:?}", bucket().get(word(0)).map(|value| value.map(|value| value.len()))),
            "kv-exists" => debug(bucket().exists(word(0))),
            "kv-delete" => debug(bucket().delete(word(0))),
            "kv-increment" => debug(atomics::increment(&bucket(), word(0), word(1).parse().unwrap_or(0))),
            "kv-list" => debug(bucket().list_keys(None).map(|page| (page.keys, page.cursor))),
            "kv-get-many" => {
                let names: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
                debug(batch::get_many(&bucket(), &names))
            }
            "kv-set-and-fail" => {
                let _ = bucket().set(word(0), b"kept");
                return Err(Failure::Reject("after writing".into()));
            }
            other => return Err(Failure::Reject(format!("the guest does not know {other:?}"))),
        };
        let data = Some(said.into_bytes());
        Ok(vec![Output { event: Event { data, ..event }, topic: None, key: None, headers: Vec::new() }])
    }
}

fn bucket() -> store::Bucket {
    // A trap is as good a report as any here.
    store::open("default").unwrap_or_else(|_| core::arch::wasm32::unreachable())
}

fn either(result: Result<String, String>) -> String {
    result.unwrap_or_else(|error| error)
}

fn debug(value: impl std::fmt::Debug) -> String {
    format!("{value:?}")
}
