//! One attempt at one event.

use std::borrow::Cow;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::bindings::{Answer, DeliveryParam, EventParam, HeaderParam};
use super::drive::{End, drive};
use super::instance::Instance;
use super::load::Module;
use super::pool::Pool;
use super::{classify, outputs};
use crate::envelope::Envelope;
use crate::outcome::Outcome;

/// What an attempt is made at.
#[derive(Clone, Debug)]
pub struct Call {
    /// The record and its event.
    pub envelope: Rc<Envelope>,
    /// The route that took the event.
    pub route: Arc<str>,
    /// The record's topic.
    pub topic: Arc<str>,
    /// The record's partition.
    pub partition: i32,
    /// 1 for the first attempt.
    pub attempt: u32,
    /// The generation that it is made on, for the guest's log lines.
    pub generation: u64,
    /// Set when the partition is taken away: the call ends as `Fenced` at the
    /// guest's next tick, or at [`interrupt`](super::Engine::interrupt). A guest
    /// that waits in the host does not see it: drop the future.
    pub fence: Arc<AtomicBool>,
}

/// How an attempt went.
#[derive(Debug)]
pub struct Report {
    /// How it ended.
    pub outcome: Outcome,
    /// From its beginning to its end, waiting included.
    pub duration: Duration,
    /// CPU time that was charged to it. Zero for most calls shorter than a
    /// millisecond, which are not measured.
    pub cpu: Duration,
}

pub(super) async fn run(pool: Rc<Pool>, call: Call) -> Report {
    let started = Instant::now();
    let (outcome, cpu) = attempt(&pool, call, started).await;
    Report { outcome, duration: started.elapsed(), cpu }
}

async fn attempt(pool: &Pool, call: Call, started: Instant) -> (Outcome, Duration) {
    let module = pool.module();
    let limits = module.limits();
    if call.fence.load(Ordering::Relaxed) {
        return (Outcome::Fenced, Duration::ZERO);
    }
    let size = input_size(&call);
    if size > limits.input {
        return (classify::input_too_large(size, limits), Duration::ZERO);
    }
    if pool.in_flight() >= module.concurrency() {
        return (Outcome::Busy, Duration::ZERO);
    }
    let _beat = pool.clock().pulse().begin();
    let mut instance = pool.take();
    let deadline = started + limits.timeout;
    instance.begin(Arc::clone(&call.fence), &call.route, call.generation, deadline);
    let meter = Arc::clone(&instance.meter);
    let end = drive(invoke(&mut instance, module, &call), &meter, pool.clock(), started, deadline).await;
    instance.log.end();
    let outcome = match end {
        End::Done(Ok(answer)) => {
            let exceeded = instance.exceeded();
            pool.put_back(instance, Instant::now());
            match (exceeded, answer) {
                // Whatever the handler made of it.
                (Some(budget), _) => classify::http_exceeded(budget, limits),
                (None, Ok(returned)) => {
                    outputs::check(returned, limits).map_or_else(classify::bad_output, Outcome::Handled)
                }
                (None, Err(failure)) => classify::of_answer(failure),
            }
        }
        // From here on the instance is dropped: what its memory holds is unknown.
        End::Done(Err(error)) => {
            let stderr = || instance.log.tail();
            classify::of_error(&error, &instance.circumstances(module, &stderr))
        }
        // Whatever the handler waited for after it was told.
        End::TimedOut => instance
            .exceeded()
            .map_or_else(|| classify::timed_out(limits), |budget| classify::http_exceeded(budget, limits)),
        End::Panicked(message) => {
            tracing::error!(handler = &**module.name(), message, "the host panicked during a call");
            classify::panicked(&message)
        }
    };
    (outcome, meter.used())
}

async fn invoke(instance: &mut Instance, module: &Module, call: &Call) -> wasmtime::Result<Answer> {
    let envelope = &*call.envelope;
    let record = envelope.record();
    // Two allocations, and none for an event without extensions or headers.
    let extensions: Vec<(&str, &str)> = envelope.extensions().collect();
    // A header name that is not UTF-8 reaches the guest with replacement
    // characters: it is visible, and the record itself keeps the bytes.
    let names: Vec<(Cow<'_, str>, Option<&[u8]>)> =
        envelope.headers().map(|(name, value)| (String::from_utf8_lossy(name), value)).collect();
    let headers: Vec<HeaderParam<'_>> = names.iter().map(|(name, value)| HeaderParam { name, value: *value }).collect();
    let event = EventParam {
        id: envelope.id(),
        source: envelope.source(),
        ty: envelope.ty(),
        subject: envelope.subject(),
        time: envelope.time(),
        datacontenttype: envelope.datacontenttype(),
        dataschema: envelope.dataschema(),
        extensions: &extensions,
        data: envelope.data(),
    };
    let delivery = DeliveryParam {
        route: &call.route,
        topic: &call.topic,
        partition: call.partition,
        offset: record.offset(),
        timestamp_ms: record.timestamp_ms(),
        key: record.key(),
        headers: &headers,
        attempt: call.attempt,
    };
    instance.call(module, event, delivery).await
}

/// Bytes that the call copies into the guest, at most.
fn input_size(call: &Call) -> usize {
    let envelope = &*call.envelope;
    envelope.event_size()
        + call.route.len()
        + call.topic.len()
        + envelope.record().key().map_or(0, <[u8]>::len)
        + envelope.extensions().count() * ITEM
        + envelope.headers().map(|(name, value)| ITEM + shown(name) + value.map_or(0, <[u8]>::len)).sum::<usize>()
}

/// Bytes that an extension or a header takes beside its name and its value, in the host and
/// in the guest: half a million of empty ones fit into a record of a megabyte.
const ITEM: usize = 32;

/// Bytes of a name as it reaches the guest: each that is no text may become three.
fn shown(name: &[u8]) -> usize {
    if std::str::from_utf8(name).is_ok() { name.len() } else { 3 * name.len() }
}
