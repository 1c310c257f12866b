//! The bodies of functions: finding bulk instructions and long stretches without a loop, and
//! what is written for them.

use wasm_encoder::{BlockType, Encode as _, InstructionSink, ValType};
use wasmparser::{BinaryReader, FunctionBody, Operator};

use super::Unreadable;
use super::helper::{Bulk, Call, Helpers};

/// The most bytes of code between two looks of wasmtime at the epoch, which are where
/// functions and loops begin: some hundreds of instructions.
const STRETCH: u32 = 1024;

/// What an instruction counts that takes longer than its bytes tell: a call of the host, or of
/// what may be the host, and a bulk instruction that stays as it is.
const LONG: u32 = STRETCH / 4;

/// A loop that does nothing: a look at the epoch.
const LOOK: [u8; 3] = [0x03, 0x40, 0x0b];

/// Whether a body may have to change: those that are short need not be looked at more closely.
fn may_change(bytes: &[u8]) -> bool {
    // `call`, `call_indirect` and their like.
    let is_call = |byte: &u8| (0x10..=0x15).contains(byte);
    bytes.len() >= LONG as usize || may_hold_bulk(bytes) || bytes.iter().filter(|byte| is_call(byte)).count() > 1
}

/// Whether there may be a bulk instruction in these bytes. The first byte tells, and the low
/// bits of the second one, as which the format also allows a longer encoding of the same number.
fn may_hold_bulk(bytes: &[u8]) -> bool {
    bytes.windows(2).any(|pair| pair[0] == 0xfc && matches!(pair[1] & 0x7f, 8 | 10 | 11 | 14))
}

/// How much a guest may have done since the last look, on the way here that is longest.
#[derive(Default)]
struct Stretch {
    /// Bytes of code, and what instructions count beyond theirs.
    passed: u32,
    blocks: Vec<Block>,
}

/// A block that has begun and not ended.
struct Block {
    kind: BlockKind,
    /// What has passed on the ways to its end so far, but for the one that falls through.
    at_end: u32,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum BlockKind {
    /// Its label is its end.
    Plain,
    /// Its label is its beginning, which is a look.
    Loop,
    /// An `if` whose `else` has not come, with what had passed before it.
    If(u32),
}

impl Stretch {
    fn is_over(&self) -> bool {
        self.passed >= STRETCH
    }

    fn looked(&mut self) {
        self.passed = 0;
    }

    fn begin(&mut self, kind: BlockKind) {
        self.blocks.push(Block { kind, at_end: 0 });
    }

    /// A way that leads to the label of a block, counted from the innermost.
    fn branch(&mut self, depth: u32) {
        // The outermost label is the function's end.
        let Some(at) = self.blocks.len().checked_sub(depth as usize + 1) else { return };
        if self.blocks[at].kind != BlockKind::Loop {
            self.blocks[at].at_end = self.blocks[at].at_end.max(self.passed);
        }
    }

    /// Goes past an instruction of so many bytes. Of the functions, those below `imported`
    /// may be the host's; the others begin with a look.
    fn pass(&mut self, operator: &Operator<'_>, bytes: usize, imported: u32) {
        self.passed = self.passed.saturating_add(u32::try_from(bytes).unwrap_or(u32::MAX));
        match *operator {
            Operator::Block { .. } | Operator::TryTable { .. } => self.begin(BlockKind::Plain),
            Operator::If { .. } => self.begin(BlockKind::If(self.passed)),
            Operator::Loop { .. } => {
                self.looked();
                self.begin(BlockKind::Loop);
            }
            Operator::Else => {
                if let Some(block) = self.blocks.last_mut() {
                    block.at_end = block.at_end.max(self.passed);
                    if let BlockKind::If(before) = std::mem::replace(&mut block.kind, BlockKind::Plain) {
                        self.passed = before;
                    }
                }
            }
            Operator::End => {
                if let Some(Block { kind, at_end }) = self.blocks.pop() {
                    let skipped = if let BlockKind::If(before) = kind { before } else { 0 };
                    self.passed = self.passed.max(at_end).max(skipped);
                }
            }
            Operator::Br { relative_depth } => {
                self.branch(relative_depth);
                // Nothing comes here this way.
                self.passed = 0;
            }
            Operator::BrIf { relative_depth }
            | Operator::BrOnNull { relative_depth }
            | Operator::BrOnNonNull { relative_depth }
            | Operator::BrOnCast { relative_depth, .. }
            | Operator::BrOnCastFail { relative_depth, .. } => self.branch(relative_depth),
            Operator::BrTable { ref targets } => {
                // One that cannot be read is refused by wasmtime.
                targets.targets().flatten().for_each(|depth| self.branch(depth));
                self.branch(targets.default());
                self.passed = 0;
            }
            Operator::Return | Operator::Unreachable => self.passed = 0,
            // The function has looked as it began, and may have done something since. On the way
            // back from many that have called each other, that must not add up: what takes
            // long after a call is followed by a look.
            Operator::Call { function_index } if function_index >= imported => self.passed = STRETCH - LONG,
            Operator::Call { .. } => self.takes_long(),
            Operator::CallIndirect { .. } | Operator::CallRef { .. } => {
                self.takes_long();
                self.passed = self.passed.max(STRETCH - LONG);
            }
            _ => {}
        }
    }

    fn takes_long(&mut self) {
        self.passed = self.passed.saturating_add(LONG);
    }
}

/// The body with a choice in place of each bulk instruction and a look at the epoch in each
/// long stretch, without its length; `None`: it stays as it is. `parameters`: how many the
/// function has. Names the helpers that it calls.
pub fn rewrite(
    body: &FunctionBody<'_>,
    parameters: u32,
    helpers: &mut Helpers<'_>,
) -> Result<Option<Vec<u8>>, Unreadable> {
    let bytes = body.as_bytes();
    if !may_change(bytes) {
        return Ok(None);
    }
    let start = body.range().start;
    let mut locals = Locals::read(body, parameters)?;
    let mut operators = body.get_operators_reader()?;
    // Of `bytes`, how much has been copied; and the length that has just been pushed, if it is
    // known. Nothing can come between: what ends a block is an operator too.
    let (mut copied, mut length) = (operators.original_position() - start, None);
    let code_at = copied;
    let mut stretch = Stretch::default();
    let mut code = Vec::new();
    while !operators.eof() {
        let at = operators.original_position() - start;
        if stretch.is_over() {
            code.extend_from_slice(&bytes[copied..at]);
            code.extend(LOOK);
            copied = at;
            stretch.looked();
        }
        let operator = operators.read()?;
        let end = operators.original_position() - start;
        match Bulk::of(&operator) {
            Some(bulk) if length.is_none_or(|length| length > u64::from(bulk.chunk())) => {
                let call = helpers.call(bulk)?;
                code.extend_from_slice(&bytes[copied..at]);
                choose(&mut code, call, locals.length(call.is_wide)?, &bytes[at..end]);
                copied = end;
                // The helper looks, and wasmtime before an instruction of unknown length.
                stretch.looked();
            }
            Some(_) => stretch.takes_long(),
            None => stretch.pass(&operator, end - at, helpers.imported()),
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
