//! The worker's thread with guests that count what is asked of them.

use std::future::Future;
use std::pin::Pin;
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};

use super::*;
use crate::invoke::{Call, Report};
use crate::logging::KafkaLog;
use crate::metrics::Metrics;
use crate::probes::Health;
use crate::worker::core::MESSAGE_BYTES;
use crate::worker::core::tests::rig::plan;
use crate::worker::report::Troubles;

/// Says when it is to let go of what is not used.
struct Trimmed(SyncSender<()>);

impl Guest for Trimmed {
    fn call(&self, _: Call) -> Pin<Box<dyn Future<Output = Report>>> {
        unreachable!("there is no event")
    }

    fn trim(&self, _: Instant) {
        // Nobody may listen any more.
        _ = self.0.try_send(());
    }
}

#[test]
fn guests_are_trimmed_however_often_a_worker_is_woken_and_the_first_generation_is_let_go() {
    let (plan, metrics, health) = (plan(), Metrics::new().unwrap(), Health::new());
    let (trims, trimmed) = sync_channel(64);
    let guests = Arc::new(move |_| Rc::new(Trimmed(trims.clone())) as Rc<dyn Guest>);
    let generation = Arc::new(Built { plan: plan.clone(), guests });
    let of_worker = Arc::downgrade(&generation);
    let inboxes: Arc<[Inbox]> = [Inbox::default()].into();
    let log = Arc::new(KafkaLog::default());
    let publisher = Publisher::new(&plan.manifest.kafka, inboxes.clone(), metrics.clone(), log).unwrap();
    #[allow(clippy::disallowed_methods, reason = "as many commands as this test sends")]
    let (commands, receiver) = mpsc::unbounded_channel();
    let of_core = plan.clone();
    let parts = Parts {
        number: 0,
        core: Box::new(move |now| Core::new(of_core, "group".into(), false, MESSAGE_BYTES, 1, now)),
        generation,
        publisher: Arc::new(publisher),
        inboxes,
        commands: receiver,
        reporter: Reporter::new(0, &plan, &metrics, Troubles::new(health.clone(), 1), None, Instant::now()),
        heart: health.watch("worker-0", Duration::from_secs(60)),
        wake_reader: std::thread::current(),
    };
    let worker = std::thread::spawn(move || run(parts));
    // Woken twenty times a second, it has no quiet second.
    let (until, mut count) = (Instant::now() + Duration::from_secs(20), 0);
    while count < 2 * plan.handlers.len() {
        assert!(Instant::now() < until, "{count} times");
        match trimmed.recv_timeout(Duration::from_millis(50)) {
            Ok(()) => count += 1,
            Err(RecvTimeoutError::Timeout) => commands.send(Command::Snapshot).unwrap(),
            Err(RecvTimeoutError::Disconnected) => panic!("the worker ended"),
        }
    }
    assert!(of_worker.upgrade().is_none(), "whatever is current, its modules stay loaded");
    commands.send(Command::Stop).unwrap();
    worker.join().unwrap().unwrap();
}
