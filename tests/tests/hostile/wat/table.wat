;; One table that grows without an end.
(table $t 1 funcref)
(func (export "handle") (param i32) (result i32)
  (loop $on
    (br_if $on (i32.ne (table.grow $t (ref.null func) (i32.const 4096)) (i32.const -1))))
  (unreachable))
