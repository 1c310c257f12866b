(import "wasi:logging/logging@0.1.0-draft" (instance $logging
    (type $levels (enum "trace" "debug" "info" "warn" "error" "critical"))
    (export "level" (type $level (eq $levels)))
    (export "log" (func (param "level" $level) (param "context" string) (param "message" string)))))
  ;; A memory that is there before the module, with the text.
  (core module $memory (memory (export "memory") 32))
  (core instance $told (instantiate $memory))
  (core func $log (canon lower (func $logging "log") (memory $told "memory")))
  (core instance $logs (export "log" (func $log)))
