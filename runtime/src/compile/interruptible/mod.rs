//! Makes what a guest does interruptible where wasmtime looks at the epoch too rarely.
//!
//! **Bulk instructions in chunks.** One `memory.fill`, `memory.copy`, `memory.init` or `table.copy` runs to its end, however
//! long it is, and no epoch tick ends it. So before a module is compiled, each of them whose
//! length is not known to be short becomes a choice (`body`): up to [`BYTES`] or [`ELEMENTS`]
//! it is as before, and what is longer is a `call` of a function that is appended to the
//! module (`helper`, `chunks`). That one works in a loop, a chunk at a time, and wasmtime
//! looks at the epoch at the head of every loop. What a guest sees is the same: memory,
//! tables, traps, results.
//!
//! **No long stretch without a look.** wasmtime looks where a function or a loop begins. A
//! function may be megabytes of calls to the host, one after the other. So in a stretch of
//! more than a kilobyte of code, or of a few such calls, there is an empty loop (`body`).
//!
//! In: the bytes of a component or of a core module. Out: the same with some places
//! replaced (`splice`); whatever is not named here is copied bit by bit. In each core module
//! (`module`) these are the bodies that hold such an instruction, what is appended to the
//! sections of types, functions and code, and the lengths that this changes. No index
//! changes. Offsets into the code do, so what debuggers read in custom sections (DWARF) is
//! right for the file alone; nothing here reads it.

mod body;
mod chunks;
mod helper;
mod module;
mod splice;

#[cfg(test)]
mod tests;

use std::borrow::Cow;

use wasmparser::BinaryReader;

use self::splice::{Splice, sections};

/// The most bytes that one instruction copies or fills, the size of a page of memory: some
/// microseconds, beside which the loop around it costs nothing.
const BYTES: u32 = 64 * 1024;

/// The most elements of a table that one instruction copies. One that is read for the first
/// time takes a tenth of a microsecond and more.
const ELEMENTS: u32 = 1024;

/// How deep components may be nested. Those that tools compose have a level or two.
const DEPTH: u32 = 100;

/// The parser is the one that wasmtime reads modules with, and cannot become another one
/// unnoticed: if they read one instruction differently, that would be a way past this.
const _: fn(wasmtime::WasmFeatures) -> wasmparser::WasmFeatures = |features| features;

/// Why a binary is not rewritten. Where wasmtime takes it nevertheless, it must not run.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unreadable {
    /// It is not WebAssembly, or not well-formed.
    #[error(transparent)]
    Malformed(#[from] wasmparser::Error),
    /// It is not what wasmtime takes, or more than it takes.
    #[error("{0}")]
    Refused(&'static str),
}

/// The same component or core module, interruptible; borrowed where it is that as it is. Takes time and memory in proportion to the length of `binary`.
///
/// # Errors
/// It is not well-formed as far as it was looked at. Whether it is valid is for wasmtime to say.
pub(super) fn make(binary: &[u8]) -> Result<Cow<'_, [u8]>, Unreadable> {
    let mut splices = Vec::new();
    rewrite(BinaryReader::new(binary, 0), 0, &mut splices)?;
    splice::apply(binary, splices)
}

/// Collects the splices of a component or core module, and gives the number of bytes that
/// it grows by.
fn rewrite(mut reader: BinaryReader<'_>, depth: u32, splices: &mut Vec<Splice>) -> Result<u64, Unreadable> {
    match *reader.read_bytes(8)? {
        [0, b'a', b's', b'm', 1, 0, 0, 0] => module::rewrite(reader, splices),
        [0, b'a', b's', b'm', 13, 0, 1, 0] if depth < DEPTH => component(reader, depth, splices),
        [0, b'a', b's', b'm', 13, 0, 1, 0] => Err(Unreadable::Refused("components are nested too deeply")),
        _ => Err(Unreadable::Refused("it is neither a component nor a core module, or of an unknown version")),
    }
}

fn component(reader: BinaryReader<'_>, depth: u32, splices: &mut Vec<Splice>) -> Result<u64, Unreadable> {
    /// The sections that hold a core module or a component.
    const MODULE: u8 = 1;
    const COMPONENT: u8 = 4;

    let mut grown = 0;
    for section in sections(reader) {
        let section = section?;
        if matches!(section.id, MODULE | COMPONENT) {
            let by = rewrite(section.content.clone(), depth + 1, splices)?;
            grown += by + section.resize(by, splices)?;
        }
    }
    Ok(grown)
}
