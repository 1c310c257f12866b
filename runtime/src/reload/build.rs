//! Building a generation: every handler's module loaded, linked and tried.

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::compile::Compiler;
use crate::digest::hex;
use crate::invoke::{Engine, EngineError, LoadError, Module, Pool, PrepareError, Prepared, Sizing};
use crate::manifest::{Handler, Manifest};
use crate::worker::plan::{ModuleId, Plan};
use crate::worker::{Built, Guest};

/// Modules that are kept though no generation uses them: going back to one of them,
/// or to and fro, compiles nothing.
const KEPT: usize = 4;

/// Bytes of compiled code that they may have together. Others come from the cache on disk
/// within milliseconds; one of a language interpreter has more by itself.
const KEPT_BYTES: usize = 32 << 20;

/// How long making the instances of `warmUp` may take for a whole generation: meanwhile no
/// other change is taken over.
const WARM_UP: Duration = Duration::from_secs(60);

/// Why there is no new generation.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// A handler's module is not usable.
    #[error("handler `{0}`: {1}")]
    Handler(Arc<str>, LoadError),
    /// A handler's module cannot even be read.
    #[error("handler `{0}`: {1}")]
    File(Arc<str>, String),
    /// The instances that are to be ready cannot be.
    #[error("handler `{0}`: {1}")]
    WarmUp(Arc<str>, PrepareError),
    /// More calls may be under way than slots for instances were reserved for.
    #[error(
        "the handlers' `concurrency` adds up to {needed} instances, two for each call on each worker, and {reserved} \
         were reserved at the start: more needs a restart"
    )]
    Slots {
        /// By the new manifest.
        needed: usize,
        /// At the start.
        reserved: usize,
    },
}

impl BuildError {
    /// Whether the same generation may be built at another time.
    pub fn may_pass(&self) -> bool {
        match self {
            BuildError::Handler(_, error) => error.may_pass(),
            BuildError::WarmUp(_, error) => matches!(error, PrepareError::Late { .. }),
            // What cannot be read is looked at anew with every look at the files.
            BuildError::File(..) | BuildError::Slots { .. } => false,
        }
    }
}

/// A generation with its modules.
#[derive(Clone)]
pub struct Current {
    /// What the workers take over.
    pub built: Arc<Built>,
    /// In the order of the plan's handlers.
    pub modules: Vec<Arc<Module>>,
    /// How long it took to make the instances of `warmUp`. Zero: there were none to make.
    pub warm_up: Duration,
}

/// Builds generations on one engine, one after the other.
pub struct Builder {
    engine: Engine,
    sizing: Sizing,
    workers: usize,
    /// Loaded before and not in use; the latest last.
    kept: VecDeque<(Handler, Arc<Module>)>,
}

impl Builder {
    /// Sets the sandbox up, for generations that need up to twice what this manifest needs.
    ///
    /// # Errors
    /// The machine cannot run it.
    pub fn new(manifest: &Manifest, workers: usize, compiler: Compiler) -> Result<Builder, EngineError> {
        let sizing = Sizing::with_room_to_grow(manifest.handlers.values(), workers);
        Ok(Builder { engine: Engine::with(sizing, compiler)?, sizing, workers, kept: VecDeque::new() })
    }

    /// The engine of all its modules.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Builds the generation after `current`, or the first. A handler that is what it
    /// was keeps its module; the others' are loaded, as long as that takes, and then the
    /// instances made that each worker is to begin with. All of that is done on this
    /// thread and its like: the workers go on as if nothing were.
    /// `digests` are those of the files as they were looked at, by path.
    ///
    /// # Errors
    /// The first module or instance that is not usable, or too many instances.
    pub fn build(
        &mut self,
        manifest: &Arc<Manifest>,
        digests: &BTreeMap<PathBuf, Result<String, String>>,
        current: Option<&Current>,
    ) -> Result<Current, BuildError> {
        let needed = Sizing::of(manifest.handlers.values(), self.workers);
        if needed.instances > self.sizing.instances {
            let (needed, reserved) = (needed.instances, self.sizing.instances);
            return Err(BuildError::Slots { needed, reserved });
        }
        self.engine.set_module_size(manifest.compile.module_size);
        let mut modules = Vec::with_capacity(manifest.handlers.len());
        for spec in manifest.handlers.values() {
            let digest = match digests.get(&spec.module) {
                Some(Err(why)) => return Err(BuildError::File(spec.name.clone(), why.clone())),
                Some(Ok(digest)) => Some(digest.as_str()),
                None => None,
            };
            let known = digest.and_then(|digest| self.known(spec, digest, current));
            // Another content than was seen may belong to another release than the other modules.
            let load = || self.engine.load_as(spec, digest);
            let module = known.map_or_else(load, Ok).map_err(|error| BuildError::Handler(spec.name.clone(), error))?;
            modules.push(module);
        }
        let next = self.generation(manifest, modules, current)?;
        self.keep(current, &next);
        Ok(next)
    }

    /// The module of this digest under the same terms, if it is loaded.
    fn known(&self, spec: &Handler, digest: &str, current: Option<&Current>) -> Option<Arc<Module>> {
        // Another one is refused by loading, which says why.
        if spec.sha256.is_some_and(|pin| hex(&pin) != digest) {
            return None;
        }
        let wanted = terms(spec);
        let running = current.into_iter().flat_map(Current::specified).map(|(spec, module)| (terms(spec), module));
        let kept = self.kept.iter().map(|(spec, module)| (spec.clone(), module));
        let mut loaded = running.chain(kept);
        let found = loaded.find(|(other, module)| *other == wanted && module.digest() == digest);
        found.map(|(_, module)| module.clone())
    }

    fn generation(
        &self,
        manifest: &Arc<Manifest>,
        modules: Vec<Arc<Module>>,
        current: Option<&Current>,
    ) -> Result<Current, BuildError> {
        let number = current.map_or(1, |current| current.built.plan.generation + 1);
        let id = |name: &str| {
            let module = modules.iter().find(|module| &**module.name() == name);
            let since = current.and_then(|current| {
                let at = current.modules.iter().position(|old| module.is_some_and(|new| Arc::ptr_eq(old, new)))?;
                Some(current.built.plan.handlers[at].since)
            });
            ModuleId { digest: module.map_or("", |module| module.digest()).into(), since: since.unwrap_or(number) }
        };
        let plan = Arc::new(Plan::new(number, manifest.clone(), id));
        let began = Instant::now();
        let ready = self.prepare(&plan, &modules, current)?;
        let warm_up = if ready.iter().all(Vec::is_empty) { Duration::ZERO } else { began.elapsed() };
        let (made, ready) = (modules.clone(), ready.into_iter().map(Mutex::new).collect::<Vec<_>>());
        let guests = move |handler: usize| {
            // Each worker that goes over takes one; those that there are none for begin without.
            let ready = ready[handler].lock().unwrap_or_else(PoisonError::into_inner).pop();
            ready.map_or_else(|| Pool::new(made[handler].clone()), Pool::of)
        };
        let guests = Arc::new(move |handler: usize| Rc::new(guests(handler)) as Rc<dyn Guest>);
        Ok(Current { built: Arc::new(Built { plan, guests }), modules, warm_up })
    }

    /// By handler, what each worker is to begin with. Nothing for those that keep what they have.
    fn prepare(
        &self,
        plan: &Plan,
        modules: &[Arc<Module>],
        current: Option<&Current>,
    ) -> Result<Vec<Vec<Prepared>>, BuildError> {
        let is_new = |handler| current.is_none_or(|current| plan.same_handler(handler, &current.built.plan).is_none());
        let (generation, began) = (plan.generation, Instant::now());
        let mut ready: Vec<Vec<Prepared>> = modules.iter().map(|_| Vec::new()).collect();
        for (handler, module) in modules.iter().enumerate().filter(|(n, module)| module.warm_up() > 0 && is_new(*n)) {
            let (name, each, workers) = (module.name(), module.warm_up(), self.workers);
            tracing::info!(generation, handler = &**name, "making {each} instances for each of {workers} workers");
            for _ in 0..workers {
                let prepared = module.prepare(began + WARM_UP);
                ready[handler].push(prepared.map_err(|error| BuildError::WarmUp(name.clone(), error))?);
            }
        }
        let instances: usize = ready.iter().flatten().map(Prepared::instances).sum();
        if instances > 0 {
            tracing::info!(generation, took = ?began.elapsed(), "{instances} instances are ready for generation {generation}");
        }
        Ok(ready)
    }

    /// Keeps what the next generation does not use any more, up to a few.
    fn keep(&mut self, current: Option<&Current>, next: &Current) {
        let is_used = |module: &Arc<Module>| next.modules.iter().any(|used| Arc::ptr_eq(used, module));
        self.kept.retain(|(_, module)| !is_used(module));
        let left = current.into_iter().flat_map(Current::specified).filter(|(_, module)| !is_used(module));
        self.kept.extend(left.map(|(spec, module)| (terms(spec), module.clone())));
        // The latest first, as long as there is room.
        let mut room = KEPT_BYTES;
        let fits = |(_, module): &&(Handler, Arc<Module>)| {
            let left = room.checked_sub(module.size());
            room = left.unwrap_or(0);
            left.is_some()
        };
        let kept = self.kept.iter().rev().take(KEPT).take_while(fits).count();
        self.kept.drain(..self.kept.len() - kept);
    }
}

impl Current {
    fn specified(&self) -> impl Iterator<Item = (&Handler, &Arc<Module>)> {
        self.built.plan.manifest.handlers.values().zip(&self.modules)
    }
}

/// A handler as far as its module is concerned. Where it lies, which digest was asked
/// for and when its calls are held change nothing about it.
fn terms(spec: &Handler) -> Handler {
    Handler { module: PathBuf::new(), sha256: None, circuit: None, ..spec.clone() }
}
