//! What a step does to the core: records, outcomes, acknowledgements, time, and the ends of partitions.

use super::*;

impl World {
    pub fn deliver(&mut self, number: usize) {
        let part = &mut self.parts[number];
        let Some(held) = part.held.as_mut().filter(|held| !held.draining) else { return };
        for _ in 0..self.rng.usize(1..4) {
            let Some(&logged) = part.log.get(held.next) else { return };
            held.next += 1;
            let (ty, _) = KINDS[logged.kind];
            let routes = super::reload::routes_of(&self.plan, logged.kind);
            let stage = match ty.is_some() && !routes[0].is_empty() {
                _ if held.known.settled.contains(&logged.offset) => Stage::Settled,
                true => Stage::Waiting,
                false => Stage::Failed,
            };
            let failures = |route| held.known.failures.get(&(logged.offset, route)).copied().unwrap_or_default();
            let runs = routes.iter().map(|&route| (route, Run::new(stage, failures(route)))).collect();
            if stage != Stage::Settled {
                held.open.insert(logged.offset);
            }
            held.records.insert(logged.offset, Delivered { logged, runs });
            let record = record(logged.offset, logged.key, ty);
            held.account.add(1, record.size());
            self.core.deliver(held.slot, record).unwrap();
        }
    }

    pub fn end_a_call(&mut self, well: bool) {
        if self.calls.is_empty() {
            return;
        }
        let call = self.calls.swap_remove(self.rng.usize(..self.calls.len()));
        let outputs = self.rng.usize(..4);
        let (outcome, stage) = match self.rng.u32(..12) {
            _ if well => (handled(0), Stage::Done),
            draw if self.down[super::reload::handler_index(&call.handler.name)] && draw < 10 => (
                failed([FailureClass::Dependency, FailureClass::Timeout, FailureClass::Trap][draw as usize % 3]),
                Stage::Failed,
            ),
            0..5 if outputs == 0 => (handled(0), Stage::Done),
            0..5 => (handled(outputs), Stage::Publishing { left: outputs, refused: false }),
            5 => {
                let Outcome::Handled(mut outputs) = handled(2) else { unreachable!() };
                outputs[1].topic = Some("forbidden".into());
                (Outcome::Handled(outputs), Stage::Failed)
            }
            6..8 => (failed(FailureClass::Failed), Stage::Failed),
            8 => (failed(FailureClass::Rejected), Stage::Failed),
            9 => (failed(FailureClass::Dependency), Stage::Failed),
            10 => (Outcome::Busy, Stage::Waiting),
            _ if self.is_going(call.run.slot) => (Outcome::Fenced, Stage::Waiting),
            _ => (failed(FailureClass::Trap), Stage::Failed),
        };
        if let Some(run) = self.run(call.run.slot, call.envelope.record().offset(), call.route) {
            assert_eq!(run.stage, Stage::Calling);
            run.stage = stage;
            run.class = match &outcome {
                Outcome::Failed(failure) => failure.class,
                // If it comes to a failure, of what was to be published.
                _ => FailureClass::Output,
            };
        }
        let duration = Duration::from_millis(self.rng.u64(..100));
        self.core.called(call.run, outcome, duration);
    }

    pub fn answer_a_message(&mut self, well: bool) {
        if self.sent.is_empty() {
            return;
        }
        let Sent { token, channel, slot, offset, route } = self.sent.swap_remove(self.rng.usize(..self.sent.len()));
        let ack = match self.rng.u32(..10) {
            0..6 => Ack::Written,
            _ if well => Ack::Written,
            6 => Ack::Unknown("timed out".into()),
            7 => Ack::BatchTooLarge,
            8 => Ack::TooLarge("too large".into()),
            _ => Ack::Refused("no such topic".into()),
        };
        if let Some(run) = self.run(slot, offset, route) {
            match (&mut run.stage, &ack) {
                (stage @ Stage::DeadLettering, Ack::Written) => *stage = Stage::DeadLettered,
                (Stage::DeadLettering, _) | (Stage::Publishing { .. }, Ack::Unknown(_) | Ack::BatchTooLarge) => {}
                (Stage::Publishing { left, refused }, ack) => {
                    *left -= 1;
                    *refused |= *ack != Ack::Written;
                    if *left == 0 {
                        run.stage = if *refused { Stage::Failed } else { Stage::Done };
                    }
                }
                (stage, _) => panic!("{channel:?} of a run that is {stage:?}"),
            }
        }
        self.core.acknowledged(token, ack);
    }

    pub fn pass(&mut self, by: Duration) {
        self.now.instant += by;
        self.now.wall += by;
        self.core.advance(self.now);
    }

    pub fn drain(&mut self, number: usize) {
        if let Some(held) = &mut self.parts[number].held
            && !held.draining
        {
            held.draining = true;
            self.core.drain(held.slot);
        }
    }

    /// The polling thread has lost the partition; the worker has not been told yet.
    pub fn fence(&mut self, number: usize) {
        if let Some(held) = &mut self.parts[number].held {
            held.account.fence.store(true, std::sync::atomic::Ordering::Release);
            held.fenced = true;
        }
    }
}
