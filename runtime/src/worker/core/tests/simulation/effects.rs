//! What the core asks for, held against what the model knows.

use super::reload::handler_index;
use super::*;
use crate::dispatch::breaker::Change;
use crate::manifest::Unhandled;
use crate::settle::Decision;

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
        let planned = &self.plan.handlers[order.handler];
        let (circuit, probe) = (self.circuits[handler_index(&planned.name)], order.probe);
        match circuit {
            Circuit::Closed => assert!(!probe, "a probe of a closed circuit"),
            Circuit::Open(until) => assert!(probe && until <= now, "a call while the circuit is open"),
            Circuit::HalfOpen => {
                let same = |c: &&Calling| c.handler.name == planned.name && c.handler.since == planned.since;
                let another = self.calls.iter().filter(same).find(|c| c.probe && self.holds(c.run.slot));
                assert!(probe && another.is_none(), "two calls while the circuit is half-open");
            }
        }
        let plan = self.plan.clone();
        let route = known_route(&plan.manifest.routes[order.route].name);
        assert_eq!(plan.handler_of[order.route], order.handler, "the handler that the route has now");
        let run = self.run(slot, offset, route).expect("a route that took the record");
        assert_eq!((run.stage, run.failures + 1), (Stage::Waiting, order.attempt));
        (run.stage, run.probe, run.plan) = (Stage::Calling, probe, Some(plan.clone()));
        self.calls.push(Calling { route, handler: plan.handlers[order.handler].clone(), order });
    }

    fn sends(&mut self, token: Token, channel: Channel) {
        let message = self.core.in_flight(token).expect("a message that is in flight").message.clone();
        let id = std::str::from_utf8(message.headers.last("outrigger-id").unwrap()).unwrap();
        let parts: Vec<&str> = id.split('/').collect();
        let (number, offset): (usize, i64) = (parts[2].parse().unwrap(), parts[3].parse().unwrap());
        let route = parts.get(4).copied().unwrap_or_default();
        let route = known_route(route);
        let (current, gone) = (self.plan.clone(), self.plan.route(route).is_none());
        let held = self.parts[number].held.as_mut().expect("a message of a partition that is gone");
        let (slot, fenced) = (held.slot, held.fenced);
        assert_eq!(self.core.message(token).is_none(), fenced, "whether it is withheld");
        held.withheld += usize::from(fenced);
        let run = self.run(slot, offset, route).unwrap();
        let free = run.is_free();
        match (channel, &mut run.stage) {
            (Channel::Outputs, Stage::Publishing { .. }) | (Channel::DeadLetters, Stage::DeadLettering) => {}
            (Channel::DeadLetters, Stage::Failed) if route.is_empty() => {
                assert!(matches!(current.manifest.unmatched, Unhandled::DeadLetter(_)));
                run.stage = Stage::DeadLettering;
            }
            (Channel::DeadLetters, Stage::Failed) if !free => {
                let decision = run.decision(route);
                let Decision::DeadLetter(to) = &decision else { panic!("a dead letter against {decision:?}") };
                assert_eq!(*message.topic, to.topic_for("t"), "the topic of the attempt's generation");
                run.stage = Stage::DeadLettering;
                run.failures += 1;
            }
            // Its route is gone.
            (Channel::DeadLetters, Stage::Waiting) if gone => {
                assert!(matches!(current.manifest.unmatched, Unhandled::DeadLetter(_)));
                assert_eq!(message.headers.last("outrigger-failure-class"), Some(&b"unrouted"[..]));
                run.stage = Stage::DeadLettering;
                self.happened.stranded += 1;
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
            let handler = handler_index(handler);
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
        let unhandled = match record.logged.kind {
            5 => &self.plan.manifest.undecodable,
            _ => &self.plan.manifest.unmatched,
        };
        let gone = self.plan.route(route).is_none();
        let run = record.run(route).unwrap();
        let free = run.is_free();
        if let Some(plan) =
            run.plan.as_ref().filter(|_| run.stage != Stage::Waiting && run.stage != Stage::DeadLettered)
        {
            assert_eq!(observation.generation, plan.generation, "the generation of the attempt");
        }
        run.stage = match (what, run.stage) {
            (What::Handled { .. }, Stage::Done) | (What::DeadLettered { .. }, Stage::DeadLettered) => Stage::Settled,
            (What::Dropped { .. }, Stage::Failed) if route.is_empty() && *unhandled == Unhandled::Drop => {
                Stage::Settled
            }
            (What::Dropped { .. }, Stage::Failed) if !free && run.decision(route) == Decision::Drop => Stage::Settled,
            (What::Dropped { class: FailureClass::Unrouted, .. }, Stage::Waiting)
                if gone && *unhandled == Unhandled::Drop =>
            {
                self.happened.stranded += 1;
                Stage::Settled
            }
            (What::Retry { .. }, Stage::Failed) if !free && matches!(run.decision(route), Decision::Retry(_)) => {
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
