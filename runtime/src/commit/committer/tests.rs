//! The committer before brokers that refuse, cut and do not answer.

use std::sync::Mutex;
use std::time::Duration;

use super::*;

const SOON: Duration = Duration::from_secs(30);

fn positions(offsets: &[i64]) -> Vec<Position> {
    let position =
        |(partition, &offset)| Position { topic: "t".into(), partition, offset, metadata: Metadata::default() };
    (0..).zip(offsets).map(position).collect()
}

/// A committer whose broker refuses partition 1, and what was asked of that broker.
fn refusing() -> (Committer, Arc<Mutex<Vec<Vec<i64>>>>) {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let asking = asked.clone();
    let commit = move |positions: &[Position]| {
        asking.lock().unwrap().push(positions.iter().map(|p| p.offset).collect());
        match positions.iter().any(|p| p.partition == 1) {
            true => Err(KafkaError::ConsumerCommit(RDKafkaErrorCode::UnknownMemberId)),
            false => Ok(()),
        }
    };
    (Committer::with(commit, Metrics::new().unwrap()).unwrap(), asked)
}

#[test]
fn one_partitions_error_is_its_own() {
    let (mut committer, asked) = refusing();
    let answer = committer.commit_by(positions(&[10, 20, 30]), Instant::now() + SOON).unwrap();
    assert_eq!(answer.committed.iter().map(|p| p.offset).collect::<Vec<_>>(), [10, 30]);
    assert_eq!(answer.failed.iter().map(|(p, _)| p.offset).collect::<Vec<_>>(), [20]);
    assert_eq!(*asked.lock().unwrap(), [vec![10, 20, 30], vec![10], vec![20], vec![30]]);
}

#[test]
fn what_is_too_large_beside_a_position_is_left_out() {
    let commit = |positions: &[Position]| match positions.iter().any(|p| p.metadata.to_string().len() > 19) {
        true => Err(KafkaError::ConsumerCommit(RDKafkaErrorCode::OffsetMetadataTooLarge)),
        false => Ok(()),
    };
    let mut committer = Committer::with(commit, Metrics::new().unwrap()).unwrap();
    let mut positions = positions(&[10, 20]);
    positions[0].metadata = Metadata { began_ms: Some(12), map: Some("long".into()) };
    positions[1].metadata.began_ms = Some(1);
    let answer = committer.commit_by(positions, Instant::now() + SOON).unwrap();
    let committed: Vec<_> = answer.committed.iter().map(|p| (p.offset, p.metadata.to_string())).collect();
    let expected = vec![(10, String::new()), (20, "outrigger/1 began=1".to_owned())];
    assert_eq!((committed, answer.failed.len()), (expected, 0));
}

#[test]
fn only_what_differs_is_committed() {
    let (mut committer, asked) = refusing();
    committer.learn("t".into(), 0, Some((10, Metadata::default())));
    for offset in [10, -1] {
        let answer = committer.commit_by(positions(&[offset]), Instant::now() + SOON).unwrap();
        assert!(answer.committed.is_empty() && answer.failed.is_empty());
    }
    committer.commit_by(positions(&[11]), Instant::now() + SOON).unwrap();
    committer.commit_by(positions(&[11]), Instant::now() + SOON).unwrap();
    committer.learn("t".into(), 0, None);
    committer.commit_by(positions(&[11]), Instant::now() + SOON).unwrap();
    assert!(committer.start(positions(&[11]), true));
    committer.wait(Instant::now() + SOON).unwrap();
    assert_eq!(*asked.lock().unwrap(), [[11], [11], [11]]);
}

#[test]
fn a_map_that_is_too_large_is_left_out_and_the_next_ones_are_shorter() {
    let stored = Arc::new(Mutex::new(Vec::new()));
    let storing = stored.clone();
    let commit = move |positions: &[Position]| {
        let metadata: Vec<String> = positions.iter().map(|p| p.metadata.to_string()).collect();
        if metadata.iter().any(|metadata| metadata.len() > 300) {
            return Err(KafkaError::ConsumerCommit(RDKafkaErrorCode::OffsetMetadataTooLarge));
        }
        storing.lock().unwrap().extend(metadata);
        Ok(())
    };
    let mut committer = Committer::with(commit, Metrics::new().unwrap()).unwrap();
    let mut rounds = 0;
    while stored.lock().unwrap().iter().all(|metadata: &String| !metadata.contains("map")) {
        let map = Some("x".repeat(committer.map_limit()).into());
        let mut positions = positions(&[10, 20]);
        positions[1].metadata = Metadata { began_ms: Some(1), map };
        let answer = committer.commit_by(positions, Instant::now() + SOON).unwrap();
        assert_eq!((answer.failed.len(), committer.committed(&"t".into(), 1)), (0, Some(20)));
        rounds += 1;
    }
    assert_eq!(rounds, 5, "4096, and half of what was refused each time");
    assert_eq!(stored.lock().unwrap()[1], "outrigger/1 began=1", "the position does not wait for it");
}

#[test]
fn nothing_new_is_committed_once_nobody_waits() {
    let (begun, has_begun) = sync_channel(10);
    let (answer, answers) = sync_channel::<()>(10);
    let commit = move |positions: &[Position]| {
        begun.send(positions.len()).unwrap();
        _ = answers.recv();
        Err(KafkaError::ConsumerCommit(RDKafkaErrorCode::RebalanceInProgress))
    };
    let mut committer = Committer::with(commit, Metrics::new().unwrap()).unwrap();
    assert!(committer.start(positions(&[10, 20]), false));
    assert_eq!(has_begun.recv(), Ok(2));
    // A revoke waits for it in vain and gives the partitions back.
    assert_eq!(committer.commit_by(positions(&[11]), Instant::now()).unwrap_err(), Unanswered);
    answer.send(()).unwrap();
    let answer = committer.wait(Instant::now() + SOON).unwrap();
    assert_eq!((answer.failed.len(), has_begun.try_recv().is_err()), (2, true), "it does not name them again");
}
