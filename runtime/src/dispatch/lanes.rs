//! Lanes: which records of a partition must wait for which.

use std::hash::{BuildHasherDefault, Hasher};

use hashbrown::HashMap;
use hashbrown::hash_map::Entry;
use smallvec::SmallVec;

/// What a record needs for itself while it is inside: the strictest that any of
/// its routes asks for. A claim of nothing waits for nobody.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Claim {
    /// The lane of its key, by the key's hash. Keys of the same hash share a
    /// lane, which costs time but breaks no order. The hash is used as it is: it
    /// has to be seeded, or a producer could choose keys that collide, and all
    /// its 64 bits have to vary.
    pub key: Option<u64>,
    /// The lane of the partition.
    pub partition: bool,
}

/// The lanes of one partition. A record enters when it is delivered, begins when
/// it is the first in every lane it claims, and leaves when it is settled.
///
/// Each lane is first in, first out, and records enter one after the other, so
/// the oldest record inside is first wherever it stands: there is always one
/// that may begin, and a deadlock cannot be.
///
/// A record is named by an id that the caller chooses: a small number, such as
/// its index in a slab, used again after it left. Memory is 32 bytes for each id
/// up to the highest one, and the map of keys follows the number of lanes in use
/// up and down.
#[derive(Debug, Default)]
pub struct Lanes {
    /// The last record of each key lane in use. The first one needs no finding:
    /// it is the one that leaves.
    keys: HashMap<u64, u32, BuildHasherDefault<HashedAlready>>,
    /// The last record of the partition's lane.
    partition: Option<u32>,
    /// By id; the lanes are linked through it.
    places: Vec<Place>,
    arrivals: u64,
    inside: usize,
    waiting: usize,
}

/// A record's place in the lanes it claims.
#[derive(Clone, Copy, Debug)]
struct Place {
    arrival: u64,
    key: u64,
    /// Who follows in the lane of the key.
    key_next: u32,
    /// Who follows in the lane of the partition.
    partition_next: u32,
    claims_key: bool,
    claims_partition: bool,
    /// In how many lanes it is not the first.
    behind: u8,
    inside: bool,
}

const NOBODY: u32 = u32::MAX;

const EMPTY: Place = Place {
    arrival: 0,
    key: 0,
    key_next: NOBODY,
    partition_next: NOBODY,
    claims_key: false,
    claims_partition: false,
    behind: 0,
    inside: false,
};

/// Below this many key lanes the map keeps its memory.
const KEPT: usize = 1024;

impl Lanes {
    /// No record inside.
    pub fn new() -> Lanes {
        Lanes::default()
    }

    /// Puts a record in behind all that are inside. True: it may begin now.
    /// False: it waits until [`leave`](Self::leave) names it.
    ///
    /// `id` is below `u32::MAX` and names no record that is inside.
    pub fn enter(&mut self, id: u32, claim: Claim) -> bool {
        let index = id as usize;
        if index >= self.places.len() {
            self.places.resize(index + 1, EMPTY);
        }
        debug_assert!(!self.places[index].inside, "{id} is inside already");
        let mut behind = 0;
        if let Some(key) = claim.key {
            match self.keys.entry(key) {
                Entry::Vacant(lane) => {
                    lane.insert(id);
                }
                Entry::Occupied(mut lane) => {
                    let last = lane.insert(id);
                    self.places[last as usize].key_next = id;
                    behind += 1;
                }
            }
        }
        if claim.partition
            && let Some(last) = self.partition.replace(id)
        {
            self.places[last as usize].partition_next = id;
            behind += 1;
        }
        self.places[index] = Place {
            arrival: self.arrivals,
            key: claim.key.unwrap_or_default(),
            claims_key: claim.key.is_some(),
            claims_partition: claim.partition,
            behind,
            inside: true,
            ..EMPTY
        };
        self.arrivals += 1;
        self.inside += 1;
        self.waiting += usize::from(behind > 0);
        behind == 0
    }

    /// Takes out a record that had begun, and gives those that may begin now because of it,
    /// in the order they arrived: at most two.
    ///
    /// A record that still waits cannot leave: the call does nothing.
    pub fn leave(&mut self, id: u32) -> SmallVec<[u32; 2]> {
        let mut ready = SmallVec::new();
        let Some(place) = self.places.get_mut(id as usize) else { return ready };
        debug_assert!(place.inside && place.behind == 0, "{id} had not begun");
        if !place.inside || place.behind > 0 {
            return ready;
        }
        place.inside = false;
        let place = *place;
        self.inside -= 1;
        if place.claims_key && place.key_next == NOBODY {
            self.keys.remove(&place.key);
            self.shrink();
        }
        if place.claims_partition && place.partition_next == NOBODY {
            self.partition = None;
        }
        for next in [place.key_next, place.partition_next] {
            if next != NOBODY && self.move_up(next) {
                ready.push(next);
            }
        }
        if let [first, second] = ready[..]
            && self.places[first as usize].arrival > self.places[second as usize].arrival
        {
            ready.swap(0, 1);
        }
        ready
    }

    /// How many records are inside, those that wait included.
    pub fn len(&self) -> usize {
        self.inside
    }

    /// Whether no record is inside.
    pub fn is_empty(&self) -> bool {
        self.inside == 0
    }

    /// How many records wait for another one.
    pub fn waiting(&self) -> usize {
        self.waiting
    }

    /// Takes note that `id` became the first of one of its lanes. True: it was
    /// the last lane it waited in.
    fn move_up(&mut self, id: u32) -> bool {
        let place = &mut self.places[id as usize];
        place.behind -= 1;
        if place.behind > 0 {
            return false;
        }
        self.waiting -= 1;
        true
    }

    /// Gives memory back after a burst of keys. Twice what is in use stays, so
    /// that the cost is constant per record, amortised.
    fn shrink(&mut self) {
        if self.keys.capacity() > KEPT && self.keys.len() < self.keys.capacity() / 8 {
            self.keys.shrink_to(self.keys.len() * 2);
        }
    }
}

/// Hands a hash on as it is.
#[derive(Clone, Copy, Debug, Default)]
struct HashedAlready(u64);

impl Hasher for HashedAlready {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }

    /// Not reached with keys of `u64`; still right for others.
    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(byte);
        }
    }
}

#[cfg(test)]
mod tests;
