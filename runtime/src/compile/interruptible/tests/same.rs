//! Original against rewritten: the same memory and the same trap, whatever the operands.

use wasmtime::{Instance, Memory, Module, Store, Trap, Val};

use super::*;

/// Operands around everything that could be a boundary, in memories of up to five pages.
const AROUND: [u64; 17] = [
    0, 1, 100, 65_535, 65_536, 65_537, 70_000, 131_071, 131_072, 131_073, 196_608, 262_143, 262_144, 262_145, 327_679,
    327_680, 327_681,
];

/// Operands that wrap when they are added, in 32 bits and, where addresses have them, in 64.
const NARROW: [u64; 5] = [0x7fff_ffff, 0x8000_0000, 0xffff_0000, 0xffff_0001, 0xffff_ffff];
const WIDE: [u64; 6] =
    [0x1_0000_0000, 0x1_0000_0001, i64::MAX as u64, 1 << 63, 0xffff_ffff_ffff_0000, 0xffff_ffff_ffff_ffff];

/// A module as it is and in chunks, given the same calls.
pub(super) struct Both {
    sides: [(Store<()>, Instance); 2],
    /// What memories begin each call with.
    noise: Vec<u8>,
    pub traps: usize,
    pub calls: usize,
}

impl Both {
    #[track_caller]
    pub fn of(text: &str) -> Both {
        let module = wat(text);
        let chunked = chunked(&module);
        let engine = engine();
        let sides = [module, chunked].map(|module| {
            let module = Module::new(&engine, module).unwrap_or_else(|error| panic!("{error:#}"));
            let mut store = Store::new(&engine, ());
            store.set_epoch_deadline(u64::MAX / 2);
            let instance = Instance::new(&mut store, &module, &[]).unwrap();
            (store, instance)
        });
        let mut random = fastrand::Rng::with_seed(2);
        let noise = std::iter::repeat_with(|| random.u8(..)).take(8 << 16).collect();
        Both { sides, noise, traps: 0, calls: 0 }
    }

    fn memories(store: &mut Store<()>, instance: Instance) -> Vec<Memory> {
        ["a", "b"].iter().filter_map(|name| instance.get_memory(&mut *store, name)).collect()
    }

    /// Calls a function on both sides and compares all that can be seen.
    #[track_caller]
    pub fn call(&mut self, name: &str, operands: &[u64]) {
        let noise = &self.noise;
        let [original, chunked] = self.sides.each_mut().map(|(store, instance)| {
            for memory in Both::memories(store, *instance) {
                let memory = memory.data_mut(&mut *store);
                memory.copy_from_slice(&noise[..memory.len()]);
            }
            let function = instance.get_func(&mut *store, name).unwrap();
            let operands: Vec<_> = function.ty(&*store).params().zip(operands).map(value).collect();
            let mut results: Vec<_> = function.ty(&*store).results().map(|_| Val::I32(0)).collect();
            let called = function.call(&mut *store, &operands, &mut results);
            let trap = called.map_err(|error| *error.downcast_ref::<Trap>().unwrap()).err();
            let memories = Both::memories(store, *instance);
            (trap, format!("{results:?}"), memories, &*store)
        });
        assert_eq!(original.0, chunked.0, "{name} {operands:?}: the trap");
        assert_eq!(original.1, chunked.1, "{name} {operands:?}: the result");
        for (one, other) in original.2.iter().zip(&chunked.2) {
            assert!(one.data(original.3) == other.data(chunked.3), "{name} {operands:?}: the memory");
        }
        self.calls += 1;
        self.traps += usize::from(original.0.is_some());
    }

    /// Both traps and effects have been seen, many of each.
    #[track_caller]
    pub fn saw_both(&self) {
        assert!(self.traps > 50 && self.calls - self.traps > 10, "{} traps of {} calls", self.traps, self.calls);
    }

    /// In a memory of no pages only nothing can be done without a trap.
    #[track_caller]
    fn saw_both_in(&self, pages: u32) {
        match pages {
            0 => assert!(self.traps > 50 && self.calls > self.traps),
            _ => self.saw_both(),
        }
    }
}

fn value((ty, &operand): (wasmtime::ValType, &u64)) -> Val {
    match ty {
        wasmtime::ValType::I32 => Val::I32(operand as i32),
        _ => Val::I64(operand.cast_signed()),
    }
}

fn operands(wide: bool) -> Vec<u64> {
    let more: &[u64] = if wide { &WIDE } else { &[] };
    [&AROUND[..], &NARROW, more].concat()
}

pub(super) const INDICES: [(&str, bool); 2] = [("i32", false), ("i64", true)];

#[test]
fn filling() {
    for (index, wide) in INDICES {
        for pages in [0, 1, 2, 5] {
            let mut both = Both::of(&format!(
                r#"(module (memory (export "a") {index} {pages})
                (func (export "fill") (param {index} i32 {index})
                    (memory.fill (local.get 0) (local.get 1) (local.get 2))))"#
            ));
            for to in operands(wide) {
                for count in operands(wide) {
                    both.call("fill", &[to, to ^ count ^ 0x1ff, count]);
                }
            }
            both.saw_both_in(pages);
        }
    }
}

#[test]
fn copying_within_a_memory() {
    for (index, wide) in INDICES {
        for pages in [0, 5] {
            let mut both = Both::of(&format!(
                r#"(module (memory (export "a") {index} {pages})
                (func (export "copy") (param {index} {index} {index})
                    (memory.copy (local.get 0) (local.get 1) (local.get 2))))"#
            ));
            let all = operands(wide);
            for &to in &all {
                for &from in &all {
                    for &count in &all {
                        // Three that trap for certain tell no more than two.
                        if [to, from, count].iter().filter(|&&operand| operand > 327_681).count() < 2 {
                            both.call("copy", &[to, from, count]);
                        }
                    }
                }
            }
            both.saw_both_in(pages);
        }
    }
}

#[test]
fn copying_what_overlaps_at_random() {
    let mut both = Both::of(
        r#"(module (memory (export "a") 8)
        (func (export "copy") (param i32 i32 i32) (memory.copy (local.get 0) (local.get 1) (local.get 2))))"#,
    );
    let mut random = fastrand::Rng::with_seed(3);
    for _ in 0..1000 {
        let count = random.u64(60_000..400_000);
        let (to, distance) = (random.u64(0..130_000), random.u64(0..70_000));
        let (to, from) = if random.bool() { (to, to + distance) } else { (to + distance, to) };
        both.call("copy", &[to, from, count]);
    }
    assert!(both.calls - both.traps > 500);
}

#[test]
fn copying_between_memories_of_any_kinds() {
    for (one, one_wide) in INDICES {
        for (other, other_wide) in INDICES {
            let both_wide = one_wide && other_wide;
            let count = if both_wide { "i64" } else { "i32" };
            let mut both = Both::of(&format!(
                r#"(module (memory $a (export "a") {one} 3) (memory $b (export "b") {other} 5)
                (func (export "to-b") (param {other} {one} {count})
                    (memory.copy $b $a (local.get 0) (local.get 1) (local.get 2)))
                (func (export "to-a") (param {one} {other} {count})
                    (memory.copy $a $b (local.get 0) (local.get 1) (local.get 2)))
                (func (export "fill") (param {other} i32 {other})
                    (memory.fill $b (local.get 0) (local.get 1) (local.get 2))))"#
            ));
            let few =
                |wide: bool| operands(wide).into_iter().filter(|operand| operand % 131_072 < 2 || *operand > 327_679);
            for to in few(other_wide) {
                for from in few(one_wide) {
                    for count in operands(both_wide).into_iter().step_by(2) {
                        both.call("to-b", &[to, from, count]);
                        both.call("to-a", &[from, to, count]);
                    }
                }
                both.call("fill", &[to, 7, 131_073]);
            }
            both.saw_both();
        }
    }
}

#[test]
fn filling_what_has_pages_of_one_byte() {
    let mut both = Both::of(
        r#"(module (memory (export "a") 200001 (pagesize 1)) (memory (export "b") 3)
        (func (export "fill") (param i32 i32 i32) (memory.fill (local.get 0) (local.get 1) (local.get 2)))
        (func (export "copy") (param i32 i32 i32) (memory.copy 0 1 (local.get 0) (local.get 1) (local.get 2))))"#,
    );
    for to in [0, 1, 65_536, 134_464, 134_465, 134_466, 200_000, 200_001, 200_002, 0xffff_ffff] {
        for count in [0, 1, 65_536, 65_537, 134_465, 134_466, 200_000, 200_001, 200_002, 0xffff_ffff] {
            both.call("fill", &[to, 3, count]);
            both.call("copy", &[to, 9, count]);
        }
    }
    both.saw_both();
}

#[test]
fn memories_that_grow() {
    let mut both = Both::of(
        r#"(module (memory (export "a") 0 6)
        (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0)))
        (func (export "fill") (param i32 i32 i32) (memory.fill (local.get 0) (local.get 1) (local.get 2)))
        (func (export "copy") (param i32 i32 i32) (memory.copy (local.get 0) (local.get 1) (local.get 2))))"#,
    );
    for pages in 0..=7 {
        let size = 65_536_u64 * pages;
        for count in [0, 1, 65_536, 65_537, 100_000, size] {
            for to in [0, 1, size.saturating_sub(count), size.saturating_sub(count) + 1, size, size + 1] {
                both.call("fill", &[to, 9, count]);
                both.call("copy", &[to, 1, count]);
                both.call("copy", &[1, to, count]);
            }
        }
        both.call("grow", &[1]);
    }
    both.saw_both();
}

#[test]
fn segments_that_are_passive_active_or_dropped() {
    for (index, wide) in INDICES {
        let (long, short) = (data(200_000), data(70_000));
        let mut both = Both::of(&format!(
            r#"(module (memory (export "a") {index} 4)
            (data $long "{long}") (data $active ({index}.const 5) "{short}") (data $none "")
            (func (export "init") (param {index} i32 i32)
                (memory.init $long (local.get 0) (local.get 1) (local.get 2)))
            (func (export "init-active") (param {index} i32 i32)
                (memory.init $active (local.get 0) (local.get 1) (local.get 2)))
            (func (export "init-none") (param {index} i32 i32)
                (memory.init $none (local.get 0) (local.get 1) (local.get 2)))
            (func (export "drop") (data.drop $long)))"#
        ));
        let more = [134_463, 134_464, 134_465, 199_999, 200_000, 200_001];
        let segment: Vec<u64> = operands(false).into_iter().chain(more).collect();
        let calls = |both: &mut Both| {
            for to in operands(wide) {
                for &from in &segment {
                    for &count in &segment {
                        if count != 70_000 && to % 65_536 < 2 {
                            both.call("init", &[to, from, count]);
                        }
                    }
                }
                both.call("init-active", &[to, 0, 65_537]);
                both.call("init-active", &[to, 0, 0]);
                both.call("init-none", &[to, 0, 65_537]);
                both.call("init-none", &[to, 0xffff_ffff, 0xffff_ffff]);
            }
        };
        calls(&mut both);
        both.saw_both();
        let effects = both.calls - both.traps;
        both.call("drop", &[]);
        calls(&mut both);
        assert!(both.calls - both.traps < effects + effects / 2, "dropped: nothing but nothing is left");
    }
}

/// A local is added for the length: it must be none of those that are there.
#[test]
fn the_locals_of_a_function_keep_their_values() {
    let mut both = Both::of(
        r#"(module (memory (export "a") 3) (memory (export "b") i64 3)
        (func (export "wide-first") (param i32 i64) (result i32 i64)
            (memory.fill 1 (i64.const 9) (local.get 0) (local.get 1))
            (memory.fill 0 (i32.const 9) (local.get 0) (local.get 0))
            (local.get 0) (local.get 1))
        (func (export "locals") (param i32 i64 i32 i64) (result i32 i64 i32 i64 i32 f64 i64 i32)
            (local i32 i32) (local f64) (local i64 i32)
            (local.set 4 (i32.const 44)) (local.set 6 (f64.const 6.5)) (local.set 7 (i64.const 77)) (local.set 8 (i32.const 88))
            (memory.fill 0 (i32.const 9) (local.get 8) (local.get 0))
            (if (local.get 2) (then
                (memory.fill 1 (i64.const 9) (local.get 4) (local.get 1))
                (memory.copy 1 0 (local.get 7) (local.get 4) (local.get 2))
                (loop $again
                    (memory.copy 1 1 (i64.const 1) (i64.const 0) (local.tee 3 (i64.sub (local.get 3) (i64.const 60000))))
                    (br_if $again (i64.gt_s (local.get 3) (i64.const 60000))))))
            (local.get 0) (local.get 1) (local.get 2) (local.get 3)
            (local.get 4) (local.get 6) (local.get 7) (local.get 8)))"#,
    );
    for narrow in [0, 1, 65_536, 65_537, 150_000] {
        for wide in [60_000, 65_537, 125_537, 150_000] {
            both.call("locals", &[narrow, wide, narrow / 2, wide]);
            both.call("wide-first", &[narrow, wide]);
        }
    }
    assert_eq!((both.traps, both.calls), (0, 40));
}

/// One memory under two indices: what looks like two memories overlaps.
#[test]
fn a_memory_that_is_imported_twice() {
    let module = wat(r#"(module (import "" "a" (memory 1)) (import "" "b" (memory 1))
        (func (export "copy") (param i32 i32 i32) (memory.copy 0 1 (local.get 0) (local.get 1) (local.get 2))))"#);
    let engine = engine();
    let mut after = Vec::new();
    for module in [&module, &chunked(&module)] {
        let module = Module::new(&engine, module).unwrap();
        for (to, from) in [(0, 70_000), (70_000, 0), (1, 0), (0, 1), (65_536, 0), (65_537, 0)] {
            let mut store = Store::new(&engine, ());
            store.set_epoch_deadline(1);
            let memory = Memory::new(&mut store, wasmtime::MemoryType::new(5, None)).unwrap();
            let mut random = fastrand::Rng::with_seed(4);
            memory.data_mut(&mut store).iter_mut().for_each(|byte| *byte = random.u8(..));
            let instance = Instance::new(&mut store, &module, &[memory.into(), memory.into()]).unwrap();
            let copy = instance.get_typed_func::<(i32, i32, i32), ()>(&mut store, "copy").unwrap();
            copy.call(&mut store, (to, from, 200_000)).unwrap();
            after.push(memory.data(&store).to_vec());
        }
    }
    let (original, chunked) = after.split_at(after.len() / 2);
    assert!(original == chunked);
}
