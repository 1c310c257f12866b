//! The functions that are appended: one bulk memory instruction each, a chunk at a time.
//!
//! Each takes what its instruction takes and has the same effect, in this form:
//!
//! ```text
//! block $rest
//!   br_if $rest (n <= CHUNK)
//!   br_if $rest (it is out of bounds)        ;; the whole traps below, with nothing written
//!   loop $next
//!     br_if $rest (n <= CHUNK)
//!     ...                                    ;; one chunk, and on to the next one
//!     br $next
//!   end
//! end
//! memory.fill d v n                          ;; the instruction itself: all that is left
//! ```
//!
//! So the trap is always that of the instruction itself, with the operands that it was given.

use std::collections::HashMap;

use wasm_encoder::{BlockType, Encode as _, Function, InstructionSink, ValType};
use wasmparser::{MemoryType, Operator};

use super::{CHUNK, Unreadable};

/// A bulk memory instruction with its immediates.
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
}

impl Bulk {
    /// What this operator is; `None`: another one.
    pub fn of(operator: &Operator<'_>) -> Option<Bulk> {
        match *operator {
            Operator::MemoryFill { mem } => Some(Bulk::Fill { memory: mem }),
            Operator::MemoryCopy { dst_mem, src_mem } => Some(Bulk::Copy { to: dst_mem, from: src_mem }),
            Operator::MemoryInit { data_index, mem } => Some(Bulk::Init { memory: mem, data: data_index }),
            _ => None,
        }
    }
}

/// The types of what a helper takes; it gives nothing.
pub type Parameters = [ValType; 3];

/// The helpers that a module needs.
pub struct Helpers {
    first: u32,
    known: HashMap<Bulk, u32>,
    in_order: Vec<Bulk>,
}

impl Helpers {
    /// None yet. `first`: the index of the first one.
    pub fn new(first: u32) -> Helpers {
        Helpers { first, known: HashMap::new(), in_order: Vec::new() }
    }

    /// The index of the function that does what this instruction does.
    pub fn call(&mut self, bulk: Bulk) -> Result<u32, Unreadable> {
        /// More functions than this wasmtime does not take, and the memory for their bodies
        /// is better not asked for.
        const FUNCTIONS: u32 = 1_000_000;

        if let Some(&index) = self.known.get(&bulk) {
            return Ok(index);
        }
        let index = u32::try_from(self.in_order.len()).ok().and_then(|count| self.first.checked_add(count));
        let index = index.filter(|&index| index < FUNCTIONS).ok_or(Unreadable::Refused("too many functions"))?;
        self.known.insert(bulk, index);
        self.in_order.push(bulk);
        Ok(index)
    }

    /// All of them, by index.
    pub fn in_order(&self) -> &[Bulk] {
        &self.in_order
    }
}

/// Writes a helper's body, with its length, and gives the types of what it takes.
pub fn write(out: &mut Vec<u8>, bulk: Bulk, memories: &[MemoryType]) -> Result<Parameters, Unreadable> {
    let memory = |index: u32| {
        let ty = memories.get(index as usize).ok_or(Unreadable::Refused("there is no such memory"))?;
        Ok::<_, Unreadable>(Memory { index, page: ty.page_size_log2(), wide: ty.memory64 })
    };
    let mut function = Function::new([]);
    let mut code = Code { sink: function.instructions(), wide: [false; 3] };
    match bulk {
        Bulk::Fill { memory: to } => code.fill(memory(to)?),
        Bulk::Copy { to, from } => code.copy(memory(to)?, memory(from)?),
        Bulk::Init { memory: to, data } => code.init(memory(to)?, data),
    }
    let parameters = code.wide.map(|wide| if wide { ValType::I64 } else { ValType::I32 });
    function.encode(out);
    Ok(parameters)
}

#[derive(Clone, Copy)]
struct Memory {
    index: u32,
    /// The size of a page, as the power of two.
    page: u32,
    /// Whether its addresses have 64 bits.
    wide: bool,
}

/// The parameters: where to, where from (or the byte to fill with), and how many bytes.
const TO: u32 = 0;
const FROM: u32 = 1;
const COUNT: u32 = 2;

struct Code<'a> {
    sink: InstructionSink<'a>,
    /// Which parameters have 64 bits.
    wide: [bool; 3],
}

impl Code<'_> {
    fn fill(&mut self, to: Memory) {
        self.wide = [to.wide, false, to.wide];
        self.sink.block(BlockType::Empty);
        self.end_if_short(0);
        self.end_if_out_of_bounds(TO, to);
        self.forward(1, &[TO], |sink| _ = sink.memory_fill(to.index));
        self.sink.end();
        self.sink.local_get(TO).local_get(FROM).local_get(COUNT).memory_fill(to.index).end();
    }

    fn copy(&mut self, to: Memory, from: Memory) {
        self.wide = [to.wide, from.wide, to.wide && from.wide];
        self.sink.block(BlockType::Empty);
        self.end_if_short(0);
        self.end_if_out_of_bounds(TO, to);
        self.end_if_out_of_bounds(FROM, from);
        // What overlaps is copied from the end where the other way would overwrite what is
        // still to be read. Two indices can be one memory, imported twice, so this does not
        // ask for the memories; where they are two, either way is right.
        self.push_wide(TO);
        self.push_wide(FROM);
        self.sink.i64_gt_u().if_(BlockType::Empty);
        self.backward(2, |sink| _ = sink.memory_copy(to.index, from.index));
        self.sink.else_();
        self.forward(2, &[TO, FROM], |sink| _ = sink.memory_copy(to.index, from.index));
        self.sink.end().end();
        self.sink.local_get(TO).local_get(FROM).local_get(COUNT).memory_copy(to.index, from.index).end();
    }

    fn init(&mut self, to: Memory, data: u32) {
        self.wide = [to.wide, false, false];
        self.sink.block(BlockType::Empty);
        self.end_if_short(0);
        self.end_if_out_of_bounds(TO, to);
        // No segment has so many bytes: out of bounds, and below their sum must not wrap.
        self.push_wide(FROM);
        self.push_wide(COUNT);
        self.sink.i64_add().i64_const(i64::from(u32::MAX)).i64_gt_u().br_if(0);
        // No instruction gives the length of a segment, which is 0 once it was dropped. This
        // one copies nothing, and traps as the whole would where that reads beyond the end.
        self.push_zero(TO);
        self.sink.local_get(FROM).local_get(COUNT).i32_add().i32_const(0).memory_init(to.index, data);
        self.forward(1, &[TO, FROM], |sink| _ = sink.memory_init(to.index, data));
        self.sink.end();
        self.sink.local_get(TO).local_get(FROM).local_get(COUNT).memory_init(to.index, data).end();
    }

    /// Leaves the block that is so many further out, if one chunk or less is left.
    fn end_if_short(&mut self, out: u32) {
        self.sink.local_get(COUNT);
        if self.wide[COUNT as usize] {
            self.sink.i64_const(i64::from(CHUNK)).i64_le_u();
        } else {
            self.sink.i32_const(CHUNK.cast_signed()).i32_le_u();
        }
        self.sink.br_if(out);
    }

    /// Leaves the block if the bytes from this address on are not all in this memory.
    fn end_if_out_of_bounds(&mut self, address: u32, memory: Memory) {
        // All as unsigned 64 bits, in which no size of a memory overflows, nor a sum of two
        // numbers of 32 bits; address + count could, so: count > size || address > size - count.
        self.push_wide(COUNT);
        self.push_size(memory);
        self.sink.i64_gt_u().br_if(0);
        self.push_wide(address);
        self.push_size(memory);
        self.push_wide(COUNT);
        self.sink.i64_sub().i64_gt_u().br_if(0);
    }

    /// The loop, from the front. `out`: how far out the end is, seen from inside of it.
    /// `moving`: which parameters are addresses that go along.
    fn forward(&mut self, out: u32, moving: &[u32], instruction: impl Fn(&mut InstructionSink<'_>)) {
        self.sink.loop_(BlockType::Empty);
        self.end_if_short(out);
        self.sink.local_get(TO).local_get(FROM);
        self.push_chunk(COUNT);
        instruction(&mut self.sink);
        for &address in moving {
            self.sink.local_get(address);
            self.push_chunk(address);
            self.add(address);
            self.sink.local_set(address);
        }
        self.take_chunk();
        self.sink.br(0).end();
    }

    /// The loop, from the end.
    fn backward(&mut self, out: u32, instruction: impl Fn(&mut InstructionSink<'_>)) {
        self.sink.loop_(BlockType::Empty);
        self.end_if_short(out);
        self.take_chunk();
        for address in [TO, FROM] {
            self.sink.local_get(address);
            if self.wide[address as usize] {
                self.push_wide(COUNT);
            } else {
                self.sink.local_get(COUNT);
            }
            self.add(address);
        }
        self.push_chunk(COUNT);
        instruction(&mut self.sink);
        self.sink.br(0).end();
    }

    /// Takes a chunk off what is left.
    fn take_chunk(&mut self) {
        self.sink.local_get(COUNT);
        self.push_chunk(COUNT);
        if self.wide[COUNT as usize] {
            self.sink.i64_sub();
        } else {
            self.sink.i32_sub();
        }
        self.sink.local_set(COUNT);
    }

    /// Pushes a parameter as 64 bits.
    fn push_wide(&mut self, parameter: u32) {
        self.sink.local_get(parameter);
        if !self.wide[parameter as usize] {
            self.sink.i64_extend_i32_u();
        }
    }

    /// Pushes the bytes of a memory as 64 bits.
    fn push_size(&mut self, memory: Memory) {
        self.sink.memory_size(memory.index);
        if !memory.wide {
            self.sink.i64_extend_i32_u();
        }
        self.sink.i64_const(i64::from(memory.page)).i64_shl();
    }

    /// Pushes the size of a chunk in the type of this parameter.
    fn push_chunk(&mut self, like: u32) {
        if self.wide[like as usize] {
            self.sink.i64_const(i64::from(CHUNK));
        } else {
            self.sink.i32_const(CHUNK.cast_signed());
        }
    }

    fn push_zero(&mut self, like: u32) {
        if self.wide[like as usize] {
            self.sink.i64_const(0);
        } else {
            self.sink.i32_const(0);
        }
    }

    fn add(&mut self, like: u32) {
        if self.wide[like as usize] {
            self.sink.i64_add();
        } else {
            self.sink.i32_add();
        }
    }
}
