//! Failed attempts in a map's bytes: a count of routes and 4 bytes of digest for
//! each; a count of entries, and for each how far its offset is above the last
//! one's (for the first: above the base), its route's place in that list, and how
//! many attempts failed.
//!
//! A route is named by a digest of its name, since places change with the manifest.

use sha2::{Digest, Sha256};

use super::Refused;
use super::bytes::{Reader, number_len, put_number};

/// The bytes that no attempts take.
pub(super) const NONE: usize = 2;

const ROUTE: usize = 4;

/// Attempts of one record on one route that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attempts {
    /// The record.
    pub offset: i64,
    /// [`route_digest`] of the route's name.
    pub route: u32,
    /// How many failed, at least one.
    pub failures: u32,
}

/// What stands for a route in a map.
pub fn route_digest(name: &str) -> u32 {
    Sha256::digest(name).iter().take(ROUTE).fold(0, |digest, byte| digest << 8 | u32::from(*byte))
}

/// Appends the attempts, as many as fit in `room` bytes, the lowest offsets first; returns how many that are.
pub(super) fn write(out: &mut Vec<u8>, base: i64, attempts: &[Attempts], room: usize) -> usize {
    let (mut routes, mut body) = (Vec::<u32>::new(), Vec::new());
    let (mut count, mut last) = (0, base);
    for attempt in attempts {
        let known = routes.iter().position(|route| *route == attempt.route);
        let (place, gap) = (known.unwrap_or(routes.len()) as u64, last.abs_diff(attempt.offset));
        let entry = number_len(gap) + number_len(place) + number_len(attempt.failures.into());
        let routes_after = routes.len() + usize::from(known.is_none());
        let counts = number_len(routes_after as u64) + number_len(count + 1);
        if counts + routes_after * ROUTE + body.len() + entry > room {
            break;
        }
        if known.is_none() {
            routes.push(attempt.route);
        }
        for number in [gap, place, attempt.failures.into()] {
            put_number(&mut body, number);
        }
        count += 1;
        last = attempt.offset;
    }
    put_number(out, routes.len() as u64);
    out.extend(routes.iter().flat_map(|route| route.to_be_bytes()));
    put_number(out, count);
    out.extend_from_slice(&body);
    count as usize
}

/// Reads what [`write`] has appended.
pub(super) fn read(reader: &mut Reader<'_>, base: i64) -> Result<Vec<Attempts>, Refused> {
    let routes = reader.count()?;
    let routes = reader.take(routes.saturating_mul(ROUTE))?.as_chunks::<ROUTE>().0;
    let count = reader.count()?;
    let (mut attempts, mut last) = (Vec::with_capacity(count), base);
    for _ in 0..count {
        let offset = reader.offset(last)?;
        let place = usize::try_from(reader.number()?).unwrap_or(usize::MAX);
        let route = routes.get(place).ok_or(Refused::Malformed("a route is missing"))?;
        let failures = reader.number()?.try_into().map_err(|_| Refused::Malformed("a count is too large"))?;
        attempts.push(Attempts { offset, route: u32::from_be_bytes(*route), failures });
        last = offset;
    }
    Ok(attempts)
}
