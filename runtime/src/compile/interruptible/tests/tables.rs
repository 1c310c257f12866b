//! The same for tables: which function is where is seen by calling all.

use super::same::{Both, INDICES};

#[test]
fn copying_tables() {
    let functions: String = (0..3000).map(|id| format!("(func $f{id} (result i32) (i32.const {id}))")).collect();
    let all: String = (0..3000).map(|id| format!("$f{id} ")).collect();
    for (index, wide) in INDICES {
        let mut both = Both::of(&format!(
            r#"(module (type $id (func (result i32))) {functions}
            (table $a 3000 funcref) (table $b {index} 2600 funcref) (elem $all func {all})
            (func (export "reset")
                (table.init $a $all (i32.const 0) (i32.const 0) (i32.const 3000))
                (table.init $b $all ({index}.const 0) (i32.const 400) (i32.const 2600)))
            (func (export "within") (param {index} {index} {index})
                (table.copy $b $b (local.get 0) (local.get 1) (local.get 2)))
            (func (export "between") (param i32 {index} i32)
                (table.copy $a $b (local.get 0) (local.get 1) (local.get 2)))
            (func (export "look") (result i64) (local $at i32) (local $sum i64)
                (loop $on
                    (local.set $sum (i64.add (i64.mul (local.get $sum) (i64.const 31))
                        (i64.extend_i32_u (call_indirect $a (type $id) (local.get $at)))))
                    (local.set $at (i32.add (local.get $at) (i32.const 1)))
                    (br_if $on (i32.lt_u (local.get $at) (i32.const 3000))))
                (local.set $at (i32.const 0))
                (loop $on
                    (local.set $sum (i64.add (i64.mul (local.get $sum) (i64.const 31)) (i64.extend_i32_u
                        (call_indirect $b (type $id) ({convert} (local.get $at))))))
                    (local.set $at (i32.add (local.get $at) (i32.const 1)))
                    (br_if $on (i32.lt_u (local.get $at) (i32.const 2600))))
                (local.get $sum)))"#,
            convert = if wide { "i64.extend_i32_u" } else { "i32.add (i32.const 0)" }
        ));
        let places = [0, 1, 400, 1025, 1576, 2600, 2601, 0xffff_ffff];
        for to in places {
            for from in places {
                for count in [0, 1024, 1025, 1575, 1576, 2048, 2600, 2601, 0xffff_fc00] {
                    for name in ["within", "between"] {
                        both.call("reset", &[]);
                        both.call(name, &[to, from, count]);
                        both.call("look", &[]);
                    }
                }
            }
        }
        both.saw_both();
    }
}
