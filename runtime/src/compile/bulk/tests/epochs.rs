//! How much is copied or filled between two chances to be interrupted.

use wasmtime::{Instance, Memory, Module, Store, UpdateDeadline};

use super::*;

/// What is seen at each chance.
#[derive(Default)]
struct Seen {
    memory: Option<Memory>,
    before: Vec<u8>,
    /// How many bytes changed between two chances, at most.
    most: usize,
    /// How many changed in all.
    all: usize,
}

impl Seen {
    fn look(&mut self, now: &[u8]) {
        let changed = self.before.iter().zip(now).filter(|(before, now)| before != now).count();
        self.most = self.most.max(changed);
        self.all += changed;
        self.before = now.to_vec();
    }
}

/// Runs the function `run` with an epoch that always ends: the most bytes that changed between
/// two looks at it, and all that changed.
fn most(module: &[u8]) -> (usize, usize) {
    let engine = engine();
    let module = Module::new(&engine, module).unwrap();
    let mut store = Store::new(&engine, Seen::default());
    store.epoch_deadline_callback(|mut store| {
        if let Some(memory) = store.data().memory {
            let (now, seen) = memory.data_and_store_mut(&mut store);
            seen.look(now);
        }
        Ok(UpdateDeadline::Continue(0))
    });
    store.set_epoch_deadline(0);
    let instance = Instance::new(&mut store, &module, &[]).unwrap();
    let memory = instance.get_memory(&mut store, "m").unwrap();
    store.data_mut().memory = Some(memory);
    store.data_mut().before = memory.data(&store).to_vec();
    instance.get_typed_func::<(), ()>(&mut store, "run").unwrap().call(&mut store, ()).unwrap();
    let (now, seen) = memory.data_and_store_mut(&mut store);
    seen.look(now);
    (seen.most, seen.all)
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
