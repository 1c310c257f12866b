//! The settled offsets in a map's bytes, in the shorter of two forms:
//!
//! - 0, a count, and so many pairs: how far the run's first offset is above the end
//!   of the last run (for the first: above base + 1), and how many offsets it has;
//! - 1, a count, and so many bytes of bits: bit *i* of byte *j*, from the lowest
//!   one, stands for offset base + 1 + 8*j* + *i*.

use std::ops::Range;

use super::Refused;
use super::bytes::{Reader, number_len, put_number};

const RUNS: u8 = 0;
const BITS: u8 = 1;

/// The form and the count, at most: no count reaches 2^14 in 4,096 bytes.
pub(super) const FRAME: usize = 3;

/// The settled offsets in one form, as far as there was room.
struct Form {
    tag: u8,
    count: usize,
    body: Vec<u8>,
    /// Settled offsets in it, the lowest ones.
    covered: u64,
}

/// Appends the offsets, as many as fit in `room` bytes, and returns how many did not. `None` if not even none fit.
pub(super) fn write(out: &mut Vec<u8>, base: i64, settled: &[Range<i64>], room: usize) -> Option<u64> {
    let room = room.checked_sub(FRAME)?;
    let (runs, bits) = (runs(base, settled, room), bits(base, settled, room));
    let all: u64 = settled.iter().map(|run| run.start.abs_diff(run.end)).sum();
    let form = match (runs.covered, runs.body.len()) {
        (covered, _) if covered > bits.covered => runs,
        (covered, length) if covered == bits.covered && length <= bits.body.len() => runs,
        _ => bits,
    };
    out.push(form.tag);
    put_number(out, form.count as u64);
    out.extend_from_slice(&form.body);
    Some(all - form.covered)
}

fn runs(base: i64, settled: &[Range<i64>], room: usize) -> Form {
    let mut form = Form { tag: RUNS, count: 0, body: Vec::new(), covered: 0 };
    let mut end = base.saturating_add(1);
    for run in settled {
        let (gap, length) = (end.abs_diff(run.start), run.start.abs_diff(run.end));
        if form.body.len() + number_len(gap) + number_len(length) > room {
            break;
        }
        put_number(&mut form.body, gap);
        put_number(&mut form.body, length);
        form.count += 1;
        form.covered += length;
        end = run.end;
    }
    form
}

fn bits(base: i64, settled: &[Range<i64>], room: usize) -> Form {
    let first = base.saturating_add(1);
    let limit = first.saturating_add(room as i64 * 8);
    let end = settled.last().map_or(first, |run| run.end).min(limit);
    let mut body = vec![0; first.abs_diff(end).div_ceil(8) as usize];
    let mut covered = 0;
    for run in settled.iter().take_while(|run| run.start < limit) {
        for offset in run.start..run.end.min(limit) {
            let at = first.abs_diff(offset);
            body[(at / 8) as usize] |= 1 << (at % 8);
            covered += 1;
        }
    }
    while body.last() == Some(&0) {
        body.pop();
    }
    Form { tag: BITS, count: body.len(), body, covered }
}

/// Reads what [`write`] has appended.
pub(super) fn read(reader: &mut Reader<'_>, base: i64) -> Result<Vec<Range<i64>>, Refused> {
    let first = base.checked_add(1).ok_or(Refused::Malformed("the base is too large"))?;
    let tag = reader.byte()?;
    let count = reader.count()?;
    match tag {
        RUNS => read_runs(reader, count, first),
        BITS => read_bits(reader.take(count)?, first),
        _ => Err(Refused::Malformed("its form is not known")),
    }
}

fn read_runs(reader: &mut Reader<'_>, count: usize, first: i64) -> Result<Vec<Range<i64>>, Refused> {
    let mut settled: Vec<Range<i64>> = Vec::with_capacity(count);
    let mut last = first;
    for _ in 0..count {
        let start = reader.offset(last)?;
        let end = reader.offset(start)?;
        if start == end || (start == last && !settled.is_empty()) {
            return Err(Refused::Malformed("a run is empty, or no run of its own"));
        }
        settled.push(start..end);
        last = end;
    }
    Ok(settled)
}

fn read_bits(bytes: &[u8], first: i64) -> Result<Vec<Range<i64>>, Refused> {
    let end = first.checked_add_unsigned(bytes.len() as u64 * 8);
    if end.is_none() || bytes.last() == Some(&0) {
        return Err(Refused::Malformed("its bits end where there are none"));
    }
    let mut settled: Vec<Range<i64>> = Vec::new();
    for (offset, at) in (first..).zip(0..bytes.len() * 8) {
        if bytes[at / 8] & 1 << (at % 8) == 0 {
            continue;
        }
        match settled.last_mut() {
            Some(last) if last.end == offset => last.end = offset + 1,
            _ => settled.push(offset..offset + 1),
        }
    }
    Ok(settled)
}
