//! What the core asks for, held against what the model knows.

use super::*;
use crate::dispatch::breaker::Change;

impl World {
    pub fn pump(&mut self, may_call: bool) {
        while let Some(effect) = self.core.next(may_call) {
            match effect {
                Effect::Call(order) => self.begins(order),
                Effect::Publish(token, channel) => self.sends(token, channel),
                Effect::Observe(_, observation) => self.observes(&observation),
                Effect::Handled { .. } => panic!("successes are observed"),
                Effect::Drained(slot) => {
                    if let Some(held) = self.held(slot) {
                        assert!(held.draining, "nobody asked for it");
                        held.drained = true;
                    }
                    assert_eq!(self.under_way(slot), 0, "something is under way");
                }
            }
        }
    }

    fn begins(&mut self, order: CallOrder) {
        let (slot, offset) = (order.run.slot, order.envelope.record().offset());
        let held = self.held(slot).expect("a call for a partition that is gone");
        assert!(!held.draining, "a call for a partition that drains");
        let this = &held.records[&offset];
        for earlier in held.open.range(..offset) {
            assert!(!held.records[earlier].holds_up(this), "{offset} begins before {earlier} is settled");
        }
        let now = self.now.instant;
        let (circuit, probe) = (self.circuits[order.handler], order.probe);
        match circuit {
            Circuit::Closed => assert!(!probe, "a probe of a closed circuit"),
            Circuit::Open(until) => assert!(probe && until <= now, "a call while the circuit is open"),
            Circuit::HalfOpen => {
                let another =
                    self.calls.iter().find(|c| c.probe && c.handler == order.handler && self.holds(c.run.slot));
                assert!(probe && another.is_none(), "two calls while the circuit is half-open");
            }
        }
        let run = self.run(slot, offset, route_name(order.route)).unwrap();
        assert_eq!((run.stage, run.failures + 1), (Stage::Waiting, order.attempt));
        (run.stage, run.probe) = (Stage::Calling, probe);
        self.calls.push(order);
    }

    fn sends(&mut self, token: Token, channel: Channel) {
        let message = self.core.in_flight(token).expect("a message that is in flight").message.clone();
        let id = std::str::from_utf8(message.headers.last("outrigger-id").unwrap()).unwrap();
        let parts: Vec<&str> = id.split('/').collect();
        let (number, offset): (usize, i64) = (parts[2].parse().unwrap(), parts[3].parse().unwrap());
        let route = parts.get(4).copied().unwrap_or_default();
        let route = KINDS.iter().flat_map(|(_, routes)| *routes).find(|known| **known == route).unwrap();
        let held = self.parts[number].held.as_mut().expect("a message of a partition that is gone");
        let (slot, fenced) = (held.slot, held.fenced);
        assert_eq!(self.core.message(token).is_none(), fenced, "whether it is withheld");
        held.withheld += usize::from(fenced);
        let run = self.run(slot, offset, route).unwrap();
        let free = run.is_free();
        match (channel, &mut run.stage) {
            (Channel::Outputs, Stage::Publishing { .. }) | (Channel::DeadLetters, Stage::DeadLettering) => {}
            (Channel::DeadLetters, stage @ Stage::Failed) if !free => {
                *stage = Stage::DeadLettering;
                run.failures += 1;
            }
            (channel, stage) => panic!("{channel:?} of a run that is {stage:?}"),
        }
        assert!(self.sent.iter().all(|sent| sent.token != token), "it is on its way already");
        if !fenced {
            self.sent.push(Sent { token, channel, slot, offset, route });
        }
    }

    fn observes(&mut self, observation: &Observation) {
        let Observation { route, partition, offset, what, .. } = observation;
        if let What::Circuit { handler, change, .. } = what {
            let handler = self.plan.handlers.iter().position(|planned| planned.name == *handler).unwrap();
            self.happened.opened += usize::from(matches!(change, Change::Opened { .. }));
            self.happened.closed += usize::from(*change == Change::Closed);
            self.circuits[handler] = match change {
                Change::Opened { length, .. } => Circuit::Open(self.now.instant + *length),
                Change::HalfOpened => Circuit::HalfOpen,
                Change::Closed => Circuit::Closed,
            };
            return;
        }
        let part = &mut self.parts[*partition as usize];
        let held = part.held.as_mut().expect("an observation of a partition that is gone");
        let record = held.records.get_mut(offset).unwrap();
        let route = route.as_deref().unwrap_or_default();
        let may_drop = route == "second" || record.logged.kind == 5;
        let run = record.run(route).unwrap();
        let free = run.is_free();
        run.stage = match (what, run.stage) {
            (What::Handled { .. }, Stage::Done) | (What::DeadLettered { .. }, Stage::DeadLettered) => Stage::Settled,
            (What::Dropped { .. }, Stage::Failed) if may_drop && !free => Stage::Settled,
            (What::Retry { .. }, Stage::Failed) if !free => {
                self.happened.counted += usize::from(run.probe && run.class != FailureClass::Output);
                run.failures += 1;
                Stage::Waiting
            }
            (What::Probed { .. }, Stage::Failed) if free => {
                self.happened.free += 1;
                run.probed = true;
                Stage::Waiting
            }
            (what, stage) => panic!("{partition}/{offset} {route}: {what:?} of a run that is {stage:?}"),
        };
        if record.is_settled() {
            held.open.remove(offset);
            part.settled.insert(*offset);
        }
    }
}
