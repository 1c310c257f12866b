//! The functions that are appended to a module, one for each bulk instruction with
//! its immediates: which there are, and what is written of them.

use std::collections::HashMap;

use wasm_encoder::{Encode as _, ValType};
use wasmparser::Operator;

use super::chunks::{self, COUNT, Wide};
use super::module::Indices;
use super::{BYTES, ELEMENTS, Unreadable};

/// A bulk instruction with its immediates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Bulk {
    /// `memory.fill`.
    Fill {
        /// The memory.
        memory: u32,
    },
    /// `memory.copy`.
    Copy {
        /// The memory that is written.
        to: u32,
        /// The memory that is read.
        from: u32,
    },
    /// `memory.init`.
    Init {
        /// The memory that is written.
        memory: u32,
        /// The data segment that is read.
        data: u32,
    },
    /// `table.copy`, the only one on tables that takes long: each element that is read for
    /// the first time is made then.
    CopyTable {
        /// The table that is written.
        to: u32,
        /// The table that is read.
        from: u32,
    },
}

impl Bulk {
    /// What this operator is; `None`: another one.
    pub fn of(operator: &Operator<'_>) -> Option<Bulk> {
        match *operator {
            Operator::MemoryFill { mem } => Some(Bulk::Fill { memory: mem }),
            Operator::MemoryCopy { dst_mem, src_mem } => Some(Bulk::Copy { to: dst_mem, from: src_mem }),
            Operator::MemoryInit { data_index, mem } => Some(Bulk::Init { memory: mem, data: data_index }),
            Operator::TableCopy { dst_table, src_table } => Some(Bulk::CopyTable { to: dst_table, from: src_table }),
            _ => None,
        }
    }

    /// The most bytes or elements that are worked on without a chance to be interrupted.
    pub fn chunk(self) -> u32 {
        match self {
            Bulk::Fill { .. } | Bulk::Copy { .. } | Bulk::Init { .. } => BYTES,
            Bulk::CopyTable { .. } => ELEMENTS,
        }
    }
}

/// What stands in for an instruction whose length exceeds a chunk.
#[derive(Clone, Copy)]
pub struct Call {
    /// The index of the function.
    pub function: u32,
    /// The index of its type, which takes the operands and gives nothing.
    pub ty: u32,
    /// Whether the length has 64 bits.
    pub is_wide: bool,
    /// The most that is left to the instruction itself.
    pub chunk: u32,
}

/// The helpers that a module needs.
pub struct Helpers<'a> {
    indices: &'a Indices,
    /// The index of the first type that is appended.
    first_type: u32,
    /// What was asked for, with the place of its type in `types`.
    known: HashMap<Bulk, Call>,
    in_order: Vec<(Bulk, Call)>,
    /// As many as there are ways to combine two types three times, at most.
    types: Vec<Wide>,
}

impl<'a> Helpers<'a> {
    /// None yet, for a module with these memories, tables and functions, and so many types.
    pub fn new(indices: &'a Indices, types: u32) -> Helpers<'a> {
        Helpers { indices, first_type: types, known: HashMap::new(), in_order: Vec::new(), types: Vec::new() }
    }

    /// How many of the module's functions are imported. They come first.
    pub fn imported(&self) -> u32 {
        self.indices.imported
    }

    /// The function that does what this instruction does.
    pub fn call(&mut self, bulk: Bulk) -> Result<Call, Unreadable> {
        /// More functions than this wasmtime does not take, and the memory for their bodies
        /// is better not asked for.
        const FUNCTIONS: usize = 1_000_000;

        if let Some(&call) = self.known.get(&bulk) {
            return Ok(call);
        }
        if self.in_order.len() == FUNCTIONS {
            return Err(Unreadable::Refused("too many functions"));
        }
        let wide = chunks::operands(bulk, self.indices)?;
        let place = self.types.iter().position(|known| *known == wide).unwrap_or_else(|| {
            self.types.push(wide);
            self.types.len() - 1
        });
        let index = |first: u32, place: usize| {
            let index = u32::try_from(place).ok().and_then(|place| first.checked_add(place));
            index.ok_or(Unreadable::Refused("too many functions or types"))
        };
        let function = index(self.indices.functions, self.in_order.len())?;
        let call =
            Call { function, ty: index(self.first_type, place)?, is_wide: wide[COUNT as usize], chunk: bulk.chunk() };
        self.known.insert(bulk, call);
        self.in_order.push((bulk, call));
        Ok(call)
    }

    /// What is to be appended to the sections of types, of functions and of code.
    pub fn items(&self) -> Result<[Items; 3], Unreadable> {
        const FUNCTION: u8 = 0x60;

        let mut types = Items { count: self.types.len() as u32, bytes: Vec::new() };
        for wide in &self.types {
            types.bytes.push(FUNCTION);
            wide.map(|wide| if wide { ValType::I64 } else { ValType::I32 }).encode(&mut types.bytes);
            types.bytes.push(0);
        }
        let count = self.in_order.len() as u32;
        let (mut functions, mut codes) = (Items { count, bytes: Vec::new() }, Items { count, bytes: Vec::new() });
        for (bulk, call) in &self.in_order {
            call.ty.encode(&mut functions.bytes);
            chunks::body(*bulk, self.indices)?.encode(&mut codes.bytes);
        }
        Ok([types, functions, codes])
    }
}

/// Items of a section.
pub struct Items {
    /// How many.
    pub count: u32,
    /// All of them.
    pub bytes: Vec<u8>,
}
