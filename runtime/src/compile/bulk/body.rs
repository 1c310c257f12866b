//! The bodies of functions: finding bulk memory instructions, and calling instead.

use wasmparser::{FunctionBody, Operator};

use super::helper::{Bulk, Helpers};
use super::splice::{leb_width, write_leb};
use super::{CHUNK, Unreadable};

const CALL: u8 = 0x10;
const NOP: u8 = 0x01;

/// Whether there may be a bulk memory instruction in these bytes: nearly all bodies need not
/// be looked at more closely. The first byte tells, and the low bits of the second one, as
/// which the format also allows a longer encoding of the same number.
pub fn may_hold_any(bytes: &[u8]) -> bool {
    bytes.windows(2).any(|pair| pair[0] == 0xfc && matches!(pair[1] & 0x7f, 8 | 10 | 11))
}

/// The body with calls in place of bulk memory instructions, without its length; `None`: it
/// stays as it is. Names the helpers that it calls.
pub fn rewrite(body: &FunctionBody<'_>, helpers: &mut Helpers) -> Result<Option<Vec<u8>>, Unreadable> {
    let bytes = body.as_bytes();
    if !may_hold_any(bytes) {
        return Ok(None);
    }
    let start = body.range().start;
    let mut operators = body.get_operators_reader()?;
    let mut out: Option<Vec<u8>> = None;
    // Of `bytes`, how much has been copied; and whether a length that is short enough has
    // just been pushed. Nothing can come between: what ends a block is an operator too.
    let (mut copied, mut is_short) = (0, false);
    while !operators.eof() {
        let at = operators.original_position() - start;
        let operator = operators.read()?;
        if let Some(bulk) = Bulk::of(&operator).filter(|_| !is_short) {
            let end = operators.original_position() - start;
            let out = out.get_or_insert_with(|| Vec::with_capacity(bytes.len() + 16));
            out.extend_from_slice(&bytes[copied..at]);
            write_call(out, helpers.call(bulk)?, end - at);
            copied = end;
        }
        // A length is unsigned.
        is_short = match operator {
            Operator::I32Const { value } => value.cast_unsigned() <= CHUNK,
            Operator::I64Const { value } => value.cast_unsigned() <= u64::from(CHUNK),
            _ => false,
        };
    }
    Ok(out.map(|mut out| {
        out.extend_from_slice(&bytes[copied..]);
        out
    }))
}

/// Writes a call in as many bytes as the instruction had that it replaces, or in as few more
/// as the function's index takes.
fn write_call(out: &mut Vec<u8>, function: u32, length: usize) {
    // The longest form that the format allows for an index.
    const LONGEST: usize = 5;
    let width = leb_width(function).max(length.saturating_sub(1)).min(LONGEST);
    out.push(CALL);
    write_leb(out, function, width);
    out.extend(std::iter::repeat_n(NOP, length.saturating_sub(1 + width)));
}
