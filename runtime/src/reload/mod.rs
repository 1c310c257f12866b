//! Reload: a new generation of manifest and modules, built beside the running one.
//!
//! In: a change of a file, SIGHUP, or a call of the admin API. Out: a whole generation
//! that every worker takes over at once, or a reason why there is none, with the
//! running one untouched.
//!
//! One thread does it all, one build after the other: it looks at the files (`files`,
//! `watch`), reads and checks the manifest, says what differs and whether that can be
//! changed in a running process (`difference`), loads the modules that are new
//! (`build`), and hands the result to the polling thread, which passes it on in one turn.

mod build;
mod difference;
mod files;
mod requests;
mod status;
mod tried;
mod watch;

use std::collections::{BTreeMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::Thread;
use std::time::{Duration, Instant};

pub use build::{BuildError, Builder, Current};
pub use difference::{Difference, difference};
pub use requests::Handle;
pub use status::{Answer, Status};

use crate::manifest::{Diagnostic, Manifest};
use crate::metrics::Metrics;
use crate::probes::Health;
use crate::settle::reason::printable;
use crate::source::Order;
use files::Files;
use requests::{REQUESTS, Request, all_who_ask, hint};
use tried::Tried;
use watch::Watch;

/// How often the files are looked at though nothing was said of them: file systems
/// that report no changes (some network mounts), files that `${file:...}` names, and
/// folders that could not be watched.
const POLL: Duration = Duration::from_secs(3);
/// Files that change are read once nothing more was said of them for this long.
const QUIET: Duration = Duration::from_millis(50);
/// A folder that never is quiet is looked at all the same after this time.
const RESTLESS: Duration = Duration::from_secs(1);
/// Bytes of the reason why a change is not taken over.
const PROBLEMS: usize = 8 << 10;
/// Files that change while they are looked at or loaded are looked at again at once, so often.
const ANEW: usize = 3;
/// Reads the manifest anew: it and its warnings, or every problem of it.
pub type Read = Arc<dyn Fn() -> Result<(Manifest, Vec<Diagnostic>), Vec<Diagnostic>> + Send + Sync>;

/// What is to be reloaded.
#[derive(Clone)]
pub struct Sources {
    /// The manifest's file.
    pub path: PathBuf,
    /// Reads it.
    pub read: Read,
}

/// What the reload thread is made of.
pub struct Parts {
    /// What is to be reloaded.
    pub sources: Sources,
    /// Builds generations.
    pub builder: Builder,
    /// The generation that runs.
    pub current: Current,
    /// To the polling thread.
    pub orders: SyncSender<Order>,
    /// Which is woken by this.
    pub source: Thread,
    /// What is counted.
    pub metrics: Metrics,
    /// Whose detail says what could not be taken over.
    pub health: Health,
}

/// What was found when the files were looked at.
#[derive(PartialEq)]
struct Content {
    manifest: Result<Arc<Manifest>, String>,
    /// By path: the digests, or why there is none.
    modules: BTreeMap<PathBuf, Result<String, String>>,
}

struct Reload {
    parts: Parts,
    files: Files,
    watch: Watch,
    requests: Receiver<Request>,
    /// Whether a hint of changed files waits among them.
    hinted: Arc<AtomicBool>,
    tried: Option<Tried>,
    status: Status,
}

/// Why a change is not taken over.
struct Problem {
    text: String,
    /// Whether it may go without a change of the files.
    may_pass: bool,
}

impl From<String> for Problem {
    fn from(text: String) -> Problem {
        Problem { text, may_pass: false }
    }
}

/// Starts the reload thread. It ends by [`Handle::end`], or with the process.
///
/// # Errors
/// If the system gives no thread.
pub fn start(parts: Parts) -> std::io::Result<Handle> {
    let (requests, receiver) = sync_channel(REQUESTS);
    let status = Status::new(&parts.current, &parts.metrics);
    let handle = Handle { requests: requests.clone(), status: status.clone() };
    let hinted = Arc::new(AtomicBool::new(false));
    let hint = hint(requests, hinted.clone());
    std::thread::Builder::new().name("reload".into()).spawn(move || {
        let watch = Watch::new(hint);
        let files = Files::default();
        let mut reload = Reload { parts, files, watch, requests: receiver, hinted, tried: None, status };
        // What is loaded already is known; what changed since is found now.
        reload.look(false);
        reload.run();
    })?;
    Ok(handle)
}

impl Reload {
    fn run(&mut self) {
        let mut waiting = VecDeque::new();
        loop {
            let next = waiting.pop_front().map_or_else(|| self.requests.recv_timeout(POLL), Ok);
            match next {
                Ok(Request::Files) => {
                    self.hinted.store(false, Ordering::Release);
                    self.settle(&mut waiting);
                    self.look(false);
                }
                Err(RecvTimeoutError::Timeout) => {
                    // Nobody said whether somebody writes just now.
                    let content = self.read();
                    if !self.is_current(&content) {
                        self.settle(&mut waiting);
                    }
                    self.look(false);
                }
                Ok(Request::Signal) => {
                    tracing::info!("reload asked for by SIGHUP");
                    self.look(true);
                }
                Ok(Request::Api(answer)) => {
                    // Not more than may wait: those who come meanwhile are next.
                    waiting.extend(self.requests.try_iter().take(REQUESTS.saturating_sub(waiting.len())));
                    let asking = all_who_ask(answer, &mut waiting);
                    tracing::info!(callers = asking.len(), "reload asked for by the admin API");
                    if let Some(said) = self.look(true) {
                        // Whoever asked may have gone.
                        asking.into_iter().for_each(|answer| _ = answer.try_send(said.clone()));
                    }
                }
                Ok(Request::End) | Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// Waits until nothing more is said of the files: a file that is being written is
    /// not read half, as far as that can be known. Others who ask wait meanwhile.
    fn settle(&self, waiting: &mut VecDeque<Request>) {
        let until = Instant::now() + RESTLESS;
        while Instant::now() < until && waiting.len() < REQUESTS {
            match self.requests.recv_timeout(QUIET) {
                Ok(Request::Files) => self.hinted.store(false, Ordering::Release),
                Ok(Request::End) => return waiting.push_front(Request::End),
                Ok(other) => waiting.push_back(other),
                Err(_) => return,
            }
        }
    }

    /// The files as they are now.
    fn read(&mut self) -> Content {
        let read = (self.parts.sources.read)();
        let manifest = match read {
            // Warnings were shown at the start or by `outrigger check`.
            Ok((manifest, _)) => Ok(Arc::new(manifest)),
            Err(problems) => Err(render(&problems)),
        };
        let named = match &manifest {
            Ok(manifest) => manifest,
            Err(_) => &self.parts.current.built.plan.manifest,
        };
        let paths: Vec<PathBuf> = named.handlers.values().map(|handler| handler.module.clone()).collect();
        self.watch.folders_of(std::iter::once(&self.parts.sources.path).chain(&paths));
        let modules = self.files.digests(&paths, named.compile.module_size);
        Content { manifest, modules }
    }

    /// The files as they are at one moment, not some before a folder was replaced and some after.
    fn read_at_once(&mut self) -> Content {
        let mut content = self.read();
        for _ in 0..ANEW {
            if self.is_current(&content) {
                break;
            }
            let seen = std::mem::replace(&mut content, self.read());
            if seen == content {
                break;
            }
        }
        content
    }

    /// Looks at the files, and makes a generation of what is new. `None`: nothing is,
    /// and nobody asked.
    fn look(&mut self, asked: bool) -> Option<Answer> {
        if asked {
            // Who asks does not want to hear what was read before.
            self.files = Files::default();
        }
        let mut content = self.read_at_once();
        if self.is_current(&content) {
            let recovered = self.tried.take().is_some();
            if !asked && !recovered {
                return None;
            }
            let generation = self.parts.current.built.plan.generation;
            tracing::info!(generation, "nothing to take over: generation {generation} is what is there");
            let answer = Answer::Unchanged(generation);
            self.status.said(&answer, &self.parts);
            return Some(answer);
        }
        let began = Instant::now();
        if !asked && self.tried.as_ref().is_some_and(|tried| !tried.is_over(&content, began)) {
            return None;
        }
        let mut taken = self.take_over(&content);
        for _ in 0..ANEW {
            if taken.is_ok() {
                break;
            }
            // What failed may have been written, or replaced, meanwhile.
            let now = self.read_at_once();
            if now == content || self.is_current(&now) {
                break;
            }
            content = now;
            taken = self.take_over(&content);
        }
        let answer = match taken {
            Ok(Difference { summary, .. }) => {
                self.tried = None;
                let generation = self.parts.current.built.plan.generation;
                tracing::info!(generation, took = ?began.elapsed(), "generation {generation} is current: {summary}");
                Answer::Switched(generation)
            }
            Err(Problem { text, may_pass }) => {
                // What a module wrote or named may be in it.
                let problems = printable(&text, PROBLEMS);
                self.tried = Some(Tried::new(content, may_pass, asked, self.tried.as_ref(), Instant::now()));
                let generation = self.parts.current.built.plan.generation;
                tracing::error!(
                    generation,
                    "the change is not taken over, generation {generation} goes on: {problems}"
                );
                Answer::Failed(generation, problems)
            }
        };
        self.status.said(&answer, &self.parts);
        Some(answer)
    }

    /// Whether this is what runs.
    fn is_current(&self, content: &Content) -> bool {
        let current = &self.parts.current;
        let Ok(manifest) = &content.manifest else { return false };
        *manifest == current.built.plan.manifest
            && manifest.handlers.values().zip(&current.modules).all(|(handler, module)| {
                content.modules.get(&handler.module).and_then(|digest| digest.as_deref().ok()) == Some(module.digest())
            })
    }

    /// Builds a generation and makes it current; on any error nothing has changed.
    fn take_over(&mut self, content: &Content) -> Result<Difference, Problem> {
        let manifest = content.manifest.clone()?;
        let current = &self.parts.current;
        let mut difference = difference(&current.built.plan.manifest, &manifest);
        difference.refuse()?;
        let builder = &mut self.parts.builder;
        // A defect that one module brings to light must not end all reloading.
        let built = catch_unwind(AssertUnwindSafe(|| builder.build(&manifest, &content.modules, Some(current))));
        let panicked = |_| "the host panicked while it loaded the modules; this is a defect of Outrigger".to_owned();
        let failed = |error: BuildError| Problem { may_pass: error.may_pass(), text: error.to_string() };
        let next = built.map_err(panicked)?.map_err(failed)?;
        difference.modules(current, &next);
        let (done, answers) = sync_channel(1);
        let ended = |_| "the process is ending".to_owned();
        let built = next.built.clone();
        self.parts.orders.send(Order::Switch { built, done }).map_err(|_| ended(()))?;
        self.parts.source.unpark();
        // The polling thread answers at its next turn, which a rebalance may delay by its deadlines.
        answers.recv().map_err(|_| ended(()))??;
        self.parts.current = next;
        Ok(difference)
    }
}

/// Problems on one line: where each is, what it is, and what to write instead.
fn render(problems: &[Diagnostic]) -> String {
    let one = |problem: &Diagnostic| {
        let place = match &problem.location {
            Some(at) => format!("{}:{}:{}", problem.file, at.line, at.column),
            None => problem.file.clone(),
        };
        let help = problem.help.as_ref().map(|help| format!(" ({help})")).unwrap_or_default();
        format!("{place}: {}{help}", problem.message)
    };
    let errors = problems.iter().filter(|problem| problem.severity == crate::manifest::Severity::Error);
    errors.map(one).collect::<Vec<_>>().join("; ")
}
