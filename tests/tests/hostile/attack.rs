//! The attacks that calls make, and how each is to end.

use std::path::PathBuf;
use std::time::Duration;

use outrigger_tests::{Manner, Server};

use crate::modules::Modules;

/// One attack: a handler of its own, and events for it.
#[derive(Clone, Copy)]
pub struct Attack {
    /// Of its handler, its route and its events' type.
    pub name: &'static str,
    /// In the table.
    pub what: &'static str,
    /// Which module.
    module: fn(&Modules) -> PathBuf,
    /// What the guest is told, beside how long.
    pub order: &'static str,
    /// Of the handler, in the manifest.
    settings: &'static str,
    /// Events in a second of the attack.
    pub rate: u32,
    /// Different keys.
    pub keys: u32,
    /// Calls that must have been under way at once for the attack to have happened. Where
    /// they are many, just so many events are sent, and the attack goes on as long as one
    /// of the calls.
    pub at_once: usize,
    /// How its calls end.
    pub end: End,
    /// What the server does that it is granted; most are granted none.
    pub server: Option<Manner>,
}

/// How the calls of an attack end.
#[derive(Clone, Copy, Debug)]
pub enum End {
    /// As a dead letter of this class, whose reason has this in it.
    Failed(&'static str, &'static str),
    /// As a dead letter of the class `timeout`, once it was under way for so long.
    TimedOut(Duration),
    /// Well: it takes what it may have and no more.
    Handled,
    /// Well, and what it wrote is swallowed.
    Swallowed,
}

/// Rows that fail at once have less: the broker that writes their dead letters shares the
/// machine with the neighbour.
const QUICK: u32 = 600;

/// Enough for calls that take long: there are always more than can be under way.
const LONG: u32 = 100;

/// All of them.
pub fn all() -> Vec<Attack> {
    let attack = |name, what, order, settings, rate, end| Attack {
        name,
        what,
        module: Modules::guest,
        order,
        settings,
        rate,
        keys: 97,
        at_once: 1,
        end,
        server: None,
    };
    let http = |manner, attack| Attack { module: Modules::http, server: Some(manner), ..attack };
    // No timeout is what closes a connection.
    const LONG_TIMEOUT: &str = "limits: { timeout: 10m }";
    const BRIEF: &str = "limits: { timeout: 1s }";
    // As many as there is memory for, with a machine that is small in mind.
    const FEW: &str = "concurrency: 2";
    const TIMEOUT: End = End::TimedOut(Duration::from_secs(1));
    const MEMORY: End = End::Failed("budget", "memory budget of 64 MiB exceeded");
    vec![
        Attack {
            keys: 1,
            ..attack(
                "loop",
                "endless loop",
                "do=loop",
                "",
                LONG,
                End::Failed("budget", "CPU time budget of 500ms exceeded"),
            )
        },
        // All calls begin before the first of them times out: a thousand slices of the worker,
        // and those of the calls that have begun, on a machine that does much else too.
        Attack {
            keys: 1_000,
            at_once: 1_000,
            ..attack(
                "loops",
                "endless loop on 1,000 keys at once",
                "do=loop",
                "limits: { timeout: 10s }\n    concurrency: 1000",
                // A thousand within two seconds, so that they have eight to begin.
                600,
                End::TimedOut(Duration::from_secs(10)),
            )
        },
        attack("slow", "loop just under a tick of the host's clock", "do=slow us=900", BRIEF, 1_200, End::Handled),
        attack(
            "slower",
            "loop just under its CPU time",
            "do=slow us=400000",
            "limits: { timeout: 60s }\n    concurrency: 2",
            LONG,
            End::Handled,
        ),
        attack("naps", "short waits, much computing between", "do=naps naps=5 us=900", "", LONG, End::Handled),
        // 20,000 calls of the host: seconds, without a loop in which to be interrupted.
        Attack {
            keys: 1,
            module: |modules| modules.straight(20_000),
            ..attack(
                "straight",
                "20,000 log messages of 2 MB, without a loop",
                "",
                "",
                // It does not look at the time: each event takes all that it may.
                2,
                End::Failed("budget", "CPU time budget of 500ms exceeded"),
            )
        },
        Attack {
            keys: 1,
            ..attack(
                "fill",
                "endless memory.fill of 48 MiB",
                "do=fill mib=48",
                FEW,
                LONG,
                End::Failed("budget", "CPU time budget"),
            )
        },
        attack("memory", "memory bomb", "do=memory", FEW, LONG, MEMORY),
        Attack {
            module: |modules| modules.text("memories"),
            ..attack("memories", "bomb of four memories", "", FEW, LONG, MEMORY)
        },
        Attack {
            module: |modules| modules.text("table"),
            ..attack(
                "table",
                "table bomb",
                "",
                "",
                QUICK,
                End::Failed("budget", "table budget of 65536 elements exceeded"),
            )
        },
        Attack {
            module: |modules| modules.text("tables"),
            ..attack(
                "tables",
                "bomb of eight tables",
                "",
                "limits: { memory: 2MiB }",
                QUICK,
                End::Failed("budget", "memory budget of 2 MiB (by a table) exceeded"),
            )
        },
        attack(
            "recursion",
            "deep recursion",
            "do=recursion",
            "",
            QUICK,
            End::Failed("budget", "stack budget of 512 KiB exceeded"),
        ),
        attack(
            "output",
            "huge output: 20 MiB",
            "do=output bytes=20000000",
            FEW,
            LONG,
            End::Failed("output", "far more than its output limit of 1 MiB"),
        ),
        attack(
            "outputs",
            "output flood: 100,000 in one answer",
            "do=outputs count=100000",
            FEW,
            LONG,
            End::Failed("output", "limit"),
        ),
        attack(
            "reason",
            "a reason of 2 MB",
            "do=reason",
            "",
            LONG,
            End::Failed("rejected", r"no end of it: \u{1b}[31m"),
        ),
        attack("utf8", "output that is not UTF-8", "do=utf8", "", QUICK, End::Failed("output", "malformed")),
        attack(
            "handles",
            "handle flood",
            "do=handles",
            "",
            QUICK,
            End::Failed("budget", "handle budget of 1024 handles exceeded"),
        ),
        attack("log", "log flood with terminal escapes", "do=log kib=256", "", LONG * 2, End::Swallowed),
        attack("trap", "traps always", "do=trap", "", QUICK, End::Failed("trap", "the handler panicked")),
        attack("exit", "exits", "do=exit", "", QUICK, End::Failed("trap", "exit status")),
        Attack {
            module: |modules| modules.start_traps_late(),
            ..attack(
                "start",
                "start function that traps in a call's own instance",
                "do=exit",
                "",
                QUICK,
                End::Failed("trap", "panicked"),
            )
        },
        http(
            Manner::Silent,
            attack("http-silent", "HTTP: waits for a server that never answers", "do=wait", BRIEF, LONG, TIMEOUT),
        ),
        http(
            Manner::DripsFields,
            attack("http-fields", "HTTP: fields of an answer that drip", "do=wait", BRIEF, LONG, TIMEOUT),
        ),
        http(Manner::DripsBody, attack("http-body", "HTTP: a body that drips", "do=wait", BRIEF, LONG, TIMEOUT)),
        http(
            Manner::Floods,
            attack(
                "http-huge",
                "HTTP: a body without end",
                "do=read",
                FEW,
                LONG,
                End::Failed("budget", "HTTP response bytes budget of 4 MiB exceeded"),
            ),
        ),
        http(
            Manner::Answers,
            attack(
                "http-requests",
                "HTTP: 1,000 requests in a call",
                "do=requests count=1000",
                "",
                LONG,
                End::Failed("budget", "HTTP request budget of 16 exceeded"),
            ),
        ),
        http(
            Manner::Silent,
            attack(
                "http-request",
                "HTTP: returns with a request half sent",
                "do=leave-request",
                LONG_TIMEOUT,
                LONG * 2,
                End::Handled,
            ),
        ),
        http(
            Manner::Stops,
            attack(
                "http-response",
                "HTTP: returns with a response half read",
                "do=leave-response",
                LONG_TIMEOUT,
                LONG * 2,
                End::Handled,
            ),
        ),
        attack("fresh", "a fresh instance for every call", "do=slow us=1", "instance: fresh", QUICK * 2, End::Handled),
    ]
}

impl Attack {
    /// The most events of it that are sent in a phase.
    pub fn most(&self) -> u64 {
        if self.at_once == 1 { u64::MAX } else { self.at_once as u64 }
    }

    /// Its handler, in the manifest, with its server if it has one.
    pub fn handler(&self, modules: &Modules, server: Option<&Server>) -> String {
        let Attack { name, settings, .. } = self;
        let module = (self.module)(modules);
        let allow = server.map(|server| format!("allow: {{ http: [\"{}\"] }}", server.origin())).unwrap_or_default();
        format!("  {name}:\n    module: {}\n    circuit: false\n    {settings}\n    {allow}\n", module.display())
    }

    /// Its route, in the manifest.
    pub fn route(&self, output: &str) -> String {
        let Attack { name, .. } = self;
        format!("  - {{ name: {name}, match: {{ type: {name} }}, handler: {name}, output: {output} }}\n")
    }
}
