//! How much is copied or filled between two chances to be interrupted.

use wasmtime::{AsContextMut, Caller, Extern, Func, Instance, Memory, Module, Store, UpdateDeadline};

use super::*;

/// What is seen at each chance.
#[derive(Default)]
struct Seen {
    place: Option<Extern>,
    before: Vec<u8>,
    /// How many bytes or elements changed between two chances, at most.
    most: usize,
    /// How many changed in all.
    all: usize,
}

/// The bytes of a memory, or for each element of a table whether it is there.
fn look(mut store: impl AsContextMut<Data = Seen>) {
    let now: Vec<u8> = match store.as_context().data().place.clone() {
        Some(Extern::Memory(memory)) => memory.data(&store).to_vec(),
        Some(Extern::Table(table)) => {
            (0..table.size(&store)).map(|index| u8::from(!table.get(&mut store, index).unwrap().is_null())).collect()
        }
        _ => return,
    };
    let mut store = store.as_context_mut();
    let seen = store.data_mut();
    let changed = seen.before.iter().zip(&now).filter(|(before, now)| before != now).count();
    seen.most = seen.most.max(changed);
    seen.all += changed;
    seen.before = now;
}

/// Runs the function `run` with an epoch that always ends: the most that changed in the memory
/// or table `m` between two looks at it, and all that changed.
fn most(module: &[u8]) -> (usize, usize) {
    let engine = engine();
    let module = Module::new(&engine, module).unwrap();
    let mut store = Store::new(&engine, Seen::default());
    store.epoch_deadline_callback(|store| {
        look(store);
        Ok(UpdateDeadline::Continue(0))
    });
    store.set_epoch_deadline(0);
    let instance = Instance::new(&mut store, &module, &[]).unwrap();
    store.data_mut().place = instance.get_export(&mut store, "m");
    look(&mut store);
    instance.get_typed_func::<(), ()>(&mut store, "run").unwrap().call(&mut store, ()).unwrap();
    look(&mut store);
    (store.data().most, store.data().all)
}

#[test]
fn no_more_than_a_chunk_between_two_chances() {
    // So many bytes, no multiple of a chunk, into a memory that is 0.
    let count = 10 * 65_536 + 1234;
    let ones = "\\01".repeat(count);
    let long: [(&str, String); 6] = [
        ("fill", format!("(memory.fill $m (i32.const 3) (i32.const 1) (i32.const {count}))")),
        ("copy", format!("(memory.copy $m $from (i32.const 3) (i32.const 5) (i32.const {count}))")),
        ("copy from the end", format!("(memory.copy $m $from (i32.const 5) (i32.const 3) (i32.const {count}))")),
        ("copy between kinds", format!("(memory.copy $m $wide (i32.const 5) (i64.const 3) (i32.const {count}))")),
        ("init", format!("(memory.init $m $ones (i32.const 3) (i32.const 0) (i32.const {count}))")),
        (
            "fill up to the end",
            format!("(memory.fill $m (i32.const {}) (i32.const 1) (i32.const {count}))", (12 << 16) - count),
        ),
    ];
    for (name, run) in long {
        let module = wat(&format!(
            r#"(module (memory $m (export "m") 12) (memory $from 12) (memory $wide i64 12) (data $ones "{ones}")
            (start $ready)
            (func $ready
                (memory.fill $from (i32.const 0) (i32.const 1) (i32.const 786432))
                (memory.fill $wide (i64.const 0) (i32.const 1) (i64.const 786432)))
            (func (export "run") {run}))"#
        ));
        assert_eq!(most(&module), (count, count), "{name}: as it is, all at once");
        assert_eq!(most(&chunked(&module)), (65_536, count), "{name}");
    }
}

#[test]
fn no_more_elements_than_a_chunk_between_two_chances() {
    let functions = "$f ".repeat(5000);
    for (to, from) in [(3, 5), (5, 3)] {
        let module = wat(&format!(
            r#"(module (func $f) (table $m (export "m") 6000 funcref) (table $from i64 6000 funcref)
            (elem (table $from) (i64.const {from}) func {functions})
            (func (export "run") (table.copy $m $from (i32.const {to}) (i64.const {from}) (i32.const 5000))))"#
        ));
        assert_eq!(most(&module), (5000, 5000), "as it is, all at once");
        assert_eq!(most(&chunked(&module)), (1024, 5000));
    }
}

#[test]
fn no_long_stretch_of_code_between_two_chances() {
    // Each store is 7 bytes of code and more.
    let stores: String = (0..20_000).map(|at| format!("(i32.store8 (i32.const {at}) (i32.const 1))")).collect();
    let module =
        wat(&format!(r#"(module (memory (export "m") 1) (func (export "run") (if (i32.const 1) (then {stores}))))"#));
    assert_eq!(most(&module), (20_000, 20_000), "as it is, all at once");
    let (between, all) = most(&chunked(&module));
    assert!(between <= 1024 / 7 && all == 20_000, "{between} of {all}");
}

/// Runs the function `run`, which calls the host: the most calls between two looks.
fn most_calls(module: &[u8]) -> u32 {
    let engine = engine();
    let module = Module::new(&engine, module).unwrap();
    // Calls since the last look, and the most of them.
    let mut store = Store::new(&engine, (0, 0));
    store.epoch_deadline_callback(|mut store| {
        store.data_mut().0 = 0;
        Ok(UpdateDeadline::Continue(0))
    });
    store.set_epoch_deadline(0);
    let host = Func::wrap(&mut store, |mut caller: Caller<'_, (u32, u32)>| {
        let (now, most) = caller.data_mut();
        *now += 1;
        *most = (*most).max(*now);
    });
    let instance = Instance::new(&mut store, &module, &[host.into()]).unwrap();
    instance.get_typed_func::<(), ()>(&mut store, "run").unwrap().call(&mut store, ()).unwrap();
    store.data().1
}

#[test]
fn a_few_calls_of_the_host_between_two_chances() {
    // Through a table, it may have been a function of its own that did something.
    let ways = [("direct", "(call $host)", 4), ("through a table", "(call_indirect (type $f) (i32.const 0))", 2)];
    for (how, call, expected) in ways {
        for count in [5, 1000] {
            let calls = call.repeat(count);
            let module = wat(&format!(
                r#"(module (type $f (func)) (import "" "host" (func $host)) (table 1 funcref) (elem (i32.const 0) $host)
                (func (export "run") {calls}))"#
            ));
            assert_eq!(most_calls(&module), count as u32, "{how}: as it is, all at once");
            assert_eq!(most_calls(&chunked(&module)), expected, "{how}");
        }
    }
}

#[test]
fn what_looks_often_enough_stays_as_it_is() {
    // Calls of its own functions, each of which looks; and three of the host.
    let own = "(call $own)".repeat(60);
    for calls in [&own, "(call $host) (call $host) (call $host)"] {
        let module = wat(&format!(r#"(module (import "" "host" (func $host)) (func $own) (func {calls}))"#));
        assert!(matches!(make(&module).unwrap(), Cow::Borrowed(_)));
    }
}

#[test]
fn looks_on_another_way_do_not_count() {
    // Ways past a loop, and past a kilobyte of code in which a look is written.
    let junk = "(i32.store8 (i32.const 0) (i32.const 1))".repeat(300);
    for skipped in ["(loop)", "(call $own)", &junk] {
        for (how, around) in [
            ("if", format!("(if (global.get $no) (then {skipped}))")),
            ("else", format!("(if (i32.eqz (global.get $no)) (then) (else {skipped}))")),
            ("br_if", format!("(block (br_if 0 (i32.eqz (global.get $no))) {skipped})")),
            ("br_table", format!("(block (block (br_table 1 0 (global.get $no))) {skipped})")),
            ("br", format!("(block (block (br_if 0 (global.get $no)) (br 1)) {skipped})")),
            ("a loop's way out", format!("(block (loop (br_if 1 (i32.eqz (global.get $no))) {skipped}))")),
        ] {
            let calls = format!("(call $host) {around}").repeat(200);
            let module = wat(&format!(
                r#"(module (import "" "host" (func $host)) (memory 1) (global $no (mut i32) (i32.const 0)) (func $own)
                (func (export "run") {calls}))"#
            ));
            let most = most_calls(&make(&module).unwrap());
            assert!(most <= 4, "{how} past {} bytes: {most}", skipped.len());
        }
    }
}

#[test]
fn the_way_back_from_many_calls_looks_too() {
    let ways = [("direct", "(call $down)"), ("through a table", "(call_indirect (type $f) (i32.const 0))")];
    for (how, call) in ways {
        for calls in 1..4 {
            let host = "(call $host)".repeat(calls);
            let module = wat(&format!(
                r#"(module (type $f (func)) (import "" "host" (func $host)) (global $left (mut i32) (i32.const 1000))
                (table 1 funcref) (elem (i32.const 0) $down)
                (func $down
                    (global.set $left (i32.sub (global.get $left) (i32.const 1)))
                    (if (global.get $left) (then {call}))
                    {host})
                (func (export "run") (call $down)))"#
            ));
            let most = most_calls(&chunked(&module));
            assert!(most <= 4, "{how}, {calls} calls each: {most}");
        }
    }
}

#[test]
fn a_call_between_chunks_can_end_it() {
    let module = wat(r#"(module (memory (export "m") 12)
        (func (export "run") (memory.fill (i32.const 0) (i32.const 1) (i32.const 786432))))"#);
    let engine = engine();
    let module = Module::new(&engine, chunked(&module)).unwrap();
    let mut store = Store::new(&engine, None);
    let done = |memory: &[u8]| memory.iter().filter(|&&byte| byte == 1).count();
    store.epoch_deadline_callback(move |store| match store.data() {
        Some(memory) if done(Memory::data(memory, &store)) >= 3 * 65_536 => Err(wasmtime::Error::msg("enough")),
        _ => Ok(UpdateDeadline::Continue(0)),
    });
    store.set_epoch_deadline(0);
    let instance = Instance::new(&mut store, &module, &[]).unwrap();
    let memory = instance.get_memory(&mut store, "m").unwrap();
    *store.data_mut() = Some(memory);
    let run = instance.get_typed_func::<(), ()>(&mut store, "run").unwrap();
    let error = run.call(&mut store, ()).unwrap_err();
    assert_eq!(error.root_cause().to_string(), "enough");
    assert_eq!(done(memory.data(&store)), 3 * 65_536);
}
