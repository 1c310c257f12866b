//! What is measured: two jobs, each done by several contenders.

use clap::ValueEnum;

/// What is done with the events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Job {
    /// Read all, do nothing with them, commit.
    Consume,
    /// Read all, transform half, publish those with acks=all, commit.
    Transform,
}

/// Who does it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Contender {
    /// One thread that polls and throws away: what librdkafka itself costs.
    Poll,
    /// One thread that polls, decodes, transforms natively, publishes, commits: what a person would write by hand.
    Bare,
    /// Outrigger with a native function in place of the guest.
    Native,
    /// Outrigger with a handler in Rust, on warm instances.
    Handler,
}

impl Job {
    /// Both.
    pub const ALL: [Job; 2] = [Job::Consume, Job::Transform];

    /// For people.
    pub fn title(self) -> &'static str {
        match self {
            Job::Consume => "consume only",
            Job::Transform => "transform half, output acks=all, commit",
        }
    }

    /// Who does it.
    pub fn contenders(self) -> &'static [Contender] {
        match self {
            Job::Consume => &[Contender::Poll, Contender::Bare, Contender::Native, Contender::Handler],
            Job::Transform => &[Contender::Bare, Contender::Native, Contender::Handler],
        }
    }

    /// How many of so many events yield an output.
    pub fn outputs(self, events: u64) -> u64 {
        match self {
            Job::Consume => 0,
            // Those with an even number, from 0.
            Job::Transform => events.div_ceil(2),
        }
    }
}

impl Contender {
    /// For people.
    pub fn title(self) -> &'static str {
        match self {
            Contender::Poll => "rdkafka, poll only",
            Contender::Bare => "rdkafka loop",
            Contender::Native => "outrigger, native function",
            Contender::Handler => "outrigger, Rust handler",
        }
    }
}
