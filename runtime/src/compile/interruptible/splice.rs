//! Sections, and replacing parts of a binary without touching the rest.

use std::borrow::Cow;
use std::ops::Range;

use wasmparser::BinaryReader;

use super::Unreadable;
use super::helper::Items;

/// Replaces a part of a binary. An empty range inserts.
#[derive(Debug)]
pub struct Splice {
    /// Offsets into the whole binary.
    pub range: Range<usize>,
    /// What stands there instead.
    pub with: Vec<u8>,
}

/// A copy with all splices made, which must not overlap.
pub fn apply(binary: &[u8], mut splices: Vec<Splice>) -> Result<Cow<'_, [u8]>, Unreadable> {
    if splices.is_empty() {
        return Ok(Cow::Borrowed(binary));
    }
    splices.sort_by_key(|splice| splice.range.start);
    let added: usize = splices.iter().map(|splice| splice.with.len()).sum();
    let mut out = Vec::with_capacity(binary.len() + added);
    let mut at = 0;
    for splice in splices {
        // Sections do not overlap, and each is looked at once.
        let kept = binary.get(at..splice.range.start).ok_or(Unreadable::Refused("sections overlap"))?;
        out.extend_from_slice(kept);
        out.extend_from_slice(&splice.with);
        at = splice.range.end;
    }
    out.extend_from_slice(binary.get(at..).ok_or(Unreadable::Refused("sections overlap"))?);
    Ok(Cow::Owned(out))
}

/// A section of a core module or of a component.
#[derive(Clone, Debug)]
pub struct Section<'a> {
    /// What it is.
    pub id: u8,
    /// Where its length stands, an offset into the whole binary.
    length_at: usize,
    /// What it holds, with offsets into the whole binary.
    pub content: BinaryReader<'a>,
}

/// The sections that this reader stands before, up to the first that is not well-formed.
pub fn sections<'a>(mut reader: BinaryReader<'a>) -> impl Iterator<Item = Result<Section<'a>, Unreadable>> {
    fn next<'a>(reader: &mut BinaryReader<'a>) -> Result<Section<'a>, Unreadable> {
        let id = reader.read_u8()?;
        let length_at = reader.original_position();
        Ok(Section { id, length_at, content: reader.read_reader()? })
    }
    // After an error nothing more can be found.
    let mut ended = false;
    std::iter::from_fn(move || {
        if ended || reader.eof() {
            return None;
        }
        let section = next(&mut reader);
        ended = section.is_err();
        Some(section)
    })
}

impl Section<'_> {
    /// Makes the section's length that of a content that has grown by this many bytes. Gives
    /// the number of bytes that the length itself grows by.
    pub fn resize(&self, by: u64, splices: &mut Vec<Splice>) -> Result<u64, Unreadable> {
        if by == 0 {
            return Ok(0);
        }
        self.replace_head(by, self.content.range().start, Vec::new(), splices)
    }

    /// Appends items to a section that is a number of items and the items, and whose items
    /// have grown by `by` bytes. Gives the number of bytes that all of the section grows by.
    pub fn append(&self, items: Items, by: u64, splices: &mut Vec<Splice>) -> Result<u64, Unreadable> {
        let mut reader = self.content.clone();
        let now = reader.read_var_u32()?.checked_add(items.count);
        let now = now.ok_or(Unreadable::Refused("a section has too many items"))?;
        let first = reader.original_position();
        let width = first - self.content.range().start;
        let mut counted = Vec::new();
        write_leb(&mut counted, now, width);
        let by = by + items.bytes.len() as u64 + (counted.len() - width) as u64;
        let end = self.content.range().end;
        let longer = self.replace_head(by, first, counted, splices)?;
        splices.push(Splice { range: end..end, with: items.bytes });
        Ok(by + longer)
    }

    /// Replaces the length and what follows it up to an offset.
    fn replace_head(&self, by: u64, end: usize, then: Vec<u8>, splices: &mut Vec<Splice>) -> Result<u64, Unreadable> {
        let content = self.content.range();
        let length =
            u32::try_from(content.len() as u64 + by).map_err(|_| Unreadable::Refused("a section is too long"))?;
        let width = content.start - self.length_at;
        let mut with = Vec::new();
        write_leb(&mut with, length, width);
        let longer = with.len() - width;
        with.extend(then);
        splices.push(Splice { range: self.length_at..end, with });
        Ok(longer as u64)
    }
}

/// Writes a number as LEB128, in at least this many bytes: up to five, the format allows
/// more than are needed.
pub fn write_leb(out: &mut Vec<u8>, mut number: u32, width: usize) {
    for written in 1.. {
        let low = (number & 0x7f) as u8;
        number >>= 7;
        if number == 0 && written >= width {
            out.push(low);
            return;
        }
        out.push(low | 0x80);
    }
}
