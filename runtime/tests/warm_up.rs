//! Instances that are there before the first call: who uses them, and what becomes of a
//! generation whose instances do not start.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod support;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use outrigger::compile::Compiler;
use outrigger::invoke::{LoadError, Module, Pool, PrepareError};
use outrigger::manifest::{Handler, Manifest, load_str};
use outrigger::reload::{BuildError, Builder, Current};
use support::server::{Server, ok};
use support::*;

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(30)
}

fn ready(warm_up: usize) -> Rc<Pool> {
    Pool::of(load(|spec| spec.warm_up = warm_up).prepare(soon()).unwrap())
}

/// Calls that overlap, since each waits in the host.
fn overlapping(pool: &Rc<Pool>, calls: usize) {
    let calls = (0..calls).map(|_| pool.call(call("sleep", "20")));
    block_on(join_all(calls)).into_iter().for_each(|report| drop(handled(report)));
}

#[test]
fn the_first_calls_use_the_instances_that_are_ready() {
    let pool = ready(2);
    assert_eq!(pool.idle(), 2);
    assert_eq!(said(block_on(pool.call(call("calls", b"")))), "1", "no call has been made on it before");
    assert_eq!(pool.idle(), 2, "none was made beside them");
    overlapping(&pool, 2);
    assert_eq!(pool.idle(), 2);
    overlapping(&pool, 3);
    assert_eq!(pool.idle(), 3, "one more call than instances");
}

#[test]
fn as_many_as_are_to_be_ready_stay_however_long_they_are_idle() {
    let pool = ready(2);
    overlapping(&pool, 4);
    assert_eq!(pool.idle(), 4);
    let late = Instant::now() + Duration::from_secs(3600);
    pool.trim(late, Duration::from_secs(7200));
    assert_eq!(pool.idle(), 4);
    pool.trim(late, Duration::from_secs(60));
    assert_eq!(pool.idle(), 2);
    let other = ready(0);
    overlapping(&other, 2);
    other.trim(late, Duration::from_secs(60));
    assert_eq!(other.idle(), 0);
}

#[test]
fn an_instance_that_was_made_ready_sends_what_is_granted() {
    let server = Server::start(|_, _| ok("x"));
    let mut spec = reaching(&[&server.origin()]);
    spec.warm_up = 1;
    let pool = Pool::of(engine().load(&spec).unwrap().prepare(soon()).unwrap());
    let get = || block_on(pool.call(call("send", format!("GET http {} /", server.address))));
    assert_eq!((said(get()), said(get())), ("200 x".into(), "200 x".into()));
    assert_eq!(pool.idle(), 1);
}

/// A component whose module has this start function, which may call `$number`: any.
fn starting(folder: &Path, body: &str) -> PathBuf {
    let shell = include_str!("../../tests/tests/hostile/wat/handler.wat");
    let imports = r#"(import "wasi:random/random@0.2.0" (instance $random
          (export "get-random-u64" (func (result u64)))))
        (core func $number (canon lower (func $random "get-random-u64")))
        (core instance $host (export "number" (func $number)))"#;
    let items = format!(
        r#"(func $start (local $n i64) {body}) (start $start)
           (func (export "handle") (param i32) (result i32) (i32.const 0))"#
    );
    let text = [
        ("COMPONENT-IMPORTS", imports),
        ("MODULE-IMPORTS", r#"(import "host" "number" (func $number (result i64)))"#),
        ("MODULE-ARGUMENTS", r#"(with "host" (instance $host))"#),
        ("MODULE-ITEMS", &items),
    ];
    let text = text.iter().fold(shell.to_owned(), |text, (place, with)| text.replace(place, with));
    let path = folder.join("starting.wasm");
    std::fs::write(&path, wat::parse_str(&text).unwrap_or_else(|error| panic!("{error}"))).unwrap();
    path
}

/// Starts in one of four times: a trial by itself may go well.
const SOMETIMES: &str = "(if (i64.ne (i64.and (call $number) (i64.const 3)) (i64.const 0)) (then (unreachable)))";

/// Computes for some ticks.
const SLOWLY: &str = "(local.set $n (i64.const 30000000))
    (loop $on (local.set $n (i64.sub (local.get $n) (i64.const 1))) (br_if $on (i64.ne (local.get $n) (i64.const 0))))";

/// Loads a module until its trial goes well.
fn load_at_last(change: impl Fn(&mut Handler)) -> Arc<Module> {
    let mut spec = spec();
    change(&mut spec);
    let engine = engine();
    for _ in 0..200 {
        match engine.load(&spec) {
            Ok(module) => return module,
            Err(LoadError::Start { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }
    panic!("the trial never goes well");
}

#[test]
fn an_instance_that_does_not_start_is_named_with_its_reason() {
    let folder = tempfile::tempdir().unwrap();
    let path = starting(folder.path(), SOMETIMES);
    let module = load_at_last(|spec| (spec.module, spec.warm_up) = (path.clone(), 16));
    match module.prepare(soon()).err() {
        Some(PrepareError::Start { number: 1..=16, wanted: 16, reason }) => {
            assert!(reason.contains("unreachable") || reason.contains("panicked"), "{reason}");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn instances_are_ready_in_time_or_not_at_all() {
    let folder = tempfile::tempdir().unwrap();
    let path = starting(folder.path(), SLOWLY);
    let module = load(|spec| {
        (spec.module, spec.warm_up) = (path, 3);
        spec.limits.cpu_time = Duration::from_secs(20);
        spec.limits.timeout = Duration::from_secs(60);
    });
    let refused = module.prepare(Instant::now()).err();
    assert!(matches!(refused, Some(PrepareError::Late { ready: 0, wanted: 3 })), "{refused:?}");
    assert_eq!(module.prepare(Instant::now() + Duration::from_secs(60)).unwrap().instances(), 3);
}

fn manifest(folder: &Path, handler: &str) -> Arc<Manifest> {
    let text = format!(
        "\
apiVersion: outrigger/v1
kafka: {{ bootstrapServers: 'localhost:9092', groupId: group, topics: [t] }}
handlers:
  h: {{ {handler} }}
routes:
  - {{ name: r, match: {{ type: t }}, handler: h }}
"
    );
    Arc::new(load_str("outrigger.yaml", &text, folder, &|_| None).unwrap().0)
}

/// Whether the handler of a generation answers, on a worker that takes it over.
fn answers(current: &Current) {
    let guest = (current.built.guests)(0);
    handled(block_on(guest.call(call("nothing", b""))));
}

#[test]
fn a_generation_is_ready_whole_or_the_one_before_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::copy(probe(), folder.path().join("good.wasm")).unwrap();
    let bad = starting(folder.path(), SOMETIMES);
    let first = manifest(folder.path(), "module: good.wasm, warmUp: 2");
    let mut builder = Builder::new(&first, 2, Compiler::default()).unwrap();
    let none = BTreeMap::new();
    let current = builder.build(&first, &none, None).unwrap();
    assert!(current.warm_up > Duration::ZERO);
    answers(&current);

    let second = manifest(folder.path(), &format!("module: {}, warmUp: 12", bad.display()));
    let refused = loop {
        match builder.build(&second, &none, Some(&current)) {
            // The trial.
            Err(BuildError::Handler(..)) => {}
            other => break other.err().map(|error| error.to_string()).unwrap_or_default(),
        }
    };
    assert!(refused.starts_with("handler `h`: instance "), "{refused}");
    assert!(refused.contains(" of 12 for `warmUp` does not start: "), "{refused}");
    answers(&current);
}

#[test]
fn a_handler_that_did_not_change_keeps_its_instances_and_none_is_made() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("good.wasm");
    std::fs::copy(probe(), &path).unwrap();
    let first = manifest(folder.path(), "module: good.wasm, warmUp: 1");
    let mut builder = Builder::new(&first, 2, Compiler::default()).unwrap();
    let current = builder.build(&first, &BTreeMap::new(), None).unwrap();
    let digests = BTreeMap::from([(path, Ok(current.modules[0].digest().to_owned()))]);
    let same = manifest(folder.path(), "module: good.wasm, warmUp: 1, circuit: false");
    let next = builder.build(&same, &digests, Some(&current)).unwrap();
    assert_eq!(next.warm_up, Duration::ZERO);
    let more = manifest(folder.path(), "module: good.wasm, warmUp: 2");
    let next = builder.build(&more, &digests, Some(&next)).unwrap();
    assert!(next.warm_up > Duration::ZERO);
    // Going back to a module that is still loaded makes its instances anew.
    let back = builder.build(&first, &digests, Some(&next)).unwrap();
    assert!(back.warm_up > Duration::ZERO && Arc::ptr_eq(&back.modules[0], &current.modules[0]));
}
