use proptest::prelude::*;

use super::*;

const FREE: Claim = Claim { key: None, partition: false };
const PARTITION: Claim = Claim { key: None, partition: true };

fn key(key: u64) -> Claim {
    Claim { key: Some(key), partition: false }
}

fn both(key: u64) -> Claim {
    Claim { key: Some(key), partition: true }
}

fn leave(lanes: &mut Lanes, id: u32) -> Vec<u32> {
    lanes.leave(id).to_vec()
}

#[test]
fn a_key_holds_back_itself_and_nothing_else() {
    let mut lanes = Lanes::new();
    assert!(lanes.enter(0, key(1)));
    assert!(!lanes.enter(1, key(1)));
    assert!(lanes.enter(2, key(2)));
    assert!(lanes.enter(3, FREE));
    assert!(!lanes.enter(4, key(1)));
    assert_eq!((lanes.len(), lanes.waiting()), (5, 2));
    assert!(leave(&mut lanes, 2).is_empty());
    assert!(leave(&mut lanes, 3).is_empty());
    assert_eq!(leave(&mut lanes, 0), [1]);
    assert_eq!(leave(&mut lanes, 1), [4]);
    assert!(leave(&mut lanes, 4).is_empty());
    assert!(lanes.is_empty());
}

#[test]
fn the_partition_lane_lets_key_lanes_pass() {
    let mut lanes = Lanes::new();
    assert!(lanes.enter(0, PARTITION));
    assert!(!lanes.enter(1, PARTITION));
    assert!(lanes.enter(2, key(7)));
    assert_eq!(leave(&mut lanes, 0), [1]);
}

#[test]
fn both_lanes_have_to_be_free() {
    let mut lanes = Lanes::new();
    assert!(lanes.enter(0, key(1)));
    assert!(lanes.enter(1, PARTITION));
    assert!(!lanes.enter(2, both(1)));
    assert!(leave(&mut lanes, 1).is_empty());
    assert_eq!(leave(&mut lanes, 0), [2]);
}

#[test]
fn one_that_claims_both_may_free_two_in_the_order_they_came() {
    let mut lanes = Lanes::new();
    assert!(lanes.enter(0, both(1)));
    assert!(!lanes.enter(1, PARTITION));
    assert!(!lanes.enter(2, key(1)));
    assert_eq!(leave(&mut lanes, 0), [1, 2]);
}

#[test]
fn one_that_follows_in_both_is_named_once() {
    let mut lanes = Lanes::new();
    assert!(lanes.enter(0, both(1)));
    assert!(!lanes.enter(1, both(1)));
    assert_eq!(leave(&mut lanes, 0), [1]);
    assert_eq!(lanes.waiting(), 0);
}

#[test]
fn ids_are_used_again() {
    let mut lanes = Lanes::new();
    assert!(lanes.enter(0, both(1)));
    assert!(!lanes.enter(1, both(1)));
    assert_eq!(leave(&mut lanes, 0), [1]);
    assert!(!lanes.enter(0, key(1)));
    assert_eq!(leave(&mut lanes, 1), [0]);
    assert!(leave(&mut lanes, 0).is_empty());
    assert!(lanes.enter(0, PARTITION));
}

#[test]
fn the_map_of_keys_shrinks_after_a_burst() {
    let mut lanes = Lanes::new();
    for id in 0..100_000 {
        assert!(lanes.enter(id, key(u64::from(id).wrapping_mul(0x9E37_79B9_7F4A_7C15))));
    }
    for id in 0..100_000 {
        lanes.leave(id);
    }
    assert!(lanes.keys.capacity() <= 2 * KEPT, "{}", lanes.keys.capacity());
}

#[derive(Clone, Debug)]
enum Step {
    Enter(Claim),
    /// One of those that have begun.
    Leave(prop::sample::Index),
}

fn step() -> impl Strategy<Value = Step> {
    let claim = (prop::option::of(0..4u64), prop::bool::weighted(0.3));
    prop_oneof![
        claim.prop_map(|(key, partition)| Step::Enter(Claim { key, partition })),
        any::<prop::sample::Index>().prop_map(Step::Leave),
    ]
}

/// The records inside in the order they came, and whether each has begun.
type Model = Vec<(u32, Claim, bool)>;

/// One may begin when no earlier one inside claims a lane that it claims.
fn begin(model: &mut Model) -> Vec<u32> {
    let free: Vec<bool> = (0..model.len())
        .map(|index| {
            let claim = model[index].1;
            let in_the_way = |(_, other, _): &(u32, Claim, bool)| {
                (claim.key.is_some() && claim.key == other.key) || (claim.partition && other.partition)
            };
            !model[..index].iter().any(in_the_way)
        })
        .collect();
    let mut begun = Vec::new();
    for ((id, _, running), free) in model.iter_mut().zip(free) {
        if free && !*running {
            *running = true;
            begun.push(*id);
        }
    }
    begun
}

proptest! {
    /// Against a list that compares every record with all before it.
    #[test]
    fn agrees_with_a_plain_list(steps in prop::collection::vec(step(), 0..200)) {
        let mut lanes = Lanes::new();
        let mut model = Model::new();
        for step in steps {
            match step {
                Step::Enter(claim) => {
                    let id = (0..).find(|id| !model.iter().any(|(used, ..)| used == id)).unwrap();
                    model.push((id, claim, false));
                    let begins = lanes.enter(id, claim);
                    prop_assert_eq!(begin(&mut model), if begins { vec![id] } else { vec![] });
                }
                Step::Leave(index) => {
                    let running: Vec<u32> = model.iter().filter(|(.., running)| *running).map(|(id, ..)| *id).collect();
                    prop_assert_eq!(running.is_empty(), model.is_empty(), "a deadlock");
                    if !running.is_empty() {
                        let id = *index.get(&running);
                        model.retain(|(other, ..)| *other != id);
                        let ready = leave(&mut lanes, id);
                        prop_assert_eq!(ready, begin(&mut model));
                    }
                }
            }
            prop_assert_eq!(lanes.len(), model.len());
            prop_assert_eq!(lanes.waiting(), model.iter().filter(|(_, _, running)| !running).count());
            let mut keys: Vec<u64> = model.iter().filter_map(|(_, claim, _)| claim.key).collect();
            keys.sort_unstable();
            keys.dedup();
            prop_assert_eq!(lanes.keys.len(), keys.len(), "a lane is left behind");
        }
    }
}
