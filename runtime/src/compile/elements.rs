//! Bounds what a module has an instance be made of that no epoch tick interrupts.

use wasmparser::{ElementItems, ElementKind, Parser, Payload};

/// The most elements in the segments of all modules of a component: those of four full
/// tables, many times what compilers of large languages write. wasmtime makes each of them
/// anew for each instance, a quarter of a microsecond at a time.
pub(super) const MOST: u64 = 4 * 65_536;

/// The number of elements that an instance is made of. What cannot be read is not counted:
/// it is not compiled either.
pub(super) fn count(module: &[u8]) -> Result<u64, wasmparser::Error> {
    let mut all = 0;
    for payload in Parser::new(0).parse_all(module) {
        let Payload::ElementSection(segments) = payload? else { continue };
        for segment in segments {
            let segment = segment?;
            // A declared segment only permits references; no instance has it.
            if matches!(segment.kind, ElementKind::Declared) {
                continue;
            }
            all += u64::from(match segment.items {
                ElementItems::Functions(items) => items.count(),
                ElementItems::Expressions(_, items) => items.count(),
            });
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(text: &str) -> u64 {
        count(&wat::parse_str(text).unwrap()).unwrap()
    }

    #[test]
    fn all_segments_of_all_modules_count_but_what_is_only_declared() {
        let text = r#"(component
            (core module (func $f) (table 8 funcref)
                (elem (i32.const 0) $f $f) (elem func $f $f $f) (elem funcref (ref.func $f) (ref.null func))
                (elem declare func $f $f $f $f))
            (component (core module (func $f) (elem func $f $f $f $f $f))))"#;
        assert_eq!(counted(text), 2 + 3 + 2 + 5);
        assert_eq!(counted("(component (core module))"), 0);
    }
}
