(import "wasi:clocks/wall-clock@0.2.0" (instance $wall
    (type $fields (record (field "seconds" u64) (field "nanoseconds" u32)))
    (export "datetime" (type $datetime (eq $fields)))
    (export "now" (func (result $datetime)))))
  ;; A memory that is there before the module, for the clock's answer.
  (core module $memory (memory (export "memory") 1))
  (core instance $told (instantiate $memory))
  (core func $now (canon lower (func $wall "now") (memory $told "memory")))
  (core instance $clock (export "now" (func $now)))
