//! What an instance of a component is made of, beside its memories and tables: it takes
//! time that no epoch tick interrupts, and memory that no limit of wasmtime counts.

use wasmparser::{
    ComponentAlias, ComponentExternalKind, ComponentInstance, ComponentOuterAliasKind, ComponentTypeRef, ElementItems,
    Encoding, Instance, Parser, Payload,
};

/// The most parts. Each takes up to 32 bytes and a quarter of a microsecond: 4 MiB and
/// 33 ms in all, several times what the largest interpreters need.
pub(super) const MOST: u64 = 128 * 1024;

/// What is instantiated without it being known what it is: too much.
const UNKNOWN: u64 = MOST + 1;

/// A core module or a component, as far as it was read.
struct Frame {
    is_module: bool,
    /// What an instance of it is made of.
    parts: u64,
    /// The same of the core modules and the components that it can name, by index.
    modules: Vec<u64>,
    components: Vec<u64>,
}

impl Frame {
    fn add(&mut self, parts: impl Into<u64>) {
        self.parts = self.parts.saturating_add(parts.into());
    }

    /// Takes up an item into the indices that its kind counts by.
    fn push(&mut self, kind: ComponentExternalKind, parts: u64) {
        match kind {
            ComponentExternalKind::Module => self.modules.push(parts),
            ComponentExternalKind::Component => self.components.push(parts),
            _ => {}
        }
    }
}

fn at(parts: &[u64], index: u32) -> u64 {
    parts.get(index as usize).copied().unwrap_or(UNKNOWN)
}

/// How many parts an instance is made of: the elements of all segments, the globals, imports
/// and exports of its core modules, each as often as it is instantiated.
///
/// # Errors
/// The binary is not well-formed as far as it was looked at.
pub(super) fn parts(binary: &[u8]) -> Result<u64, wasmparser::Error> {
    let mut frames: Vec<Frame> = Vec::new();
    let mut last = 0;
    for payload in Parser::new(0).parse_all(binary) {
        let payload = payload?;
        if let Payload::Version { encoding, .. } = payload {
            let is_module = encoding == Encoding::Module;
            frames.push(Frame { is_module, parts: 0, modules: Vec::new(), components: Vec::new() });
            continue;
        }
        if let Payload::End(_) = payload {
            // As many ends as beginnings: the parser goes into each and comes out of it.
            let Some(Frame { is_module, parts, .. }) = frames.pop() else { break };
            last = parts;
            if let Some(outer) = frames.last_mut() {
                let kind = if is_module { ComponentExternalKind::Module } else { ComponentExternalKind::Component };
                outer.push(kind, parts);
            }
            continue;
        }
        if let Payload::ComponentAliasSection(aliases) = payload {
            for alias in aliases {
                let (kind, parts) = match alias? {
                    ComponentAlias::InstanceExport { kind, .. } => (kind, UNKNOWN),
                    ComponentAlias::Outer { kind, count, index } => {
                        let outer = frames.iter().rev().nth(count as usize);
                        let (kind, parts) = match kind {
                            ComponentOuterAliasKind::CoreModule => {
                                (ComponentExternalKind::Module, outer.map(|outer| at(&outer.modules, index)))
                            }
                            ComponentOuterAliasKind::Component => {
                                (ComponentExternalKind::Component, outer.map(|outer| at(&outer.components, index)))
                            }
                            _ => continue,
                        };
                        (kind, parts.unwrap_or(UNKNOWN))
                    }
                    ComponentAlias::CoreInstanceExport { .. } => continue,
                };
                if let Some(frame) = frames.last_mut() {
                    frame.push(kind, parts);
                }
            }
            continue;
        }
        if let Some(frame) = frames.last_mut() {
            read(payload, frame)?;
        }
    }
    Ok(last)
}

/// Goes past a section of a core module or of a component.
fn read(section: Payload<'_>, frame: &mut Frame) -> Result<(), wasmparser::Error> {
    match section {
        Payload::ElementSection(segments) => {
            for segment in segments {
                frame.add(match segment?.items {
                    ElementItems::Functions(items) => items.count(),
                    ElementItems::Expressions(_, items) => items.count(),
                });
            }
        }
        Payload::GlobalSection(globals) => frame.add(globals.count()),
        Payload::ImportSection(imports) => {
            for import in imports.into_imports() {
                import?;
                frame.add(1_u64);
            }
        }
        Payload::ExportSection(exports) => frame.add(exports.count()),
        Payload::InstanceSection(instances) => {
            for instance in instances {
                if let Instance::Instantiate { module_index, .. } = instance? {
                    frame.add(at(&frame.modules, module_index));
                }
            }
        }
        Payload::ComponentInstanceSection(instances) => {
            for instance in instances {
                if let ComponentInstance::Instantiate { component_index, .. } = instance? {
                    frame.add(at(&frame.components, component_index));
                }
            }
        }
        Payload::ComponentImportSection(imports) => {
            for import in imports {
                match import?.ty {
                    ComponentTypeRef::Module(_) => frame.push(ComponentExternalKind::Module, UNKNOWN),
                    ComponentTypeRef::Component(_) => frame.push(ComponentExternalKind::Component, UNKNOWN),
                    _ => {}
                }
            }
        }
        Payload::ComponentExportSection(exports) => {
            for export in exports {
                let export = export?;
                // What is exported has a new index beside the one that it had.
                let parts = match export.kind {
                    ComponentExternalKind::Module => at(&frame.modules, export.index),
                    ComponentExternalKind::Component => at(&frame.components, export.index),
                    _ => continue,
                };
                frame.push(export.kind, parts);
            }
        }
        _ => {}
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(text: &str) -> u64 {
        let module = wat::parse_str(text).unwrap();
        crate::invoke::engine_that_compiles().unwrap().precompile_component(&module).unwrap();
        parts(&module).unwrap()
    }

    #[test]
    fn all_parts_of_a_module_count_as_often_as_it_is_instantiated() {
        const MODULE: &str = r#"(core module $m
            (global i32 (i32.const 1)) (func $f (export "a") (export "b")) (table 8 funcref)
            (elem (i32.const 0) $f $f) (elem func $f $f $f) (elem funcref (ref.func $f) (ref.null func))
            (elem declare func $f))"#;
        const PARTS: u64 = 1 + 2 + 2 + 3 + 2 + 1;
        let component = |items: &str| format!("(component {MODULE} {items})");
        assert_eq!(counted(&component("")), 0);
        assert_eq!(counted(&component("(core instance (instantiate $m))")), PARTS);
        assert_eq!(counted(&component(&"(core instance (instantiate $m))".repeat(3))), 3 * PARTS);
        let imports = r#"(core module $n (import "" "a" (func))) (core instance $i (instantiate $m))
            (core instance (instantiate $n (with "" (instance $i))))"#;
        assert_eq!(counted(&component(imports)), PARTS + 1);
    }

    #[test]
    fn what_is_nested_aliased_and_exported_counts_too() {
        let module = r#"(core module $m (func $f) (elem func $f $f $f $f $f))"#;
        let twice = "(core instance (instantiate $m)) (core instance (instantiate $m))";
        let nested = format!("(component $c {module} {twice}) (instance (instantiate $c)) (instance (instantiate $c))");
        assert_eq!(counted(&format!("(component {nested})")), 20);
        assert_eq!(counted(&format!("(component (component $c {module} {twice}))")), 0, "never instantiated");
        // An alias of a module outside, and one more of a component.
        let outer =
            format!("{module} (component $c (alias outer 1 $m (core module $m)) {twice}) (instance (instantiate $c))");
        assert_eq!(counted(&format!("(component {outer})")), 10);
        let exported = format!(r#"{module} (export $e "e" (core module $m)) (core instance (instantiate $e))"#);
        assert_eq!(counted(&format!("(component {exported})")), 5);
    }

    #[test]
    fn what_is_not_known_is_too_much() {
        let module = r#"(core module $m (func $f) (elem func $f))"#;
        let given = format!(
            r#"(component {module}
            (component $c (import "m" (core module $i)) (core instance (instantiate $i)))
            (instance (instantiate $c (with "m" (core module $m)))))"#
        );
        assert!(counted(&given) > MOST);
        let inside = format!(
            r#"(component (component $c {module} (export "m" (core module $m)))
            (instance $i (instantiate $c)) (alias export $i "m" (core module $a)) (core instance (instantiate $a)))"#
        );
        assert!(counted(&inside) > MOST);
    }
}
