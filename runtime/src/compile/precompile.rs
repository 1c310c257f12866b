//! From a module to its compiled form: the one place that calls wasmtime's compiler.

use std::borrow::Cow;

use wasmtime::{Engine, Error};

use super::inside::is_memory;
use super::{interruptible, weight};

/// Part of what compiled forms are found by: to be raised when what is refused here, or done
/// to a module, changes.
pub const VERSION: u32 = 2;

/// Compiles a module for this engine, made interruptible.
///
/// # Errors
/// It is not valid, cannot be compiled, or an instance of it is made of too much.
pub fn precompile(engine: &Engine, module: &[u8]) -> wasmtime::Result<Vec<u8>> {
    match weight::parts(module) {
        Ok(parts) if parts > weight::MOST => {
            return Err(wasmtime::format_err!(
                "an instance of it is made of more than {} elements, globals, imports and exports",
                weight::MOST
            ));
        }
        Ok(_) => {}
        Err(malformed) => return refuse(engine, module, malformed.into()),
    }
    match interruptible::make(module) {
        Ok(Cow::Borrowed(module)) => engine.precompile_component(module),
        Ok(Cow::Owned(made)) => engine.precompile_component(&made).or_else(|error| match is_memory(&error) {
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
    Err(error.context("it cannot be made interruptible"))
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
        assert!(matches!(interruptible::make(&module), Ok(Cow::Owned(_))));
        let plain = format!("{:#}", engine.precompile_component(&module).unwrap_err());
        assert!(plain.contains("at offset 58"), "{plain}");
        assert_eq!(error(&module), plain);
    }

    #[test]
    fn instances_of_too_much_are_not_compiled() {
        let with = |elements: u64| {
            let elements = "$f ".repeat(elements as usize);
            let text = format!(
                "(component (core module $m (func $f) (elem func {elements})) (core instance (instantiate $m)))"
            );
            wat::parse_str(text).unwrap()
        };
        let engine = crate::invoke::engine_that_compiles().unwrap();
        precompile(&engine, &with(weight::MOST)).unwrap();
        let error = error(&with(weight::MOST + 1));
        assert!(error.contains("made of more than 131072 elements, globals, imports and exports"), "{error}");
    }

    #[test]
    fn bytes_that_would_become_a_function_are_refused() {
        // A body with an instruction that is replaced, and behind it what a helper's body
        // would make a function of.
        let text = "(module (memory 1) (func (param i32 i32 i32)
            (memory.fill (local.get 0) (local.get 1) (local.get 2))))";
        let module = wat::parse_str(text).unwrap();
        let code = module.len() - 15;
        assert_eq!(module[code..code + 4], [10, 13, 1, 11], "the section, its length, one function, its length");
        let behind = [2, 0, 0x0b];
        let mut longer = [&module[..], &behind].concat();
        longer[code + 1] += behind.len() as u8;
        // The same inside a component.
        let section = [&[1, longer.len() as u8][..], &longer].concat();
        let component = [&b"\0asm\x0d\0\x01\0"[..], &section].concat();
        assert!(interruptible::make(&component).unwrap_err().to_string().contains("behind its last function"));
        assert!(!error(&component).is_empty());
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
