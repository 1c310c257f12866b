//! Maps against plain sets of offsets.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::commit::metadata::{MAX, Metadata, map_limit};

const HERE: Identity<'_> = Identity { group: "g", topic: "t", partition: 3 };

fn map(base: i64, settled: impl IntoIterator<Item = i64>) -> OffsetMap {
    let mut map = OffsetMap { base, head_ms: 1_700_000_000_000, settled: Vec::new(), attempts: Vec::new() };
    settled.into_iter().for_each(|offset| map.push(offset..offset + 1));
    map
}

fn offsets(map: &OffsetMap) -> Vec<i64> {
    map.settled.iter().cloned().flatten().collect()
}

fn text(map: &OffsetMap) -> Arc<str> {
    map.encode(HERE, map_limit(MAX)).unwrap().text
}

#[test]
fn few_gaps_are_short_however_many_offsets_they_part() {
    let parked = [0, 500, 700, 9_000];
    let map = map(50, (1..10_000).filter(|n| !parked.contains(n)).map(|n| 50 + n));
    assert!(text(&map).len() < 60, "{}", text(&map).len());
    assert_eq!(OffsetMap::decode(&text(&map), HERE), Ok(map));
}

#[test]
fn the_worst_pattern_of_as_many_records_as_are_read_ahead_fits() {
    // Every second one settled takes two bytes a run, and one bit for each record.
    let worst = map(i64::MAX - 1_000_000, (1..ALWAYS_FIT as i64).step_by(2).map(|n| i64::MAX - 1_000_000 + n));
    let encoded = worst.encode(HERE, map_limit(MAX)).unwrap();
    assert_eq!((encoded.left_out, OffsetMap::decode(&encoded.text, HERE)), (0, Ok(worst)));
    const { assert!(ALWAYS_FIT > 23_000) };
}

#[test]
fn what_does_not_fit_is_cut_to_the_lowest_offsets() {
    let sparse = map(0, (1..50_000).map(|n| n * 1_000));
    let encoded = sparse.encode(HERE, map_limit(MAX)).unwrap();
    let kept = offsets(&OffsetMap::decode(&encoded.text, HERE).unwrap());
    assert_eq!(kept, (1..=kept.len() as i64).map(|n| n * 1_000).collect::<Vec<_>>());
    assert_eq!(kept.len() as u64 + encoded.left_out, 49_999);
    assert!(kept.len() > 900 && encoded.text.len() <= map_limit(MAX), "{} in {}", kept.len(), encoded.text.len());
}

#[test]
fn there_is_no_map_of_nothing_or_in_no_room() {
    assert_eq!(map(7, []).encode(HERE, map_limit(MAX)), None);
    for limit in 0..30 {
        assert_eq!(map(7, [8]).encode(HERE, limit), None, "{limit}");
    }
}

#[test]
fn attempts_fill_what_room_is_left() {
    let mut map = map(0, (1..9).step_by(2));
    let routes = [route_digest("one"), route_digest("other")];
    map.attempts = (0..5_000).map(|n| Attempts { offset: n, route: routes[n as usize % 2], failures: 3 }).collect();
    let cut = OffsetMap::decode(&text(&map), HERE).unwrap();
    assert_eq!(cut.settled, map.settled);
    assert!(cut.attempts.len() > 900, "{}", cut.attempts.len());
    assert_eq!(cut.attempts, map.attempts[..cut.attempts.len()]);

    map.settled.clear();
    map.attempts.truncate(1);
    assert_eq!(OffsetMap::decode(&text(&map), HERE), Ok(map), "they alone are worth a map");
}

#[test]
fn a_map_of_something_else_is_refused_with_the_reason() {
    let map = map(40, 45..60);
    let text = text(&map);
    for other in [
        Identity { group: "h", ..HERE },
        Identity { topic: "u", ..HERE },
        Identity { partition: 4, ..HERE },
        Identity { group: "gt", topic: "", ..HERE },
    ] {
        assert_eq!(OffsetMap::decode(&text, other), Err(Refused::OtherPartition), "{other:?}");
    }
    assert_eq!(map.fits(41, 100), Err(Refused::OtherOffset { base: 40, committed: 41 }));
    assert_eq!((map.fits(40, 60), map.fits(40, 59)), (Ok(()), Err(Refused::BeyondLog { end: 60, log_end: 59 })));
    assert_eq!(map.begins_with(40, Some(map.head_ms)), Ok(()));
    for (offset, ms) in [(41, Some(map.head_ms)), (40, Some(map.head_ms + 1)), (40, None)] {
        let why = map.begins_with(offset, ms).unwrap_err().to_string();
        assert!(why.starts_with("the record at offset 40, of time 1700000000000, was expected first"), "{why}");
    }
}

#[test]
fn texts_that_no_map_is_written_as_are_refused() {
    let signed = |bytes: &[u8]| {
        let mut bytes = [&[VERSION][..], &HERE.digest(), bytes].concat();
        bytes.extend_from_slice(&cut::<DIGEST>(&Sha256::digest(&bytes)));
        BASE64.encode(bytes)
    };
    assert!(OffsetMap::decode(&signed(&[40, 0, 0, 1, 0, 1, 0, 0]), HERE).is_ok());
    // Base, time, form, count of runs or bytes, those, count of routes, count of attempts.
    for (what, bytes) in [
        ("nothing", &[][..]),
        ("another form", &[40, 0, 2, 1, 0, 1, 0, 0]),
        ("an empty run", &[40, 0, 0, 1, 0, 0, 0, 0]),
        ("two runs that touch", &[40, 0, 0, 2, 0, 1, 0, 1, 0, 0]),
        ("a missing run", &[40, 0, 0, 200, 1, 0, 1, 0, 0]),
        ("bits that end with none", &[40, 0, 1, 2, 1, 0, 0, 0]),
        ("more bits than there are", &[40, 0, 1, 9, 1, 0, 0]),
        ("a run that is too long", &[40, 0, 0, 1, 0, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1, 0, 0]),
        ("a base that is too large", &[255, 255, 255, 255, 255, 255, 255, 255, 255, 1, 0, 0, 0, 0, 0]),
        ("the largest base", &[255, 255, 255, 255, 255, 255, 255, 255, 127, 0, 0, 0, 0, 0]),
        ("attempts on no route", &[40, 0, 0, 1, 0, 1, 0, 1, 0, 0, 1]),
        ("more at the end", &[40, 0, 0, 1, 0, 1, 0, 0, 0]),
    ] {
        let refused = OffsetMap::decode(&signed(bytes), HERE);
        assert!(matches!(refused, Err(Refused::Malformed(_))), "{what}: {refused:?}");
    }
    assert_eq!(OffsetMap::decode("", HERE), Err(Refused::Damaged));
    assert_eq!(OffsetMap::decode("Ag", HERE), Err(Refused::Version(2)));
    assert_eq!(OffsetMap::decode("AQ==", HERE), Err(Refused::NoBase64));
}

/// Runs and single offsets above a base, and how they are far apart.
fn settled() -> impl Strategy<Value = (i64, BTreeSet<i64>)> {
    let step = prop_oneof![4 => 1..3_i64, 2 => 1..40_i64, 1 => 1..100_000_i64];
    let run = prop_oneof![2 => 1..2_i64, 1 => 1..300_i64];
    (0..i64::MAX / 2, prop::collection::vec((step, run), 0..1500)).prop_map(|(base, runs)| {
        let (mut at, mut offsets) = (base, BTreeSet::new());
        for (step, run) in runs {
            offsets.extend(at + step..at + step + run);
            at += step + run - 1;
        }
        (base, offsets)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn a_map_is_read_back_or_cut_to_its_lowest_offsets(
        (base, model) in settled(), head_ms: i64, limit in 0..5_000_usize,
        tried in prop::collection::vec((1..50_i64, 0..5_u32, 1..1_000_u32), 0..400),
    ) {
        let mut at = base;
        let attempts = tried.iter().map(|&(gap, route, failures)| {
            at += gap - 1;
            Attempts { offset: at, route: route * 0x0101_0101, failures }
        });
        let map = OffsetMap { head_ms, attempts: attempts.collect(), ..map(base, model.iter().copied()) };
        let Some(encoded) = map.encode(HERE, limit) else {
            prop_assert!(limit < 60 || (model.is_empty() && map.attempts.is_empty()));
            return Ok(());
        };
        prop_assert!(encoded.text.len() <= limit.min(MAX));
        let read = OffsetMap::decode(&encoded.text, HERE).unwrap();
        let kept = offsets(&read);
        prop_assert!(kept.iter().eq(model.iter().take(kept.len())), "the lowest ones");
        prop_assert_eq!(kept.len() as u64 + encoded.left_out, model.len() as u64);
        prop_assert!(read.attempts.len() <= map.attempts.len());
        prop_assert_eq!(&read.attempts[..], &map.attempts[..read.attempts.len()]);
        prop_assert_eq!((read.base, read.head_ms), (base, head_ms));
        prop_assert!(read.fits(base, i64::MAX).is_ok());
    }

    #[test]
    fn any_change_of_the_text_is_refused((base, model) in settled(), at: prop::sample::Index, to: u8, cut: prop::sample::Index) {
        let Some(encoded) = map(base, model).encode(HERE, map_limit(MAX)) else { return Ok(()) };
        let metadata = Metadata { began_ms: None, map: Some(encoded.text) }.to_string().into_bytes();
        let trusted = |bytes: &[u8]| {
            let metadata = Metadata::parse(bytes).ok()?;
            metadata.trusted_map(HERE, base, i64::MAX).ok()?
        };
        prop_assert!(trusted(&metadata).is_some());
        let mut changed = metadata.clone();
        let at = at.index(changed.len());
        changed[at] = to;
        prop_assert!(trusted(&changed).is_none() || changed == metadata, "byte {at} became {to}");
        prop_assert!(trusted(&metadata[..cut.index(metadata.len())]).is_none());
    }

    #[test]
    fn any_text_is_read_or_refused(text in "[A-Za-z0-9_=-]{0,100}", bytes: Vec<u8>) {
        _ = OffsetMap::decode(&text, HERE);
        _ = OffsetMap::decode(&BASE64.encode([&[VERSION][..], &bytes].concat()), HERE);
        _ = Metadata::parse(&bytes);
    }

    /// As if someone had made a checksum for them.
    #[test]
    fn any_bytes_under_a_good_checksum_are_read_or_refused(bytes: Vec<u8>) {
        let mut bytes = [&[VERSION][..], &HERE.digest(), &bytes].concat();
        bytes.extend_from_slice(&cut::<DIGEST>(&Sha256::digest(&bytes)));
        if let Ok(map) = OffsetMap::decode(&BASE64.encode(bytes), HERE) {
            prop_assert!(map.settled.first().is_none_or(|run| run.start > map.base));
            prop_assert!(map.settled.is_sorted_by(|a, b| a.end < b.start));
        }
    }
}
