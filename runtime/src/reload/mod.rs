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
mod status;
mod watch;

use std::collections::{BTreeMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread::Thread;
use std::time::{Duration, Instant};

pub use build::{BuildError, Builder, Current};
pub use difference::{Difference, difference};
pub use status::{Answer, Status};

use crate::manifest::{Diagnostic, Manifest};
use crate::metrics::Metrics;
use crate::probes::Health;
use crate::settle::reason::printable;
use crate::source::Order;
use files::Files;
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
/// What failed for a reason that may pass is tried again after this time, then after twice
/// as long, and so on up to an hour, without anybody asking.
const AGAIN: Duration = Duration::from_secs(60);
const AGAIN_AT_MOST: Duration = Duration::from_secs(3_600);
/// Requests that wait for their turn; more are refused.
const REQUESTS: usize = 16;

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

/// Why a reload is asked for.
enum Request {
    /// Something in a watched folder changed: perhaps nothing that matters.
    Files,
    /// SIGHUP.
    Signal,
    /// The admin API, which waits for the answer.
    Api(SyncSender<Answer>),
    /// The process, or at least this sidecar, ends.
    End,
}

/// Asks the reload thread. Cheap to clone.
#[derive(Clone)]
pub struct Handle {
    requests: SyncSender<Request>,
    status: Status,
}

impl Handle {
    /// Asks for a reload, as SIGHUP does; the answer goes to log and status.
    pub fn signal(&self) {
        // Full: then reloads are waiting already, and they read what is there when they begin.
        _ = self.requests.try_send(Request::Signal);
    }

    /// Reloads and waits for the answer: as long as compiling takes. `None` where too
    /// many others wait, or the process ends.
    pub fn reload(&self) -> Option<Answer> {
        let (answer, answers) = sync_channel(1);
        self.requests.try_send(Request::Api(answer)).ok()?;
        answers.recv().ok()
    }

    /// Ends the thread, after what it does now.
    pub fn end(&self) {
        // Full: then it ends with the polling thread, which takes no generation any more.
        _ = self.requests.try_send(Request::End);
    }

    /// What is current, and how the last reload ended.
    pub fn status(&self) -> &Status {
        &self.status
    }
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

/// What was tried last and failed: as long as it stays that, it is not tried again.
struct Tried {
    content: Content,
    /// Unless the reason may pass: then at this time, and after twice the wait.
    again: Option<(Instant, Duration)>,
}

impl Tried {
    /// `before`: what was tried before this. `asked`: somebody asked, which makes no wait longer.
    fn new(content: Content, may_pass: bool, asked: bool, before: Option<&Tried>, now: Instant) -> Tried {
        let before = before.filter(|before| before.content == content).and_then(|before| before.again);
        let longer = if asked { 1 } else { 2 };
        let wait = before.map_or(AGAIN, |(_, waited)| (waited * longer).min(AGAIN_AT_MOST));
        Tried { content, again: may_pass.then(|| (now + wait, wait)) }
    }

    fn is_over(&self, content: &Content, now: Instant) -> bool {
        self.content != *content || self.again.is_some_and(|(at, _)| now >= at)
    }
}

/// Why a change is not taken over.
struct Problem {
    text: String,
    /// Whether it may go without a change of the files.
    may_pass: bool,
    /// Whether it is that they changed meanwhile.
    changed: bool,
}

impl From<String> for Problem {
    fn from(text: String) -> Problem {
        Problem { text, may_pass: false, changed: false }
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

/// What is told that files changed; false: nobody listens any more. Of several hints that
/// wait one is as good as all, and they leave room for who asks for a reload.
fn hint(requests: SyncSender<Request>, hinted: Arc<AtomicBool>) -> impl Fn() -> bool {
    move || {
        if hinted.swap(true, Ordering::AcqRel) {
            return true;
        }
        match requests.try_send(Request::Files) {
            Ok(()) => true,
            Err(TrySendError::Full(_)) => {
                // Those who wait look at the files too.
                hinted.store(false, Ordering::Release);
                true
            }
            Err(TrySendError::Disconnected(_)) => false,
        }
    }
}

/// The callers that wait already, this one first: one look answers them all.
fn all_who_ask(first: SyncSender<Answer>, waiting: &mut VecDeque<Request>) -> Vec<SyncSender<Answer>> {
    let mut asking = vec![first];
    waiting.retain(|request| {
        if let Request::Api(answer) = request {
            asking.push(answer.clone());
        }
        !matches!(request, Request::Api(_))
    });
    asking
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
                    // Not more than can wait at once: those who come meanwhile are next.
                    waiting.extend(self.requests.try_iter().take(REQUESTS));
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
            let Err(problem) = &taken else { break };
            // What failed may have been written, or replaced, meanwhile, and put back since.
            let now = self.read_at_once();
            if (now == content && !problem.changed) || self.is_current(&now) {
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
            Err(Problem { text, may_pass, .. }) => {
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
        let failed = |error: BuildError| Problem {
            may_pass: error.may_pass(),
            changed: error.is_change(),
            text: error.to_string(),
        };
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

#[cfg(test)]
mod tests {
    use super::*;

    fn content(text: &str) -> Content {
        Content { manifest: Err(text.to_owned()), modules: BTreeMap::new() }
    }

    #[test]
    fn what_failed_is_tried_again_only_where_its_reason_may_pass_and_ever_less_often() {
        let now = Instant::now();
        let hour = 60 * AGAIN;
        let broken = Tried::new(content("a"), false, false, None, now);
        assert!(!broken.is_over(&content("a"), now + 100 * hour));
        assert!(broken.is_over(&content("b"), now), "something else is tried at once");
        let mut tried = Tried::new(content("a"), true, false, Some(&broken), now);
        let mut at = now;
        for minutes in [1, 2, 4, 8, 16, 32, 60, 60] {
            at += minutes * AGAIN;
            assert!(!tried.is_over(&content("a"), at - Duration::from_millis(1)), "{minutes}");
            assert!(tried.is_over(&content("a"), at), "{minutes}");
            let asked = Tried::new(content("a"), true, true, Some(&tried), at);
            assert!(asked.is_over(&content("a"), at + minutes * AGAIN), "asking makes no wait longer");
            tried = Tried::new(content("a"), true, false, Some(&tried), at);
        }
        let other = Tried::new(content("b"), true, false, Some(&tried), at);
        assert!(other.is_over(&content("b"), at + AGAIN), "the waits begin anew");
    }

    #[test]
    fn one_look_answers_all_who_ask_and_the_others_stay_in_their_order() {
        let (answers, callers): (Vec<_>, Vec<_>) = (0..3).map(|_| sync_channel(1)).unzip();
        let mut api = answers.into_iter().map(Request::Api);
        let Some(Request::Api(first)) = api.next() else { unreachable!() };
        let mut waiting = VecDeque::from([Request::Signal, Request::Files, Request::End]);
        for at in [1, 3] {
            waiting.insert(at, api.next().unwrap());
        }
        for asking in all_who_ask(first, &mut waiting) {
            asking.try_send(Answer::Unchanged(7)).unwrap();
        }
        assert!(callers.iter().all(|caller| caller.try_recv() == Ok(Answer::Unchanged(7))));
        assert!(matches!(waiting.make_contiguous(), [Request::Signal, Request::Files, Request::End]));
    }

    #[test]
    fn hints_leave_room_for_those_who_ask() {
        let (requests, receiver) = sync_channel(REQUESTS);
        let hinted = Arc::new(AtomicBool::new(false));
        let hint = hint(requests.clone(), hinted.clone());
        for _ in 0..3 * REQUESTS {
            assert!(hint());
        }
        assert!(matches!(receiver.try_recv(), Ok(Request::Files)));
        assert!(receiver.try_recv().is_err(), "one stands for all");
        hinted.store(false, Ordering::Release);
        assert!(hint() && receiver.try_recv().is_ok(), "what comes after it was taken is told again");
        hinted.store(false, Ordering::Release);
        for _ in 0..REQUESTS {
            requests.try_send(Request::Signal).unwrap();
        }
        assert!(hint(), "those who wait look at the files too");
        receiver.try_iter().for_each(drop);
        assert!(hint() && receiver.try_recv().is_ok());
        drop(receiver);
        hinted.store(false, Ordering::Release);
        assert!(!hint());
    }
}
