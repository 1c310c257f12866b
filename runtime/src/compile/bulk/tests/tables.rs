//! The same for tables: which function is where is seen by calling all.

use super::same::{Both, INDICES};

#[test]
fn copying_tables() {
    let functions: String = (0..5000).map(|id| format!("(func $f{id} (result i32) (i32.const {id}))")).collect();
    let all: String = (0..5000).map(|id| format!("$f{id} ")).collect();
    for (index, wide) in INDICES {
        let mut both = Both::of(&format!(
            r#"(module (type $id (func (result i32))) {functions}
            (table $a 5000 funcref) (table $b {index} 4000 funcref) (elem $all func {all})
            (func (export "reset")
                (table.init $a $all (i32.const 0) (i32.const 0) (i32.const 5000))
                (table.init $b $all ({index}.const 0) (i32.const 1000) (i32.const 4000)))
            (func (export "within") (param {index} {index} {index})
                (table.copy $b $b (local.get 0) (local.get 1) (local.get 2)))
            (func (export "between") (param i32 {index} i32)
                (table.copy $a $b (local.get 0) (local.get 1) (local.get 2)))
            (func (export "look") (result i64) (local $at i32) (local $sum i64)
                (loop $on
                    (local.set $sum (i64.add (i64.mul (local.get $sum) (i64.const 31))
                        (i64.extend_i32_u (call_indirect $a (type $id) (local.get $at)))))
                    (local.set $at (i32.add (local.get $at) (i32.const 1)))
                    (br_if $on (i32.lt_u (local.get $at) (i32.const 5000))))
                (local.set $at (i32.const 0))
                (loop $on
                    (local.set $sum (i64.add (i64.mul (local.get $sum) (i64.const 31)) (i64.extend_i32_u
                        (call_indirect $b (type $id) ({convert} (local.get $at))))))
                    (local.set $at (i32.add (local.get $at) (i32.const 1)))
                    (br_if $on (i32.lt_u (local.get $at) (i32.const 4000))))
                (local.get $sum)))"#,
            convert = if wide { "i64.extend_i32_u" } else { "i32.add (i32.const 0)" }
        ));
        let around: Vec<u64> = [0, 1, 1000, 1023, 1024, 1025, 2048, 2976, 3000, 3976, 3999, 4000, 4001].to_vec();
        let operands: Vec<u64> = around.into_iter().chain([0xffff_fc00, 0xffff_ffff]).collect();
        for &to in &operands {
            for &from in &operands {
                for &count in &operands {
                    for name in ["within", "between"] {
                        if [to, from, count].iter().filter(|&&operand| operand > 4000).count() < 2 && count > 1000 {
                            both.call("reset", &[]);
                            both.call(name, &[to, from, count]);
                            both.call("look", &[]);
                        }
                    }
                }
            }
        }
        both.saw_both();
    }
}
