//! What each event type does.

#![allow(clippy::panic, reason = "panicking is among the things to probe")]
#![allow(unsafe_code, reason = "the generated export is an unsafe function")]

use std::hint::black_box;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use guest_common::powers;

mod bindings {
    #![allow(missing_docs, reason = "generated")]
    wit_bindgen::generate!({
        path: "../../../wit",
        inline: "
            package outrigger:probe;
            world probe {
                include outrigger:handler/event-handler@0.1.0;
                import wasi:logging/logging@0.1.0-draft;
                import wasi:random/random@0.2.0;
            }
            package wasi:random@0.2.0 {
                interface random {
                    get-random-bytes: func(len: u64) -> list<u8>;
                    get-random-u64: func() -> u64;
                }
            }
        ",
        world: "outrigger:probe/probe",
        generate_all,
    });
}

use bindings::exports::outrigger::handler::handler::{Delivery, Event, Failure, Guest, Header, Output, Retry};
use bindings::wasi::logging::logging::{Level, log};
use bindings::wasi::random::random::get_random_bytes;

struct Probe;

bindings::export!(Probe with_types_in bindings);

/// Calls of this instance so far: shows whether it is warm or fresh.
static CALLS: AtomicU32 = AtomicU32::new(0);

type Answer = Result<Vec<Output>, Failure>;

impl Guest for Probe {
    fn handle(event: Event, delivery: Delivery) -> Answer {
        let calls = CALLS.fetch_add(1, Ordering::Relaxed) + 1;
        match event.type_.clone().as_str() {
            "nothing" => Ok(Vec::new()),
            "echo" => Ok(vec![output(event)]),
            "delivery" => said(&describe(&delivery)),
            "calls" => said(&calls.to_string()),
            "reject" => Err(Failure::Reject("no such customer".into())),
            "retry" => Err(Failure::Retry(Retry { reason: "not yet".into(), after_ms: Some(1500) })),
            "unavailable" => Err(Failure::Unavailable(Retry { reason: "database down".into(), after_ms: None })),
            "panic" => panic!("no stock left"),
            "exit" => std::process::exit(3),
            "trap" => core::arch::wasm32::unreachable(),
            "loop" => loop {
                black_box(calls);
            },
            "busy" => {
                busy(number(&event));
                said("done")
            }
            "sleep" => {
                std::thread::sleep(Duration::from_millis(number(&event)));
                said("done")
            }
            "memory" => said(&hoard(usize::MAX).to_string()),
            "hold" => said(&hoard(number(&event) as usize).to_string()),
            "polite-memory" => {
                let mut bytes: Vec<u8> = Vec::new();
                said(if bytes.try_reserve_exact(1 << 30).is_err() { "refused" } else { "granted" })
            }
            "recursion" => said(&recurse(1, black_box(u64::MAX)).to_string()),
            "outputs" => Ok((0..number(&event)).map(|_| output(made("t", b""))).collect()),
            "output-bytes" => said(&"x".repeat(number(&event) as usize)),
            "no-type" => Ok(vec![output(made("", b""))]),
            "no-id" => Ok(vec![output(Event { id: String::new(), ..made("t", b"") })]),
            "bad-extension" => {
                Ok(vec![output(Event { extensions: vec![("Bad_Name".into(), "x".into())], ..made("t", b"") })])
            }
            "bad-header" => {
                let header = Header { name: "ce_id".into(), value: Some(b"forged".to_vec()) };
                Ok(vec![Output { headers: vec![header], ..output(made("t", b"")) }])
            }
            "bad-utf8" => {
                // SAFETY: none; a guest may return any bytes, and the host must notice.
                let id = unsafe { String::from_utf8_unchecked(vec![b'a', 0xFF]) };
                Ok(vec![output(Event { id, ..made("t", b"") })])
            }
            "print" => {
                print!("{}", text(&event));
                eprint!("{}", text(&event));
                said("done")
            }
            "flood" => {
                let line = "x".repeat(1000);
                (0..number(&event)).for_each(|_| println!("{line}"));
                said("done")
            }
            "stderr-then-panic" => {
                eprintln!("{}\x1b[31m the end", "y".repeat(5000));
                panic!("after a long text");
            }
            "log" => {
                let levels = [Level::Trace, Level::Debug, Level::Info, Level::Warn, Level::Error, Level::Critical];
                levels.into_iter().for_each(|level| log(level, "stock", &text(&event)));
                said("done")
            }
            "powers" => said(&powers::found("/etc/hostname", 1)),
            "random" => said(&get_random_bytes(number(&event)).len().to_string()),
            other => Err(Failure::Reject(format!("the probe does not know {other:?}"))),
        }
    }
}

fn output(event: Event) -> Output {
    Output { event, topic: None, key: None, headers: Vec::new() }
}

fn made(ty: &str, data: &[u8]) -> Event {
    Event {
        id: "made".into(),
        source: "/probe".into(),
        type_: ty.into(),
        subject: None,
        time: None,
        datacontenttype: Some("text/plain".into()),
        dataschema: None,
        extensions: Vec::new(),
        data: Some(data.to_vec()),
    }
}

fn said(text: &str) -> Answer {
    Ok(vec![output(made("probe.said", text.as_bytes()))])
}

fn text(event: &Event) -> String {
    String::from_utf8_lossy(event.data.as_deref().unwrap_or_default()).into_owned()
}

fn number(event: &Event) -> u64 {
    text(event).parse().unwrap_or(0)
}

fn describe(delivery: &Delivery) -> String {
    let headers = delivery.headers.iter();
    let headers: Vec<String> = headers.map(|h| format!("{}={:?}", h.name, h.value.as_deref())).collect();
    let Delivery { route, topic, partition, offset, timestamp_ms, key, attempt, .. } = delivery;
    format!("{route} {topic}/{partition}/{offset} {timestamp_ms:?} {key:?} {attempt} [{}]", headers.join(", "))
}

fn busy(ms: u64) {
    let end = Instant::now() + Duration::from_millis(ms);
    while Instant::now() < end {
        black_box(ms);
    }
}

fn hoard(bytes: usize) -> usize {
    let mut hoard: Vec<Vec<u8>> = Vec::new();
    let mut held = 0;
    while held < bytes {
        hoard.push(vec![1; 1 << 20]);
        held += 1 << 20;
    }
    std::mem::forget(black_box(hoard));
    held
}

/// Without a frame in linear memory: it is the host's stack that this fills.
fn recurse(depth: u64, end: u64) -> u64 {
    if depth == end { depth } else { recurse(depth + 1, end).wrapping_mul(depth) ^ depth }
}
