//! Modules that are made byte by byte.

use std::fs;

use outrigger_tests::guest;

/// The handler of the tests.
pub fn good() -> Vec<u8> {
    fs::read(guest("guest-ledger")).unwrap()
}

/// The same with another digest.
pub fn numbered(number: u32) -> Vec<u8> {
    with_number(good(), number)
}

/// A handler that rejects every event and whose start computes for a fifth of a second or so.
pub fn slow(number: u32) -> Vec<u8> {
    const ITEMS: &str = r#"
      (func $start (local $n i64)
        (local.set $n (i64.const 500_000_000))
        (loop $on
          (local.set $n (i64.sub (local.get $n) (i64.const 1)))
          (br_if $on (i64.ne (local.get $n) (i64.const 0)))))
      (start $start)
      ;; An error, the third of the failures, and its text: "no".
      (data (i32.const 0) "\01\00\00\00\02\00\00\00\10\00\00\00\02\00\00\00no")
      ;; What was copied in for this call is not needed any more.
      (func (export "handle") (param i32) (result i32)
        (global.set $free (i32.const 1024))
        (i32.const 0))"#;
    let text = include_str!("../hostile/wat/handler.wat").replace("MODULE-ITEMS", ITEMS);
    let none = ["COMPONENT-IMPORTS", "MODULE-IMPORTS", "MODULE-ARGUMENTS"];
    let text = none.into_iter().fold(text, |text, place| text.replace(place, ""));
    with_number(wat::parse_str(&text).unwrap(), number)
}

/// A custom section with a number at its end.
fn with_number(mut module: Vec<u8>, number: u32) -> Vec<u8> {
    let name = format!("number-{number:06}");
    module.extend([0, name.len() as u8 + 1, name.len() as u8]);
    module.extend(name.bytes());
    module
}

/// The same with one text replaced by another of its length, wherever it stands.
pub fn patched(from: &str, to: &str) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let (mut module, mut found) = (good(), 0);
    for at in 0..module.len() - from.len() {
        if &module[at..at + from.len()] == from.as_bytes() {
            module[at..at + from.len()].copy_from_slice(to.as_bytes());
            found += 1;
        }
    }
    assert!(found > 0, "the module does not contain {from}");
    module
}

/// A component without anything in it.
pub fn empty() -> Vec<u8> {
    b"\0asm\x0d\0\x01\0".to_vec()
}

/// A component with the handler's export whose core module has a start function.
pub fn starting(body: &[u8]) -> Vec<u8> {
    let mut core = b"\0asm\x01\0\0\0".to_vec();
    core.extend(section(1, &[1, 0x60, 0, 0]));
    core.extend(section(3, &[2, 0, 0]));
    core.extend(section(7, &[1, 1, b'f', 0, 1]));
    core.extend(section(8, &[0]));
    core.extend(section(10, &[&[2, body.len() as u8 + 2, 0], body, &[0x0b, 2, 0, 0x0b]].concat()));
    let name = b"outrigger:handler/handler@0.1.0";
    let mut module = empty();
    module.extend(section(1, &core));
    // An instance of it; the type of a function; the function, lifted; an instance with it; its export.
    module.extend(section(2, &[1, 0, 0, 0]));
    module.extend(section(7, &[1, 0x40, 0, 1, 0]));
    module.extend(section(6, &[1, 0, 0, 1, 0, 1, b'f']));
    module.extend(section(8, &[1, 0, 0, 0, 0, 0]));
    module.extend(section(5, &[&[1, 1, 1, 0, 6][..], b"handle", &[1, 0]].concat()));
    module.extend(section(11, &[&[1, 0, name.len() as u8][..], name, &[5, 0, 0]].concat()));
    module
}

/// `unreachable`.
pub const TRAP: &[u8] = &[0];
/// `loop br 0 end`.
pub const LOOP: &[u8] = &[0x03, 0x40, 0x0c, 0, 0x0b];

fn section(id: u8, content: &[u8]) -> Vec<u8> {
    assert!(content.len() < 128, "a size of one byte");
    [&[id, content.len() as u8], content].concat()
}
