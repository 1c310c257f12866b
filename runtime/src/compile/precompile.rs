//! From a module to its compiled form: the one place that calls wasmtime's compiler.

use std::borrow::Cow;

use wasmtime::{Engine, Error};

use super::inside::is_memory;
use super::{bulk, elements};

/// Compiles a module for this engine, with its bulk memory instructions in chunks.
///
/// # Errors
/// It is not valid, cannot be compiled, or takes too long to make an instance of.
pub fn precompile(engine: &Engine, module: &[u8]) -> wasmtime::Result<Vec<u8>> {
    // What cannot be read is refused below, with a reason.
    if let Ok(elements) = elements::count(module)
        && elements > elements::MOST
    {
        return Err(wasmtime::format_err!(
            "its element segments have {elements} elements, and at most {} can be made into an instance",
            elements::MOST
        ));
    }
    match bulk::in_chunks(module) {
        Ok(Cow::Borrowed(module)) => engine.precompile_component(module),
        Ok(Cow::Owned(chunked)) => engine.precompile_component(&chunked).or_else(|error| match is_memory(&error) {
            // A second try would want as much.
            true => Err(error),
            false => refuse(engine, module, error),
        }),
        Err(unreadable) => refuse(engine, module, Error::new(unreadable)),
    }
}

/// Says what is wrong with a module as wasmtime finds it in the file that a person has, whose
/// offsets are not those of what was compiled. Where it finds nothing, the module is refused
/// all the same: what wasmtime makes of it could not be interrupted.
fn refuse(engine: &Engine, module: &[u8], error: Error) -> wasmtime::Result<Vec<u8>> {
    engine.precompile_component(module)?;
    Err(error.context("its bulk memory instructions cannot be made interruptible"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(module: &[u8]) -> String {
        let engine = crate::invoke::engine_that_compiles().unwrap();
        format!("{:#}", precompile(&engine, module).unwrap_err())
    }

    #[test]
    fn what_is_wrong_is_said_of_the_file() {
        let engine = crate::invoke::engine_that_compiles().unwrap();
        // A core module with a bulk instruction, and a function behind it that is not valid.
        let text = r#"(component (core module (memory 1)
            (func (param i32) (memory.fill (local.get 0) (local.get 0) (local.get 0)))
            (func (result i32) (i64.const 1))))"#;
        let module = wat::parse_str(text).unwrap();
        assert!(matches!(bulk::in_chunks(&module), Ok(Cow::Owned(_))));
        let plain = format!("{:#}", engine.precompile_component(&module).unwrap_err());
        assert!(plain.contains("at offset 58"), "{plain}");
        assert_eq!(error(&module), plain);
    }

    #[test]
    fn too_many_elements_are_not_compiled() {
        let with = |elements: u64| {
            let elements = "$f ".repeat(elements as usize);
            let text = format!("(component (core module (func $f) (elem func {elements}) (elem func $f)))");
            wat::parse_str(text).unwrap()
        };
        let engine = crate::invoke::engine_that_compiles().unwrap();
        precompile(&engine, &with(elements::MOST - 1)).unwrap();
        let error = error(&with(elements::MOST));
        assert!(error.contains("262145 elements, and at most 262144"), "{error}");
    }

    #[test]
    fn what_cannot_be_read_is_not_compiled_as_it_is() {
        // More components in each other than are looked at, and valid for wasmtime.
        let mut module = Vec::new();
        for _ in 0..110 {
            let length = [(module.len() & 0x7f) as u8 | 0x80, (module.len() >> 7) as u8];
            let section = [&[4][..], &length, &module].concat();
            module = [&b"\0asm\x0d\0\x01\0"[..], if module.is_empty() { &[] } else { &section }].concat();
        }
        crate::invoke::engine_that_compiles().unwrap().precompile_component(&module).unwrap();
        assert!(error(&module).contains("nested too deeply"), "{}", error(&module));
    }
}
