//! What the tests of `invoke` share: the probe, a pool of it, and calls in one line.

#![allow(dead_code, reason = "each test binary uses a part of it")]

pub mod server;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::rc::Rc;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use outrigger::envelope::Envelope;
use outrigger::invoke::{Call, Engine, Module, Pool, Report, Sizing};
use outrigger::manifest::{Allow, Config, Handler, Http, Instance, KeyValue, Limits, Origin};
use outrigger::outcome::{Failure, FailureClass, Outcome, Output};
use outrigger::record::Record;

/// The probe, built once per test run.
pub fn probe() -> &'static Path {
    static PROBE: OnceLock<PathBuf> = OnceLock::new();
    PROBE.get_or_init(|| guest("probe"))
}

/// The guest that uses what is granted, likewise.
pub fn reach() -> &'static Path {
    static REACH: OnceLock<PathBuf> = OnceLock::new();
    REACH.get_or_init(|| guest("reach"))
}

fn guest(name: &str) -> PathBuf {
    let package = format!("guest-{name}");
    let build = ["build", "--quiet", "--profile", "guest", "--target", "wasm32-wasip2", "-p", &package];
    let built = Command::new(env!("CARGO")).args(build).current_dir(env!("CARGO_MANIFEST_DIR")).status().unwrap();
    assert!(built.success(), "the guest does not build: cargo {}", build.join(" "));
    // target/debug/deps/<this test>
    let target = std::env::current_exe().unwrap().ancestors().nth(3).unwrap().to_owned();
    target.join(format!("wasm32-wasip2/guest/guest_{name}.wasm"))
}

/// A handler with comfortable limits.
pub fn spec() -> Handler {
    Handler {
        name: "probe".into(),
        module: probe().to_owned(),
        sha256: None,
        instance: Instance::Warm,
        concurrency: 8,
        warm_up: 0,
        limits: Limits {
            memory: 16 << 20,
            cpu_time: Duration::from_millis(100),
            timeout: Duration::from_secs(5),
            input: 1 << 20,
            output: 64 << 10,
            outputs: 10,
            http_requests: 4,
            http_request_bytes: 64 << 10,
            http_response_bytes: 256 << 10,
        },
        allow: Allow::default(),
        config: None,
        env: Config::new(),
        circuit: None,
    }
}

/// The guest that uses capabilities, granted all of them, and these servers.
pub fn reaching(origins: &[&str]) -> Handler {
    let origins = origins.iter().map(|text| Origin::parse(text).unwrap_or_else(|error| panic!("{text}: {error}")));
    let http = Http { origins: origins.collect(), ..Http::default() };
    let key_value = Some(KeyValue { bytes: 64 << 10, entries: 4 });
    Handler {
        name: "reach".into(),
        module: reach().to_owned(),
        allow: Allow { topics: Vec::new(), http: Some(http), key_value },
        config: Some(Config::new()),
        ..spec()
    }
}

/// Loads a handler and gives it a pool.
pub fn pool_of(spec: &Handler) -> Rc<Pool> {
    Pool::new(engine().load(spec).unwrap_or_else(|error| panic!("{error}")))
}

pub fn engine() -> Engine {
    Engine::new(Sizing::of(&[spec()], 2)).unwrap()
}

/// The probe, loaded with changes to its specification.
pub fn load(change: impl FnOnce(&mut Handler)) -> Arc<Module> {
    let mut spec = spec();
    change(&mut spec);
    engine().load(&spec).unwrap_or_else(|error| panic!("{error}"))
}

pub fn pool(change: impl FnOnce(&mut Handler)) -> Rc<Pool> {
    Pool::new(load(change))
}

/// A call with an event of this type and data.
pub fn call(ty: &str, data: impl AsRef<[u8]>) -> Call {
    let headers: [(&[u8], Option<&[u8]>); 10] = [
        (b"ce_specversion", Some(b"1.0")),
        (b"ce_id", Some(b"e-1")),
        (b"ce_source", Some(b"/orders")),
        (b"ce_type", Some(ty.as_bytes())),
        (b"ce_subject", Some("größe".as_bytes())),
        (b"ce_time", Some(b"2026-02-03T04:05:06Z")),
        (b"ce_tenant", Some(b"acme")),
        (b"content-type", Some(b"application/json")),
        (b"trace", None),
        (b"\xFFname", Some(b"\x00\x01")),
    ];
    let record = Record::new(42, Some(7), Some(b"key"), Some(data.as_ref()), headers.into_iter());
    let envelope = Envelope::decode(record).unwrap_or_else(|_| panic!("the record is an event"));
    Call {
        envelope: Rc::new(envelope),
        route: "on-probe".into(),
        topic: "orders".into(),
        partition: 3,
        attempt: 2,
        generation: 1,
        fence: Arc::new(AtomicBool::new(false)),
    }
}

/// Runs calls on one thread, as a worker does.
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, future)
}

/// One call of the probe with these changes, on its own.
pub fn once(change: impl FnOnce(&mut Handler), ty: &str, data: impl AsRef<[u8]>) -> Report {
    let pool = pool(change);
    block_on(pool.call(call(ty, data)))
}

#[track_caller]
pub fn handled(report: Report) -> Vec<Output> {
    match report.outcome {
        Outcome::Handled(outputs) => outputs,
        other => panic!("not handled: {other:?}"),
    }
}

/// The text of the only output.
#[track_caller]
pub fn said(report: Report) -> String {
    let outputs = handled(report);
    assert_eq!(outputs.len(), 1);
    String::from_utf8(outputs[0].data.clone().unwrap()).unwrap()
}

#[track_caller]
pub fn failed(report: Report) -> Failure {
    match report.outcome {
        Outcome::Failed(failure) => failure,
        other => panic!("not failed: {other:?}"),
    }
}

/// Asserts class and reason of a failure.
#[track_caller]
pub fn fails(report: Report, class: FailureClass, reason: &str) {
    let failure = failed(report);
    assert_eq!(failure.class, class, "{failure:?}");
    assert!(failure.reason.contains(reason), "{:?} does not contain {reason:?}", failure.reason);
}
