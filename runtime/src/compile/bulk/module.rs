//! One core module: which of its sections change, and how.

use std::mem::replace;

use wasmparser::{
    BinaryReader, FunctionBody, ImportSectionReader, MemorySectionReader, MemoryType, TypeRef, TypeSectionReader,
};

use super::helper::{Helpers, Parameters};
use super::splice::{Section, Splice, leb_width, sections, write_leb};
use super::{Unreadable, body, helper};

/// The sections that decide what is written. A module has each at most once.
#[derive(Default)]
struct Sections<'a> {
    types: Option<Section<'a>>,
    imports: Option<Section<'a>>,
    functions: Option<Section<'a>>,
    memories: Option<Section<'a>>,
    code: Option<Section<'a>>,
}

impl<'a> Sections<'a> {
    fn read(reader: BinaryReader<'a>) -> Result<Sections<'a>, Unreadable> {
        let mut all = Sections::default();
        for section in sections(reader) {
            let section = section?;
            let place = match section.id {
                1 => &mut all.types,
                2 => &mut all.imports,
                3 => &mut all.functions,
                5 => &mut all.memories,
                10 => &mut all.code,
                _ => continue,
            };
            if replace(place, Some(section)).is_some() {
                return Err(Unreadable::Refused("a module has two sections of one kind"));
            }
        }
        Ok(all)
    }
}

/// Collects the splices of a core module, from a reader behind its header, and gives the
/// number of bytes that it grows by.
pub fn rewrite(reader: BinaryReader<'_>, splices: &mut Vec<Splice>) -> Result<u64, Unreadable> {
    let all = Sections::read(reader)?;
    let Some(code) = &all.code else { return Ok(0) };
    if !body::may_hold_any(code.content.clone().read_bytes(code.content.bytes_remaining())?) {
        return Ok(0);
    }
    let (Some(types), Some(functions)) = (&all.types, &all.functions) else {
        return Err(Unreadable::Refused("a module has code and no functions"));
    };
    let (imported, memories) = index_spaces(&all)?;
    let defined = functions.content.clone().read_var_u32()?;
    let first = imported.checked_add(defined).ok_or(Unreadable::Refused("too many functions"))?;

    let mut helpers = Helpers::new(first);
    let longer = bodies(code, &mut helpers, splices)?;
    let Ok(count @ 1..) = u32::try_from(helpers.in_order().len()) else { return Ok(0) };

    let mut parameters = Vec::new();
    let mut codes = Vec::new();
    for &bulk in helpers.in_order() {
        parameters.push(helper::write(&mut codes, bulk, &memories)?);
    }
    let (new_types, type_items, function_items) = declare(&parameters, count_types(types)?)?;
    Ok(types.append(new_types, type_items, 0, splices)?
        + functions.append(count, function_items, 0, splices)?
        + code.append(count, codes, longer, splices)?)
}

/// How many functions are imported, and all memories, imported ones first.
fn index_spaces(all: &Sections<'_>) -> Result<(u32, Vec<MemoryType>), Unreadable> {
    let (mut functions, mut memories) = (0, Vec::new());
    if let Some(imports) = &all.imports {
        // The section's count of imports, or what it says of groups of them, has 32 bits, and
        // each import takes a byte at least: this does not overflow.
        for import in ImportSectionReader::new(imports.content.clone())?.into_imports() {
            match import?.ty {
                TypeRef::Func(_) | TypeRef::FuncExact(_) => functions += 1,
                TypeRef::Memory(memory) => memories.push(memory),
                TypeRef::Table(_) | TypeRef::Global(_) | TypeRef::Tag(_) => {}
            }
        }
    }
    if let Some(section) = &all.memories {
        for memory in MemorySectionReader::new(section.content.clone())? {
            memories.push(memory?);
        }
    }
    Ok((functions, memories))
}

/// The number of types: each item of the section is a group of one or more.
fn count_types(types: &Section<'_>) -> Result<u32, Unreadable> {
    let mut count = 0_u32;
    for group in TypeSectionReader::new(types.content.clone())? {
        let types = u32::try_from(group?.types().len()).ok();
        count = types.and_then(|types| count.checked_add(types)).ok_or(Unreadable::Refused("too many types"))?;
    }
    Ok(count)
}

/// Rewrites the bodies that hold bulk memory instructions; gives the number of bytes by which
/// they grow.
fn bodies(code: &Section<'_>, helpers: &mut Helpers, splices: &mut Vec<Splice>) -> Result<u64, Unreadable> {
    let mut reader = code.content.clone();
    let mut longer = 0;
    for _ in 0..reader.read_var_u32()? {
        let length_at = reader.original_position();
        let content = reader.read_reader()?;
        let range = content.range();
        let Some(body) = body::rewrite(&FunctionBody::new(content), helpers)? else { continue };
        let length = u32::try_from(body.len()).map_err(|_| Unreadable::Refused("a function is too long"))?;
        let width = range.start - length_at;
        let mut with = Vec::with_capacity(leb_width(length).max(width) + body.len());
        write_leb(&mut with, length, width);
        with.extend(body);
        longer += (with.len() - (range.end - length_at)) as u64;
        splices.push(Splice { range: length_at..range.end, with });
    }
    Ok(longer)
}

/// What is appended to the types, with its number, and to the functions. `first`: the index
/// of the first new type. One type serves all helpers that take the same.
fn declare(parameters: &[Parameters], first: u32) -> Result<(u32, Vec<u8>, Vec<u8>), Unreadable> {
    use wasm_encoder::Encode as _;
    const FUNCTION: u8 = 0x60;

    // As many as there are ways to combine two types three times, at most.
    let mut distinct: Vec<Parameters> = Vec::new();
    let (mut types, mut functions) = (Vec::new(), Vec::new());
    for taken in parameters {
        let place = distinct.iter().position(|known| known == taken).unwrap_or_else(|| {
            types.push(FUNCTION);
            taken.encode(&mut types);
            types.push(0);
            distinct.push(*taken);
            distinct.len() - 1
        });
        let index = u32::try_from(place).ok().and_then(|place| first.checked_add(place));
        write_leb(&mut functions, index.ok_or(Unreadable::Refused("too many types"))?, 1);
    }
    Ok((distinct.len() as u32, types, functions))
}
