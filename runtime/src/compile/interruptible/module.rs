//! One core module: which of its sections change, and how.

use wasmparser::{
    BinaryReader, CompositeInnerType, FunctionBody, FunctionSectionReader, ImportSectionReader, MemorySectionReader,
    MemoryType, TableSectionReader, TableType, TypeRef, TypeSectionReader,
};

use super::helper::Helpers;
use super::splice::{Section, Splice, sections, write_leb};
use super::{Unreadable, body};

/// The sections that decide what is written. A module has each at most once.
#[derive(Default)]
struct Sections<'a> {
    types: Option<Section<'a>>,
    imports: Option<Section<'a>>,
    functions: Option<Section<'a>>,
    tables: Option<Section<'a>>,
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
                4 => &mut all.tables,
                5 => &mut all.memories,
                10 => &mut all.code,
                _ => continue,
            };
            if place.replace(section).is_some() {
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
    let (Some(types), Some(functions)) = (&all.types, &all.functions) else {
        return Err(Unreadable::Refused("a module has code and no functions"));
    };
    let types_of_functions = FunctionSectionReader::new(functions.content.clone())?;
    let indices = Indices::read(&all, types_of_functions.count())?;
    let parameters = parameters(types)?;
    let mut helpers = Helpers::new(&indices, parameters.len() as u32);
    let longer = bodies(code, types_of_functions, &parameters, &mut helpers, splices)?;
    if longer == 0 {
        return Ok(0);
    }
    let [new_types, new_functions, new_code] = helpers.items()?;
    Ok(types.append(new_types, 0, splices)?
        + functions.append(new_functions, 0, splices)?
        + code.append(new_code, longer, splices)?)
}

/// What instructions name by index: what is imported comes first, then what is defined.
pub struct Indices {
    /// How many functions.
    pub functions: u32,
    /// How many of them are imported.
    pub imported: u32,
    /// All memories.
    pub memories: Vec<Kind>,
    /// All tables.
    pub tables: Vec<Kind>,
}

/// A kind of memory or table.
#[derive(Clone, Copy)]
pub struct Kind {
    /// Whether its addresses have 64 bits.
    pub wide: bool,
    /// The size of a memory's page in bytes, as the power of two; `None`: it is a table.
    pub page: Option<u32>,
}

impl Indices {
    fn read(all: &Sections<'_>, defined: u32) -> Result<Indices, Unreadable> {
        let mut indices = Indices { functions: defined, imported: 0, memories: Vec::new(), tables: Vec::new() };
        if let Some(imports) = &all.imports {
            for import in ImportSectionReader::new(imports.content.clone())?.into_imports() {
                match import?.ty {
                    TypeRef::Func(_) | TypeRef::FuncExact(_) => {
                        let more = indices.functions.checked_add(1);
                        indices.functions = more.ok_or(Unreadable::Refused("too many functions"))?;
                        indices.imported += 1;
                    }
                    TypeRef::Memory(memory) => indices.memory(memory),
                    TypeRef::Table(table) => indices.table(table),
                    TypeRef::Global(_) | TypeRef::Tag(_) => {}
                }
            }
        }
        if let Some(section) = &all.memories {
            for memory in MemorySectionReader::new(section.content.clone())? {
                indices.memory(memory?);
            }
        }
        if let Some(section) = &all.tables {
            for table in TableSectionReader::new(section.content.clone())? {
                indices.table(table?.ty);
            }
        }
        Ok(indices)
    }

    fn memory(&mut self, ty: MemoryType) {
        self.memories.push(Kind { wide: ty.memory64, page: Some(ty.page_size_log2()) });
    }

    fn table(&mut self, ty: TableType) {
        self.tables.push(Kind { wide: ty.table64, page: None });
    }
}

/// How many parameters each type has, one that is no function's having none.
fn parameters(types: &Section<'_>) -> Result<Vec<u32>, Unreadable> {
    let mut all = Vec::new();
    // Each item of the section is a group of one type or more.
    for group in TypeSectionReader::new(types.content.clone())? {
        all.extend(group?.types().map(|ty| match &ty.composite_type.inner {
            CompositeInnerType::Func(function) => function.params().len() as u32,
            _ => 0,
        }));
    }
    Ok(all)
}

/// Rewrites the bodies that must change; gives the number of bytes by which they grow,
/// which is 0 only if there are none.
fn bodies(
    code: &Section<'_>,
    types: FunctionSectionReader<'_>,
    parameters: &[u32],
    helpers: &mut Helpers<'_>,
    splices: &mut Vec<Splice>,
) -> Result<u64, Unreadable> {
    /// What a number of 32 bits takes, at most.
    const LONGEST_LEB: usize = 5;

    let mut reader = code.content.clone();
    let mut longer = 0;
    if reader.read_var_u32()? != types.count() {
        return Err(Unreadable::Refused("a module has not as many functions as it declares"));
    }
    for ty in types {
        let length_at = reader.original_position();
        let content = reader.read_reader()?;
        let range = content.range();
        let parameters = *parameters.get(ty? as usize).ok_or(Unreadable::Refused("there is no such type"))?;
        let Some(body) = body::rewrite(&FunctionBody::new(content), parameters, helpers)? else { continue };
        let length = u32::try_from(body.len()).map_err(|_| Unreadable::Refused("a function is too long"))?;
        let mut with = Vec::with_capacity(LONGEST_LEB + body.len());
        write_leb(&mut with, length, range.start - length_at);
        with.extend(body);
        longer += (with.len() - (range.end - length_at)) as u64;
        splices.push(Splice { range: length_at..range.end, with });
    }
    // What stands behind the last function would become one, with what is appended.
    if !reader.eof() {
        return Err(Unreadable::Refused("a module has bytes behind its last function"));
    }
    Ok(longer)
}
