//! The bodies of functions: finding bulk instructions, and what stands in their place.

use wasm_encoder::{BlockType, Encode as _, InstructionSink, ValType};
use wasmparser::{BinaryReader, FunctionBody, Operator};

use super::Unreadable;
use super::helper::{Bulk, Call, Helpers};

/// Whether there may be a bulk instruction in these bytes: nearly all bodies need not
/// be looked at more closely. The first byte tells, and the low bits of the second one, as
/// which the format also allows a longer encoding of the same number.
pub fn may_hold_any(bytes: &[u8]) -> bool {
    bytes.windows(2).any(|pair| pair[0] == 0xfc && matches!(pair[1] & 0x7f, 8 | 10 | 11 | 14))
}

/// The body with a choice in place of each bulk instruction, without its length;
/// `None`: it stays as it is. `parameters`: how many the function has. Names the helpers
/// that it calls.
pub fn rewrite(
    body: &FunctionBody<'_>,
    parameters: u32,
    helpers: &mut Helpers<'_>,
) -> Result<Option<Vec<u8>>, Unreadable> {
    let bytes = body.as_bytes();
    if !may_hold_any(bytes) {
        return Ok(None);
    }
    let start = body.range().start;
    let mut locals = Locals::read(body, parameters)?;
    let mut operators = body.get_operators_reader()?;
    // Of `bytes`, how much has been copied; and the length that has just been pushed, if it is
    // known. Nothing can come between: what ends a block is an operator too.
    let (mut copied, mut length) = (operators.original_position() - start, None);
    let code_at = copied;
    let mut code = Vec::new();
    while !operators.eof() {
        let at = operators.original_position() - start;
        let operator = operators.read()?;
        if let Some(bulk) =
            Bulk::of(&operator).filter(|bulk| length.is_none_or(|length| length > u64::from(bulk.chunk())))
        {
            let end = operators.original_position() - start;
            let call = helpers.call(bulk)?;
            code.extend_from_slice(&bytes[copied..at]);
            choose(&mut code, call, locals.length(call.is_wide)?, &bytes[at..end]);
            copied = end;
        }
        length = match operator {
            Operator::I32Const { value } => Some(u64::from(value.cast_unsigned())),
            Operator::I64Const { value } => Some(value.cast_unsigned()),
            _ => None,
        };
    }
    if copied == code_at {
        return Ok(None);
    }
    let mut out = Vec::with_capacity(bytes.len() + code.len() - copied + 16);
    locals.write(&bytes[..code_at], &mut out)?;
    out.extend(code);
    out.extend_from_slice(&bytes[copied..]);
    Ok(Some(out))
}

/// Writes what stands in place of an instruction, its operands being on the stack: a call if
/// the length, which the local is for, exceeds a chunk, otherwise the instruction as it was.
/// A function around both would cost short copies twice their time.
fn choose(out: &mut Vec<u8>, call: Call, local: u32, instruction: &[u8]) {
    let mut sink = InstructionSink::new(out);
    sink.local_tee(local).local_get(local);
    if call.is_wide {
        sink.i64_const(i64::from(call.chunk)).i64_gt_u();
    } else {
        sink.i32_const(call.chunk.cast_signed()).i32_gt_u();
    }
    sink.if_(BlockType::FunctionType(call.ty)).call(call.function).else_();
    out.extend_from_slice(instruction);
    InstructionSink::new(out).end();
}

/// The locals of a function, with those that are added for lengths.
struct Locals {
    /// The groups that are declared, and the index behind their last local.
    groups: u32,
    next: u32,
    /// The local for lengths of 32 and of 64 bits, once there is one.
    added: [Option<u32>; 2],
}

impl Locals {
    fn read(body: &FunctionBody<'_>, parameters: u32) -> Result<Locals, Unreadable> {
        let reader = body.get_locals_reader()?;
        let groups = reader.get_count();
        let mut next = parameters;
        for group in reader {
            next = next.checked_add(group?.0).ok_or(TOO_MANY_LOCALS)?;
        }
        Ok(Locals { groups, next, added: [None; 2] })
    }

    /// The local for lengths of this many bits.
    fn length(&mut self, is_wide: bool) -> Result<u32, Unreadable> {
        let added = &mut self.added[usize::from(is_wide)];
        if let Some(local) = *added {
            return Ok(local);
        }
        let local = self.next;
        self.next = local.checked_add(1).ok_or(TOO_MANY_LOCALS)?;
        self.groups = self.groups.checked_add(1).ok_or(TOO_MANY_LOCALS)?;
        Ok(*added.insert(local))
    }

    /// Writes the declarations. `before`: those that were there.
    fn write(&self, before: &[u8], out: &mut Vec<u8>) -> Result<(), Unreadable> {
        let mut reader = BinaryReader::new(before, 0);
        reader.read_var_u32()?;
        self.groups.encode(out);
        out.extend_from_slice(&before[reader.original_position()..]);
        let [narrow, wide] = self.added;
        let mut added = [(narrow, ValType::I32), (wide, ValType::I64)];
        added.sort_by_key(|(local, _)| *local);
        for (_, ty) in added.iter().filter(|(local, _)| local.is_some()) {
            out.push(1);
            ty.encode(out);
        }
        Ok(())
    }
}

const TOO_MANY_LOCALS: Unreadable = Unreadable::Refused("a function has too many locals");
