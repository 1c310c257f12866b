//! Policies of routes: what the route says, on top of the defaults, on top of
//! what is built in.

use std::collections::BTreeMap;
use std::time::Duration;

use super::topics::is_topic_name;
use super::{Check, HOUR, SECOND};
use crate::manifest::model;
use crate::manifest::raw::{self, NamedReaction, Policies};
use crate::manifest::read::{Field, Given, Place, Problem};
use crate::outcome::FailureClass;

/// Where dead letters go unless the manifest says otherwise.
pub(super) const DEAD_LETTER_TOPIC: &str = "{topic}.dlq";

/// The checked `defaults`.
#[derive(Debug)]
pub(super) struct Defaults<'a> {
    pub raw: Policies<'a>,
    pub retry: RetryParts,
    /// `None`: dead letters are switched off, and what follows is not said.
    pub dead_letter: Option<model::Exhausted>,
}

/// A retry policy before its parts are held against each other.
#[derive(Clone, Copy, Debug)]
pub(super) struct RetryParts {
    strategy: raw::Strategy,
    max_retries: u32,
    initial_delay: Duration,
    multiplier: f64,
    max_delay: Duration,
    jitter: f64,
}

impl RetryParts {
    const BUILT_IN: RetryParts = RetryParts {
        strategy: raw::Strategy::Exponential,
        max_retries: 5,
        initial_delay: SECOND,
        multiplier: 2.0,
        max_delay: Duration::from_secs(60),
        jitter: 0.2,
    };

    fn checked(self) -> model::Retry {
        let strategy = match self.strategy {
            raw::Strategy::Exponential => model::Strategy::Exponential(self.multiplier),
            raw::Strategy::Linear => model::Strategy::Linear,
            raw::Strategy::Fixed => model::Strategy::Fixed,
            raw::Strategy::None => model::Strategy::None,
        };
        let max_retries = if strategy == model::Strategy::None { 0 } else { self.max_retries };
        let RetryParts { initial_delay, max_delay, jitter, .. } = self;
        model::Retry { strategy, max_retries, initial_delay, max_delay, jitter }
    }
}

impl<'a> Check<'a> {
    pub fn defaults<'r>(self, raw: Policies<'r>) -> Defaults<'r> {
        let retry = self.retry(RetryParts::BUILT_IN, raw.retry);
        // For what it reports: the routes merge the reactions themselves.
        self.on_failure(raw.on_failure, &Field::Absent, retry);
        let dead_letter = self.dead_letter(raw, None);
        if let Some(output) = raw.output.given() {
            self.topic_name(&output.value, output.shown(), output.at);
        }
        Defaults { raw, retry, dead_letter }
    }

    /// The retry policy of one layer on top of another.
    pub fn retry(self, below: RetryParts, field: &Field<raw::Retry>) -> RetryParts {
        let Some(given) = field.given() else { return below };
        let (raw, millisecond) = (&given.value, Duration::from_millis(1));
        let parts = RetryParts {
            strategy: raw.strategy.value().copied().unwrap_or(below.strategy),
            max_retries: self.count(&raw.max_retries, below.max_retries as usize, 0..=1000) as u32,
            initial_delay: self.duration(&raw.initial_delay, below.initial_delay, millisecond..=HOUR),
            multiplier: self.number(&raw.multiplier, 1.0..=100.0).unwrap_or(below.multiplier),
            max_delay: self.duration(&raw.max_delay, below.max_delay, millisecond..=24 * HOUR),
            jitter: self.number(&raw.jitter, 0.0..=1.0).unwrap_or(below.jitter),
        };
        if parts.initial_delay > parts.max_delay {
            let at = raw.max_delay.given().or(raw.initial_delay.given()).map_or(given.at, |delay| delay.at);
            let message = "`initialDelay` (1s by default) is longer than `maxDelay` (60s by default)";
            self.problems.error(at, message, "set both, the longer one as maxDelay");
        }
        if let (Some(multiplier), Some(strategy)) = (raw.multiplier.given(), raw.strategy.value())
            && *strategy != raw::Strategy::Exponential
        {
            let message = "`multiplier` has a meaning only with `strategy: exponential`";
            self.problems.add(Problem::warning(multiplier.at, message).help("remove it"));
        }
        parts
    }

    /// What follows each class of failure of a handler.
    pub fn on_failure(
        self,
        own: &Field<raw::OnFailure>,
        below: &Field<raw::OnFailure>,
        retry: RetryParts,
    ) -> BTreeMap<FailureClass, model::OnFailure> {
        let none = raw::OnFailure::default();
        let (own, below) = (own.value().unwrap_or(&none), below.value().unwrap_or(&none));
        let reactions = [
            (FailureClass::Rejected, own.rejected.or(&below.rejected)),
            (FailureClass::Failed, own.failed.or(&below.failed)),
            (FailureClass::Dependency, own.dependency.or(&below.dependency)),
            (FailureClass::Trap, own.trap.or(&below.trap)),
            (FailureClass::Timeout, own.timeout.or(&below.timeout)),
            (FailureClass::Budget, own.budget.or(&below.budget)),
            (FailureClass::Output, own.output.or(&below.output)),
        ];
        reactions.into_iter().map(|(class, reaction)| (class, self.reaction(class, reaction, retry))).collect()
    }

    fn reaction(self, class: FailureClass, field: &Field<raw::Reaction>, retry: RetryParts) -> model::OnFailure {
        // What a handler says is wrong with an event does not change by waiting.
        let unless_said = match class {
            FailureClass::Rejected => NamedReaction::DeadLetter,
            _ => NamedReaction::Retry,
        };
        match field.given() {
            None => named(unless_said, retry),
            Some(Given { value: raw::Reaction::Named(reaction), .. }) => named(*reaction, retry),
            Some(Given { value: raw::Reaction::Retry(own), key, .. }) => {
                self.require(&own.retry, "retry", *key, "write `retry: { maxRetries: 50 }`, or `retry` alone");
                model::OnFailure::Retry(self.retry(retry, &own.retry).checked())
            }
        }
    }

    /// Where a route's records go that are given up; `None`: it is not said, or wrong.
    pub fn dead_letter(self, own: Policies<'_>, defaults: Option<&Defaults<'_>>) -> Option<model::Exhausted> {
        let inherited = match defaults {
            Some(defaults) => defaults.dead_letter.clone(),
            None => {
                let topic = DEAD_LETTER_TOPIC.to_owned();
                Some(model::Exhausted::DeadLetter(model::DeadLetter { topic, omit_large_values: false }))
            }
        };
        let exhausted = own.exhausted.given();
        match own.dead_letter {
            Field::Broken => None,
            Field::Absent => match (exhausted, inherited) {
                (None, inherited) => inherited,
                (Some(exhausted), Some(model::Exhausted::DeadLetter(_))) => self.useless(exhausted),
                (Some(exhausted), _) => Some(exhausted.value.into()),
            },
            Field::Given(Given { value: raw::DeadLetter::Off(off), at, .. }) => {
                if *off {
                    let help = "write a topic, `{ topic: \"{topic}.dlq\" }`, or `false`";
                    self.problems.error(*at, "`true` does not say where dead letters go", help);
                    return None;
                }
                let below = defaults.map(|defaults| defaults.raw.exhausted);
                let exhausted = exhausted.or(below.and_then(Field::given));
                if exhausted.is_none() && own.exhausted.is_absent() {
                    let message = "`deadLetter: false` does not say what follows instead";
                    let help =
                        "add `exhausted: drop` (settled and counted) or `exhausted: hold` (tried again for ever)";
                    self.problems.error(*at, message, help);
                }
                exhausted.map(|exhausted| exhausted.value.into())
            }
            Field::Given(Given { value: raw::DeadLetter::Topic(table), .. }) => {
                if let Some(exhausted) = exhausted {
                    self.useless(exhausted);
                }
                let below = match inherited {
                    Some(model::Exhausted::DeadLetter(below)) => below,
                    _ => model::DeadLetter { topic: DEAD_LETTER_TOPIC.to_owned(), omit_large_values: false },
                };
                let topic = match table.topic.given() {
                    Some(given) => self.dead_letter_topic(given)?,
                    None => below.topic,
                };
                let omit_large_values = table.omit_large_values.value().copied().unwrap_or(below.omit_large_values);
                Some(model::Exhausted::DeadLetter(model::DeadLetter { topic, omit_large_values }))
            }
        }
    }

    fn useless(self, exhausted: &Given<raw::Exhausted>) -> Option<model::Exhausted> {
        let message = "`exhausted` has a meaning only where there is no dead letter";
        self.problems.error(exhausted.key, message, "remove it, or add `deadLetter: false`");
        None
    }

    fn dead_letter_topic(self, given: &Given<String>) -> Option<String> {
        let template = given.value.as_str();
        let once = template.matches("{topic}").count() <= 1;
        if once && is_topic_name(&template.replace("{topic}", "t")) {
            return Some(template.to_owned());
        }
        let message = format!("`{}` is not a topic for dead letters", given.shown());
        let help = "write a topic's name, with `{topic}` at most once for the record's topic: \"{topic}.dlq\"";
        self.problems.error(given.at, message, help);
        None
    }

    /// What becomes of records that no handler sees.
    pub fn unhandled(
        self,
        field: &Field<raw::Unhandled>,
        key: &str,
        root: Place,
        defaults: &Defaults<'_>,
    ) -> model::Unhandled {
        match (field.value(), &defaults.dead_letter) {
            (Some(raw::Unhandled::Drop), _) => model::Unhandled::Drop,
            (_, Some(model::Exhausted::DeadLetter(dead_letter))) => model::Unhandled::DeadLetter(dead_letter.clone()),
            (_, switched_off) => {
                // Where the defaults are wrong, that is reported already.
                if switched_off.is_some() && !matches!(field, Field::Broken) {
                    let off = defaults.raw.dead_letter.given().map_or(root, |given| given.at);
                    let at = field.given().map_or(off, |given| given.at);
                    let message = format!("`{key}: deadLetter` has no topic, because `defaults.deadLetter` is false");
                    self.problems.error(
                        at,
                        message,
                        format!("write `{key}: drop`, or switch dead letters off per route"),
                    );
                }
                model::Unhandled::Drop
            }
        }
    }
}

fn named(reaction: NamedReaction, retry: RetryParts) -> model::OnFailure {
    match reaction {
        NamedReaction::DeadLetter => model::OnFailure::DeadLetter,
        NamedReaction::Drop => model::OnFailure::Drop,
        NamedReaction::Retry => model::OnFailure::Retry(retry.checked()),
    }
}

impl From<raw::Exhausted> for model::Exhausted {
    fn from(raw: raw::Exhausted) -> Self {
        match raw {
            raw::Exhausted::Drop => model::Exhausted::Drop,
            raw::Exhausted::Hold => model::Exhausted::Hold,
        }
    }
}
