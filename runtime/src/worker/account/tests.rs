use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::*;

const OWN: Buffer = Buffer { records: 1000, bytes: 10_000 };

/// Accounts that share a total.
fn sharing(limit: usize, count: i32) -> (Arc<Total>, Vec<Arc<Account>>) {
    let total = Total::new(limit);
    let account = |partition| Account::sharing(total.clone(), "t".into(), partition, 0, OWN);
    let accounts = (0..count).map(account).collect();
    (total, accounts)
}

/// Reads records of 10 bytes, as many as there is room for and at most `most`.
fn read(account: &Account, most: usize) -> usize {
    let records = account.room().min(most);
    account.add(records, records * 10);
    records
}

/// Settles records of 10 bytes.
fn settle(account: &Account, records: usize) -> bool {
    (0..records).fold(false, |wake, _| account.look_at() | account.release(1, 10) | wake)
}

#[test]
fn reading_stops_at_the_bound_and_goes_on_at_half() {
    let account = Account::new("t".into(), 0, 0, Buffer { records: 10, bytes: 1000 });
    assert_eq!(account.room(), 10);
    account.add(10, 100);
    assert_eq!(account.room(), 0);
    assert!(account.blocked.load(Acquire));
    assert!(!account.release(4, 40));
    assert_eq!(account.room(), 0, "still above half");
    assert!(account.release(1, 10), "the one release that crosses half wakes the reader");
    assert!(!account.release(1, 10));
    assert_eq!(account.room(), 6);
    account.add(1, 2000);
    assert_eq!(account.room(), 0, "the bound on bytes");
}

#[test]
fn reading_stops_where_settled_records_pile_up_behind_one_that_is_not() {
    let account = Account::new("t".into(), 0, 0, Buffer { records: 10, bytes: 1000 });
    account.add(2, 20);
    account.set_position(0, 10 * SPAN);
    assert!(!account.release(1, 10));
    assert_eq!(account.room(), 0);
    account.set_position(10 * SPAN as i64, 0);
    assert!(account.release(1, 10));
    assert_eq!(account.room(), 10);
}

#[test]
fn the_total_stops_all_and_goes_on_at_three_quarters() {
    let (total, accounts) = sharing(1000, 2);
    let [one, other] = &accounts[..] else { unreachable!() };
    assert_eq!((read(one, 60), read(other, 60), total.bytes()), (60, 60, 1200), "passed by one batch");
    assert_eq!((one.room(), other.room()), (0, 0));
    assert!(one.is_full() && other.is_full());
    assert!(!settle(one, 44));
    assert_eq!((total.bytes(), one.room(), other.room()), (760, 0, 0), "not yet");
    assert!(settle(one, 1), "the one release that brings it down wakes the reader");
    assert!(!settle(one, 1));
    assert!(!one.is_full() && one.room() > 0 && other.room() > 0);
}

#[test]
fn partitions_that_stand_still_do_not_stop_the_others() {
    let (total, accounts) = sharing(1000, 3);
    let [still, other, empty] = &accounts[..] else { unreachable!() };
    read(other, 10);
    assert_eq!(read(still, 256), 256);
    assert_eq!((still.room(), other.room()), (0, 0));
    assert!(empty.room() > 0, "nothing of it is under way");
    for _ in 0..20 {
        assert!(!settle(other, 9));
        assert_eq!(other.room(), 0);
        assert!(settle(other, 1), "the last one wakes the reader");
        assert_eq!(read(other, 10), 10);
        assert_eq!(other.room(), 0);
    }
    assert_eq!(total.bytes(), 2660);
}

#[test]
fn a_partition_that_is_taken_away_frees_its_part() {
    let (total, mut accounts) = sharing(100_000, 2);
    read(&accounts[0], 200);
    settle(&accounts[0], 15);
    read(&accounts[1], 7);
    assert!(accounts[0].kept_back.load(Relaxed) > 0, "the total does not know of all yet");
    accounts.remove(0);
    assert_eq!(total.bytes(), 70);
}

#[test]
fn bytes_are_told_in_portions_and_with_the_last_record() {
    let (total, accounts) = sharing(100_000, 1);
    read(&accounts[0], 50);
    settle(&accounts[0], 19);
    assert_eq!(total.bytes(), 500, "less than a portion of {}", total.portion());
    settle(&accounts[0], 1);
    assert_eq!(total.bytes(), 300);
    settle(&accounts[0], 15);
    assert_eq!(total.bytes(), 300);
    settle(&accounts[0], 15);
    assert_eq!(total.bytes(), 0, "nothing is kept back of a partition that is idle");
}

/// A reader that sleeps without an end unless it is woken, and workers: no wake is lost.
#[test]
fn no_wake_is_lost() {
    // The smaller the bound, the more often they meet at it.
    for (limit, records) in [(2000, 200_000), (100, 100_000), (20, 100_000)] {
        reader_and_workers(limit, records);
    }
}

fn reader_and_workers(limit: usize, records: usize) {
    let (total, accounts) = sharing(limit, 4);
    let reader = thread::current();
    let (to_workers, workers): (Vec<_>, Vec<_>) = accounts
        .iter()
        .map(|account| {
            let (account, reader) = (account.clone(), reader.clone());
            let (to_worker, batches) = mpsc::sync_channel::<usize>(1024);
            let worker = thread::spawn(move || {
                for records in batches {
                    for _ in 0..records {
                        if settle(&account, 1) {
                            reader.unpark();
                        }
                    }
                }
            });
            (to_worker, worker)
        })
        .unzip();
    let mut left = [records; 4];
    while left.iter().any(|left| *left > 0) {
        let mut read_any = false;
        for ((account, to_worker), left) in accounts.iter().zip(&to_workers).zip(&mut left) {
            let records = read(account, 37.min(*left));
            *left -= records;
            read_any |= records > 0;
            if records > 0 {
                to_worker.send(records).unwrap();
            }
            // One batch of each, at most.
            assert!(total.bytes() < limit + 4 * 370 + 4 * total.portion(), "{}", total.bytes());
        }
        let slept = Instant::now();
        if !read_any {
            thread::park_timeout(Duration::from_secs(20));
        }
        assert!(slept.elapsed() < Duration::from_secs(20), "nobody woke the reader; {left:?} are left");
    }
    drop(to_workers);
    workers.into_iter().for_each(|worker| worker.join().unwrap());
    assert_eq!(total.bytes(), 0);
}

proptest! {
    /// Whatever the others hold: a partition with nothing under way has room, the
    /// total is passed by at most one batch each, and it counts what is there.
    #[test]
    fn no_partition_starves(steps in prop::collection::vec((0..4_usize, 0..40_usize, any::<bool>()), 0..300)) {
        let (total, accounts) = sharing(1000, 4);
        let mut under_way = [0; 4];
        for (at, count, reads) in steps {
            if reads {
                let records = read(&accounts[at], count);
                under_way[at] += records;
            } else {
                let records = count.min(under_way[at]);
                settle(&accounts[at], records);
                under_way[at] -= records;
            }
            for (account, under_way) in accounts.iter().zip(under_way) {
                prop_assert!(under_way > 0 || account.room() > 0);
                prop_assert_eq!(account.unsettled(), under_way);
            }
            let bytes = under_way.iter().sum::<usize>() * 10;
            prop_assert!(bytes <= 1000 + 4 * 390, "{bytes}");
            prop_assert!((bytes..bytes + 4 * total.portion().max(1)).contains(&total.bytes()));
        }
    }
}
#[test]
fn reading_stops_before_a_map_may_not_hold_what_is_settled() {
    let account = Account::new("t".into(), 0, 0, Buffer { records: 1_000_000, bytes: 1000 });
    account.set_span(ALWAYS_FIT - READ_AHEAD - 1);
    assert_eq!(account.room(), READ_AHEAD);
    account.set_span(ALWAYS_FIT - READ_AHEAD);
    assert_eq!(account.room(), 0);
}

#[test]
fn a_map_is_committed_with_its_own_position_only() {
    let account = Account::new("t".into(), 0, 5, Buffer { records: 10, bytes: 1000 });
    assert_eq!(account.to_commit(), Snapshot { position: 5, map: None });
    assert_eq!((account.ask(), account.ask()), (true, false));
    assert_eq!((account.take_asked(), account.take_asked()), (true, false));
    let snapshot = Snapshot { position: 6, map: Some("map".into()) };
    account.publish(snapshot.clone());
    account.set_position(8, 1);
    assert_eq!(account.to_commit(), snapshot);
    account.publish(Snapshot { position: 8, map: None });
    account.set_position(9, 0);
    assert_eq!(account.to_commit(), Snapshot { position: 9, map: None }, "without one, what is newest");
}

#[test]
fn reading_goes_no_further_ahead_of_the_worker_than_it_must() {
    let account = Account::new("t".into(), 0, 0, Buffer { records: 10_000, bytes: 1 << 30 });
    assert_eq!(account.room(), READ_AHEAD);
    account.add(READ_AHEAD, 1000);
    assert_eq!(
        (account.room(), account.is_full()),
        (0, false),
        "it waits for the worker, and for no record to be settled"
    );
    let woken = (0..READ_AHEAD).filter(|_| account.look_at()).collect::<Vec<_>>();
    assert_eq!(woken, [READ_AHEAD / 2 - 1], "once, when half of them have been looked at");
    assert_eq!(account.room(), READ_AHEAD);
}
