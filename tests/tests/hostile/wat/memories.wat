;; Four memories that grow by turns, a mebibyte at a time, until one is refused.
(memory $a 1) (memory $b 1) (memory $c 1)
(func (export "handle") (param i32) (result i32)
  (loop $on
    (if (i32.eq (memory.grow $a (i32.const 16)) (i32.const -1)) (then (unreachable)))
    (if (i32.eq (memory.grow $b (i32.const 16)) (i32.const -1)) (then (unreachable)))
    (if (i32.eq (memory.grow $c (i32.const 16)) (i32.const -1)) (then (unreachable)))
    ;; Every page of it is written to.
    (memory.fill $a (i32.const 0) (i32.const 1) (i32.mul (memory.size $a) (i32.const 65536)))
    (br $on))
  (unreachable))
