;; The shell around a core module that plays the handler. Four places are filled in:
;; what the component imports, what its module does, by what that is
;; answered, and the module's own items. The module is given the address of the event and the delivery, and answers
;; with the address of a result, for which all zeros mean `ok` without an output.
(component
  COMPONENT-IMPORTS
  (core module $attack
    MODULE-IMPORTS
    (memory (export "memory") 2)
    (global $free (mut i32) (i32.const 1024))
    ;; Everything that the host copies in stands above what the call before left.
    (func (export "realloc") (param $old i32) (param $size i32) (param $align i32) (param $new i32) (result i32)
      (local $at i32)
      (local.set $at (i32.and (i32.add (global.get $free) (i32.const 7)) (i32.const -8)))
      (global.set $free (i32.add (local.get $at) (local.get $new)))
      (local.get $at))
    MODULE-ITEMS
  )
  (core instance $core (instantiate $attack MODULE-ARGUMENTS))

  (type $header' (record (field "name" string) (field "value" (option (list u8)))))
  (export $header "header" (type $header'))
  (type $event' (record
    (field "id" string) (field "source" string) (field "type" string)
    (field "subject" (option string)) (field "time" (option string))
    (field "datacontenttype" (option string)) (field "dataschema" (option string))
    (field "extensions" (list (tuple string string))) (field "data" (option (list u8)))))
  (export $event "event" (type $event'))
  (type $delivery' (record
    (field "route" string) (field "topic" string) (field "partition" s32) (field "offset" s64)
    (field "timestamp-ms" (option s64)) (field "key" (option (list u8)))
    (field "headers" (list $header)) (field "attempt" u32)))
  (export $delivery "delivery" (type $delivery'))
  (type $output' (record
    (field "event" $event) (field "topic" (option string))
    (field "key" (option (list u8))) (field "headers" (list $header))))
  (export $output "output" (type $output'))
  (type $retry' (record (field "reason" string) (field "after-ms" (option u32))))
  (export $retry "retry" (type $retry'))
  (type $failure' (variant (case "retry" $retry) (case "unavailable" $retry) (case "reject" string)))
  (export $failure "failure" (type $failure'))

  (func $handle (param "event" $event) (param "delivery" $delivery) (result (result (list $output) (error $failure)))
    (canon lift (core func $core "handle") (memory $core "memory") (realloc (func $core "realloc"))))
  (instance $handler (export "handle" (func $handle)))
  (export "outrigger:handler/handler@0.1.0" (instance $handler))
)
