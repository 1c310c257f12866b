//! The members of a JSON object, found without building anything.
//!
//! Every event in structured mode is read here, so it is done as simdjson does it
//! (Langdale and Lemire, "Parsing Gigabytes of JSON per Second", 2019): blocks of
//! 64 bytes become bit masks that say where tokens begin, and the grammar is
//! checked from token to token. serde_json, which goes byte by byte, takes about
//! four times as long for an event of 1 KiB.
//!
//! Whatever this does not take (an error, an escape in a name, more than 64
//! levels) it leaves to serde_json, which then also says what is wrong and where.
//! So all that matters here is that nothing is taken that is not JSON.

use super::error::Undecodable;

/// Why the members were not all handed out.
pub(super) enum End {
    /// Left to serde_json: no JSON object, or one that this does not read.
    Unsure,
    /// Whoever took the members refused one.
    Refused(Undecodable),
}

/// Hands out the name (as it stands between its quotes) and the value's text of
/// every member of the object that `text` is.
///
/// # Errors
/// See [`End`]. Some members may have been handed out before.
pub(super) fn members<'r>(
    text: &'r str,
    mut each: impl FnMut(&'r str, &'r str) -> Result<(), Undecodable>,
) -> Result<(), End> {
    let mut walk = Walk { text, tokens: Tokens::new(text.as_bytes()) };
    let first = walk.tokens.next();
    let Some(b'{') = walk.byte(first) else { return Err(End::Unsure) };
    let mut name = walk.tokens.next();
    if walk.byte(name) == Some(b'}') {
        return walk.nothing_left();
    }
    loop {
        let colon = walk.colon_after(name)?;
        let quoted = walk.token(name, colon).ok_or(End::Unsure)?;
        let plain = quoted.strip_prefix('"').and_then(|quoted| quoted.strip_suffix('"'));
        let plain = plain.filter(|plain| !plain.contains('\\')).ok_or(End::Unsure)?;
        let value = walk.tokens.next();
        let after = walk.skip(value)?;
        each(plain, walk.token(value, after).ok_or(End::Unsure)?).map_err(End::Refused)?;
        match walk.byte(after) {
            Some(b',') => name = walk.tokens.next(),
            Some(b'}') => return walk.nothing_left(),
            _ => return Err(End::Unsure),
        }
    }
}

/// Goes from token to token and checks the grammar. A token is named by the
/// position of its first byte; the end of the text is a position too.
struct Walk<'r> {
    text: &'r str,
    tokens: Tokens<'r>,
}

impl<'r> Walk<'r> {
    fn byte(&self, at: usize) -> Option<u8> {
        self.text.as_bytes().get(at).copied()
    }

    /// The text from one token up to the next one, without the space before that.
    fn token(&self, from: usize, to: usize) -> Option<&'r str> {
        self.text.get(from..to).map(|text| text.trim_end_matches([' ', '\t', '\n', '\r']))
    }

    /// The colon behind a member's name.
    fn colon_after(&mut self, name: usize) -> Result<usize, End> {
        let colon = self.tokens.next();
        match (self.byte(name), self.byte(colon)) {
            (Some(b'"'), Some(b':')) => Ok(colon),
            _ => Err(End::Unsure),
        }
    }

    /// Checks the value that begins at `at` and returns the token behind it.
    fn skip(&mut self, mut at: usize) -> Result<usize, End> {
        let mut open = Open::default();
        loop {
            let mut after = self.tokens.next();
            match self.byte(at) {
                // That strings end, and what they hold, the masks have checked.
                Some(b'"') => {}
                Some(b'{') => {
                    open.push(true)?;
                    if self.byte(after) != Some(b'}') {
                        self.colon_after(after)?;
                        at = self.tokens.next();
                        continue;
                    }
                }
                Some(b'[') => {
                    open.push(false)?;
                    if self.byte(after) != Some(b']') {
                        at = after;
                        continue;
                    }
                }
                Some(_) => {
                    let scalar = self.token(at, after).unwrap_or_default();
                    if !is_number(scalar.as_bytes()) && !matches!(scalar, "true" | "false" | "null") {
                        return Err(End::Unsure);
                    }
                }
                None => return Err(End::Unsure),
            }
            // Behind a value: what is open ends, or goes on.
            loop {
                match (open.innermost(), self.byte(after)) {
                    (None, _) => return Ok(after),
                    (Some(true), Some(b'}')) | (Some(false), Some(b']')) => open.pop(),
                    (Some(true), Some(b',')) => {
                        let name = self.tokens.next();
                        self.colon_after(name)?;
                        at = self.tokens.next();
                        break;
                    }
                    (Some(false), Some(b',')) => {
                        at = self.tokens.next();
                        break;
                    }
                    _ => return Err(End::Unsure),
                }
                after = self.tokens.next();
            }
        }
    }

    /// Behind the last token: nothing may follow, and nothing may have been wrong with what strings hold.
    fn nothing_left(&mut self) -> Result<(), End> {
        if self.tokens.next() == self.text.len() && self.tokens.are_well_formed() { Ok(()) } else { Err(End::Unsure) }
    }
}

/// The objects and arrays that are open, a bit for each.
#[derive(Default)]
struct Open {
    objects: u64,
    depth: u32,
}

impl Open {
    fn push(&mut self, object: bool) -> Result<(), End> {
        if self.depth == u64::BITS {
            return Err(End::Unsure);
        }
        self.objects = self.objects << 1 | u64::from(object);
        self.depth += 1;
        Ok(())
    }

    fn pop(&mut self) {
        self.objects >>= 1;
        self.depth -= 1;
    }

    /// Whether it is an object.
    fn innermost(&self) -> Option<bool> {
        (self.depth > 0).then_some(self.objects & 1 == 1)
    }
}

fn is_number(text: &[u8]) -> bool {
    let digits = |text: &[u8]| text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let text = text.strip_prefix(b"-").unwrap_or(text);
    let whole = digits(text);
    if whole == 0 || (whole > 1 && text[0] == b'0') {
        return false;
    }
    let mut rest = &text[whole..];
    if let Some(fraction) = rest.strip_prefix(b".") {
        let count = digits(fraction);
        if count == 0 {
            return false;
        }
        rest = &fraction[count..];
    }
    if let Some(exponent) = rest.strip_prefix(b"e").or_else(|| rest.strip_prefix(b"E")) {
        let exponent = exponent.strip_prefix(b"+").or_else(|| exponent.strip_prefix(b"-")).unwrap_or(exponent);
        let count = digits(exponent);
        return count > 0 && count == exponent.len();
    }
    rest.is_empty()
}

/// The positions at which tokens begin: brackets, braces, colons, commas, the
/// opening quotes of strings, and the first bytes of whatever else there is.
struct Tokens<'r> {
    bytes: &'r [u8],
    /// Where the block behind the current one begins.
    next_block: usize,
    /// Tokens of the current block that were not handed out.
    begin: u64,
    /// All ones if the last block ended inside a string.
    in_string: u64,
    /// 1 if the last byte of the last block was a backslash that escapes.
    escapes: u64,
    /// 1 if the last byte of the last block belongs to a token that goes on.
    scalar: u64,
    /// Not zero if a string holds what it must not.
    wrong: u64,
}

impl<'r> Tokens<'r> {
    fn new(bytes: &'r [u8]) -> Tokens<'r> {
        Tokens { bytes, next_block: 0, begin: 0, in_string: 0, escapes: 0, scalar: 0, wrong: 0 }
    }

    /// The next token; the length of the text behind the last one.
    #[inline]
    fn next(&mut self) -> usize {
        while self.begin == 0 {
            if self.next_block >= self.bytes.len() {
                return self.bytes.len();
            }
            self.read_block();
        }
        let bit = self.begin.trailing_zeros() as usize;
        self.begin &= self.begin - 1;
        self.next_block - BLOCK + bit
    }

    /// To be asked behind the last token.
    fn are_well_formed(&self) -> bool {
        self.wrong == 0 && self.in_string == 0
    }

    fn read_block(&mut self) {
        let rest = &self.bytes[self.next_block..];
        let masks = match rest.first_chunk::<BLOCK>() {
            Some(block) => Masks::of(block),
            None => {
                let mut last = [b' '; BLOCK];
                last[..rest.len()].copy_from_slice(rest);
                Masks::of(&last)
            }
        };
        let quotes = masks.quotes & !self.escaped(masks.backslashes);
        // Each bit becomes the parity of the quotes up to it: 1 from an opening quote up to the closing one.
        let mut in_string = quotes;
        for shift in [1, 2, 4, 8, 16, 32] {
            in_string ^= in_string << shift;
        }
        in_string ^= self.in_string;
        self.in_string = ((in_string as i64) >> 63) as u64;
        self.wrong |= masks.controls & in_string;
        // What is neither a separator nor space, and continues what stands before it.
        let scalars = !(masks.separators | masks.spaces);
        let plain = scalars & !quotes;
        let continues = plain << 1 | self.scalar;
        self.scalar = plain >> 63;
        let behind_opening_quote = in_string ^ quotes;
        self.begin = (masks.separators | (scalars & !continues)) & !behind_opening_quote;
        self.next_block += BLOCK;
    }

    /// The bytes that a backslash stands before which is not escaped itself; also
    /// checks that these may be escaped.
    fn escaped(&mut self, backslashes: u64) -> u64 {
        if backslashes == 0 {
            return std::mem::take(&mut self.escapes);
        }
        let mut escaped = self.escapes;
        let mut left = backslashes & !self.escapes;
        self.escapes = 0;
        while left != 0 {
            let at = left.trailing_zeros();
            self.wrong |= u64::from(!is_escape(&self.bytes[self.next_block + at as usize + 1..]));
            if at == 63 {
                self.escapes = 1;
                break;
            }
            escaped |= 2 << at;
            left &= !(3 << at);
        }
        escaped
    }
}

/// Whether this may stand behind a backslash.
fn is_escape(text: &[u8]) -> bool {
    match text {
        [b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't', ..] => true,
        [b'u', a, b, c, d, ..] => [a, b, c, d].iter().all(|digit| digit.is_ascii_hexdigit()),
        _ => false,
    }
}

/// Bytes that are looked at together: a bit of a mask for each.
const BLOCK: usize = 64;

/// Where bytes of a kind stand in a block, the first byte in the lowest bit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Masks {
    quotes: u64,
    backslashes: u64,
    /// Below the space: not allowed inside strings.
    controls: u64,
    /// Space between tokens.
    spaces: u64,
    /// `{}[]:,`
    separators: u64,
}

impl Masks {
    #[cfg(target_arch = "x86_64")]
    #[allow(unsafe_code, reason = "the compiler wants to be told what every processor of this kind has")]
    fn of(block: &[u8; BLOCK]) -> Masks {
        // SAFETY: SSE2 is part of every x86-64 processor.
        unsafe { Masks::sse2(block) }
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "sse2")]
    fn sse2(block: &[u8; BLOCK]) -> Masks {
        use std::arch::x86_64::*;
        let mut masks = Masks::default();
        for (lane, bytes) in block.as_chunks::<16>().0.iter().enumerate() {
            let halves = bytes.as_chunks::<8>().0;
            let (low, high) = (i64::from_le_bytes(halves[0]), i64::from_le_bytes(halves[1]));
            let bytes = _mm_set_epi64x(high, low);
            let is = |byte: u8| _mm_cmpeq_epi8(bytes, _mm_set1_epi8(byte as i8));
            let bits = |mask| u64::from(_mm_movemask_epi8(mask) as u16) << (16 * lane);
            // `[` and `{`, `]` and `}` differ in this bit only.
            let folded = _mm_or_si128(bytes, _mm_set1_epi8(0x20));
            let bracket = |byte: u8| _mm_cmpeq_epi8(folded, _mm_set1_epi8(byte as i8));
            let or = |a, b| _mm_or_si128(a, b);
            masks.quotes |= bits(is(b'"'));
            masks.backslashes |= bits(is(b'\\'));
            masks.controls |= bits(_mm_cmpeq_epi8(_mm_min_epu8(bytes, _mm_set1_epi8(0x1f)), bytes));
            masks.spaces |= bits(or(or(is(b' '), is(b'\t')), or(is(b'\n'), is(b'\r'))));
            masks.separators |= bits(or(or(bracket(b'{'), bracket(b'}')), or(is(b':'), is(b','))));
        }
        masks
    }

    #[cfg(not(target_arch = "x86_64"))]
    fn of(block: &[u8; BLOCK]) -> Masks {
        Masks::one_by_one(block)
    }

    #[cfg(any(test, not(target_arch = "x86_64")))]
    fn one_by_one(block: &[u8; BLOCK]) -> Masks {
        let mut masks = Masks::default();
        for (at, byte) in block.iter().enumerate() {
            let bit = |is: bool| u64::from(is) << at;
            masks.quotes |= bit(*byte == b'"');
            masks.backslashes |= bit(*byte == b'\\');
            masks.controls |= bit(*byte < b' ');
            masks.spaces |= bit(matches!(byte, b' ' | b'\t' | b'\n' | b'\r'));
            masks.separators |= bit(matches!(byte, b'{' | b'}' | b'[' | b']' | b':' | b','));
        }
        masks
    }
}

#[cfg(test)]
#[path = "scan_tests.rs"]
mod tests;
