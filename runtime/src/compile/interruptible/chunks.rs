//! One bulk instruction as a function that works a chunk at a time.
//!
//! It takes what the instruction takes and has the same effect, in this form:
//!
//! ```text
//! block $rest
//!   br_if $rest (it is out of bounds)        ;; the whole traps below, with nothing written
//!   loop $next
//!     br_if $rest (n <= chunk)
//!     ...                                    ;; one chunk, and on to the next one
//!     br $next
//!   end
//! end
//! memory.fill d v n                          ;; the instruction itself: all that is left
//! ```
//!
//! So the trap is always that of the instruction itself, with the operands that it was given.

use wasm_encoder::{BlockType, Function, InstructionSink};

use super::Unreadable;
use super::helper::Bulk;
use super::module::{Indices, Kind};

/// A memory or a table.
#[derive(Clone, Copy)]
struct Place {
    index: u32,
    kind: Kind,
}

/// Which of the three operands have 64 bits; the others have 32.
pub type Wide = [bool; 3];

/// The kinds of the operands of a bulk instruction, in a module with these
/// memories and tables.
pub fn operands(bulk: Bulk, indices: &Indices) -> Result<Wide, Unreadable> {
    Ok(Code::new(bulk, indices)?.wide)
}

/// The function that does the same a chunk at a time.
pub fn body(bulk: Bulk, indices: &Indices) -> Result<Function, Unreadable> {
    Ok(Code::new(bulk, indices)?.write())
}

/// The operands: where to, where from (or the byte to fill with), and how many bytes.
const TO: u32 = 0;
const FROM: u32 = 1;
/// See above.
pub const COUNT: u32 = 2;

/// The body of a helper.
struct Code {
    function: Function,
    bulk: Bulk,
    to: Place,
    /// That which is read, where it is one.
    from: Place,
    wide: Wide,
}

impl Code {
    fn new(bulk: Bulk, indices: &Indices) -> Result<Code, Unreadable> {
        let (kinds, to, from) = match bulk {
            Bulk::Fill { memory } | Bulk::Init { memory, .. } => (&indices.memories, memory, memory),
            Bulk::Copy { to, from } => (&indices.memories, to, from),
            Bulk::CopyTable { to, from } => (&indices.tables, to, from),
        };
        let place = |index: u32| {
            let kind = *kinds.get(index as usize).ok_or(Unreadable::Refused("there is no such memory or table"))?;
            Ok::<_, Unreadable>(Place { index, kind })
        };
        let (to, from) = (place(to)?, place(from)?);
        let wide = match bulk {
            Bulk::Fill { .. } => [to.kind.wide, false, to.kind.wide],
            Bulk::Copy { .. } | Bulk::CopyTable { .. } => {
                [to.kind.wide, from.kind.wide, to.kind.wide && from.kind.wide]
            }
            Bulk::Init { .. } => [to.kind.wide, false, false],
        };
        Ok(Code { function: Function::new([]), bulk, to, from, wide })
    }

    fn write(mut self) -> Function {
        self.sink().block(BlockType::Empty);
        self.end_if_out_of_bounds(TO, self.to);
        match self.bulk {
            Bulk::Fill { .. } => self.forward(1, &[TO]),
            Bulk::Copy { .. } | Bulk::CopyTable { .. } => self.copy(),
            Bulk::Init { data, .. } => self.init(data),
        }
        self.sink().end().local_get(TO).local_get(FROM).local_get(COUNT);
        self.instruction();
        self.sink().end();
        self.function
    }

    fn sink(&mut self) -> InstructionSink<'_> {
        self.function.instructions()
    }

    /// The instruction itself.
    fn instruction(&mut self) {
        let bulk = self.bulk;
        match bulk {
            Bulk::Fill { memory } => self.sink().memory_fill(memory),
            Bulk::Copy { to, from } => self.sink().memory_copy(to, from),
            Bulk::Init { memory, data } => self.sink().memory_init(memory, data),
            Bulk::CopyTable { to, from } => self.sink().table_copy(to, from),
        };
    }

    fn copy(&mut self) {
        self.end_if_out_of_bounds(FROM, self.from);
        // What overlaps is copied from the end where the other way would overwrite what is
        // still to be read. Two indices can be one memory, imported twice, so this does not
        // ask for the memories; where they are two, either way is right.
        self.push_wide(TO);
        self.push_wide(FROM);
        self.sink().i64_gt_u().if_(BlockType::Empty);
        self.backward(2);
        self.sink().else_();
        self.forward(2, &[TO, FROM]);
        self.sink().end();
    }

    fn init(&mut self, data: u32) {
        let to = self.to;
        // No segment has so many bytes: out of bounds, and below their sum must not wrap.
        self.push_wide(FROM);
        self.push_wide(COUNT);
        self.sink().i64_add().i64_const(i64::from(u32::MAX)).i64_gt_u().br_if(0);
        // No instruction gives the length of a segment, which is 0 once it was dropped. This
        // one copies nothing, and traps as the whole would where that reads beyond the end.
        self.push(TO, 0);
        self.sink().local_get(FROM).local_get(COUNT).i32_add().i32_const(0).memory_init(to.index, data);
        self.forward(1, &[TO, FROM]);
    }

    /// Leaves the block that is so many further out, if one chunk or less is left.
    fn end_if_short(&mut self, out: u32) {
        self.sink().local_get(COUNT);
        self.push(COUNT, self.bulk.chunk());
        if self.wide[COUNT as usize] {
            self.sink().i64_le_u();
        } else {
            self.sink().i32_le_u();
        }
        self.sink().br_if(out);
    }

    /// Leaves the block if the bytes or elements from this address on are not all in this place.
    fn end_if_out_of_bounds(&mut self, address: u32, place: Place) {
        // All as unsigned 64 bits, in which no size of a memory overflows, nor a sum of two
        // numbers of 32 bits; address + count could, so: count > size || address > size - count.
        self.push_wide(COUNT);
        self.push_size(place);
        self.sink().i64_gt_u().br_if(0);
        self.push_wide(address);
        self.push_size(place);
        self.push_wide(COUNT);
        self.sink().i64_sub().i64_gt_u().br_if(0);
    }

    /// The loop, from the front. `out`: how far out the end is, seen from inside of it.
    /// `moving`: which parameters are addresses that go along.
    fn forward(&mut self, out: u32, moving: &[u32]) {
        self.sink().loop_(BlockType::Empty);
        self.end_if_short(out);
        self.sink().local_get(TO).local_get(FROM);
        self.push(COUNT, self.bulk.chunk());
        self.instruction();
        for &address in moving {
            self.sink().local_get(address);
            self.push(address, self.bulk.chunk());
            self.add(address);
            self.sink().local_set(address);
        }
        self.take_chunk();
        self.sink().br(0).end();
    }

    /// The loop, from the end.
    fn backward(&mut self, out: u32) {
        self.sink().loop_(BlockType::Empty);
        self.end_if_short(out);
        self.take_chunk();
        for address in [TO, FROM] {
            self.sink().local_get(address);
            if self.wide[address as usize] {
                self.push_wide(COUNT);
            } else {
                self.sink().local_get(COUNT);
            }
            self.add(address);
        }
        self.push(COUNT, self.bulk.chunk());
        self.instruction();
        self.sink().br(0).end();
    }

    /// Takes a chunk off what is left.
    fn take_chunk(&mut self) {
        self.sink().local_get(COUNT);
        self.push(COUNT, self.bulk.chunk());
        if self.wide[COUNT as usize] {
            self.sink().i64_sub();
        } else {
            self.sink().i32_sub();
        }
        self.sink().local_set(COUNT);
    }

    /// Pushes a parameter as 64 bits.
    fn push_wide(&mut self, parameter: u32) {
        self.sink().local_get(parameter);
        if !self.wide[parameter as usize] {
            self.sink().i64_extend_i32_u();
        }
    }

    /// Pushes the bytes of a memory, or the elements of a table, as 64 bits.
    fn push_size(&mut self, place: Place) {
        match place.kind.page {
            Some(_) => self.sink().memory_size(place.index),
            None => self.sink().table_size(place.index),
        };
        if !place.kind.wide {
            self.sink().i64_extend_i32_u();
        }
        if let Some(page) = place.kind.page {
            self.sink().i64_const(i64::from(page)).i64_shl();
        }
    }

    /// Pushes a number in the type of this parameter.
    fn push(&mut self, like: u32, number: u32) {
        if self.wide[like as usize] {
            self.sink().i64_const(i64::from(number));
        } else {
            self.sink().i32_const(number.cast_signed());
        }
    }

    fn add(&mut self, like: u32) {
        if self.wide[like as usize] {
            self.sink().i64_add();
        } else {
            self.sink().i32_add();
        }
    }
}
