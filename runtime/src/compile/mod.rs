//! Compiling: from a module to machine code that this process can run.
//!
//! In: the bytes of a module that were read once, and their digest. Out: a component for
//! this engine, from the cache or newly compiled.
//!
//! The way: [`Compiler::component`] looks into the cache (`cache`, `folder`) under a name
//! made of the module's digest and all that decides what code fits (`key`), and trusts
//! nothing that it finds there before every bit is accounted for (`entry`). What is not
//! there is compiled in a child process under bounds (`child`, `inside`), one at a time,
//! and stored. Before that what an instance is made of is bounded (`weight`), and what a
//! guest does is made interruptible (`interruptible`, `precompile`). `docs/compile.md` says it for people who run it.

mod cache;
mod child;
mod container;
mod entry;
mod error;
mod folder;
mod inside;
mod interruptible;
mod key;
mod precompile;
mod weight;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use wasmtime::component::Component;

use self::cache::Found;
pub use self::cache::{Cache, StoreError, entry_size};
pub use self::child::{Bounds, Program};
pub use self::entry::Damage;
pub use self::error::CompileError;
pub use self::folder::FolderError;
pub use self::inside::{Task, run};
use self::key::Key;
pub(crate) use self::key::fingerprint;
use crate::manifest::{self, CacheFolder};

/// Where modules are compiled.
#[derive(Clone, Debug, Default)]
pub enum Place {
    /// In this process, without bounds on time and memory: for tests and measurements,
    /// whose program is not `outrigger`.
    #[default]
    Here,
    /// In a child process that runs this program.
    Child(Program),
}

/// Makes components of modules. Cheap to clone; all clones are one. The default compiles
/// in this process and keeps nothing.
#[derive(Clone, Debug, Default)]
pub struct Compiler {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    place: Place,
    cache: Option<Cache>,
    bounds: Bounds,
    module_size: AtomicU64,
    compiled_only: bool,
    /// That the cache cannot be used is said once, not once per module.
    told: AtomicBool,
}

impl Default for Inner {
    fn default() -> Inner {
        let bounds = Bounds { timeout: Duration::MAX, cpu_time: Duration::MAX, memory: u64::MAX };
        let (place, module_size, told) = (Place::Here, AtomicU64::new(u64::MAX), AtomicBool::new(false));
        Inner { place, cache: None, bounds, module_size, compiled_only: false, told }
    }
}

/// A component and where it comes from.
pub struct Compiled {
    /// The component.
    pub component: Component,
    /// Bytes of its compiled form.
    pub size: usize,
    /// Where that comes from.
    pub origin: Origin,
}

/// Where a compiled form comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// It was in the cache.
    Cache,
    /// It was compiled now.
    Now {
        /// How long that took.
        took: Duration,
        /// Bytes of memory that the child had at its peak, where there was one and the system tells.
        peak: Option<u64>,
        /// Whether it is in the cache now.
        stored: bool,
    },
}

impl Compiler {
    /// Compiles at this place under the manifest's bounds, with the cache that it names.
    /// `env`: the variables of the process, for the cache's default folder.
    pub fn new(place: Place, settings: &manifest::Compile, env: impl Fn(&str) -> Option<String>) -> Compiler {
        let folder = cache_folder(&settings.cache, env);
        let bounds = Bounds { timeout: settings.timeout, cpu_time: settings.cpu_time, memory: settings.memory };
        let inner = Inner {
            place,
            cache: folder.map(|folder| Cache { folder, max_bytes: settings.cache_size }),
            bounds,
            module_size: AtomicU64::new(settings.module_size),
            compiled_only: settings.compiled_only,
            told: AtomicBool::new(false),
        };
        Compiler { inner: Arc::new(inner) }
    }

    /// The cache, if there is one.
    pub fn cache(&self) -> Option<&Cache> {
        self.inner.cache.as_ref()
    }

    /// Bytes that a module may have. Whoever reads one goes by it, before there is anything to compile.
    pub fn module_size(&self) -> u64 {
        self.inner.module_size.load(Ordering::Relaxed)
    }

    /// Changes [`Compiler::module_size`]: each generation's modules are bounded by its own manifest.
    pub fn set_module_size(&self, bytes: u64) {
        self.inner.module_size.store(bytes, Ordering::Relaxed);
    }

    /// Makes a component of a module, on the calling thread, as long as compiling takes.
    /// `digest`: the module's SHA-256. `path`: what logs call it.
    ///
    /// # Errors
    /// See [`CompileError`]. A cache that cannot be used, read or written is a warning
    /// in the log and no error, unless only what is compiled may be used.
    pub fn component(
        &self,
        engine: &wasmtime::Engine,
        module: &[u8],
        digest: [u8; 32],
        path: &Path,
    ) -> Result<Compiled, CompileError> {
        let inner = &*self.inner;
        let key = Key::new(digest, engine);
        let missing = match self.look(engine, &key, path) {
            Ok((component, size)) => return Ok(Compiled { component, size, origin: Origin::Cache }),
            Err(missing) => missing,
        };
        if inner.compiled_only {
            return Err(missing.into_error(inner.cache.as_ref()));
        }
        let began = Instant::now();
        let (artefact, peak) = match &inner.place {
            Place::Here => (here(engine, module)?, None),
            Place::Child(program) => {
                let made = child::compile(program, &inner.bounds, &fingerprint(engine), module)?;
                (made.artefact, made.peak)
            }
        };
        let took = began.elapsed();
        let component = load(engine, &artefact).map_err(|error| CompileError::Load(format!("{error:#}")))?;
        let stored = !matches!(missing, Missing::Unusable(_)) && self.store(&key, &artefact);
        let (ms, peak_kib) = (took.as_millis() as u64, peak.map(|bytes| bytes / 1024));
        tracing::info!(module = %path.display(), ms, peak_kib, stored, "compiled a module");
        Ok(Compiled { component, size: artefact.len(), origin: Origin::Now { took, peak, stored } })
    }

    fn look(&self, engine: &wasmtime::Engine, key: &Key, path: &Path) -> Result<(Component, usize), Missing> {
        let Some(cache) = &self.inner.cache else { return Err(Missing::Nothing) };
        let damage = match cache.get(key) {
            Ok(Found::Nothing) => return Err(Missing::Nothing),
            Ok(Found::Damaged(damage)) => damage,
            Ok(Found::Artefact(artefact)) => match load(engine, &artefact) {
                Ok(component) => return Ok((component, artefact.len())),
                Err(error) => Damage::Refused(format!("{error:#}")),
            },
            Err(error) => {
                self.tell(&error);
                return Err(Missing::Unusable(error));
            }
        };
        tracing::warn!(
            module = %path.display(), entry = %cache.folder.join(key.file_name()).display(),
            "a compiled module in the cache is not used: {damage}"
        );
        Err(Missing::Damaged(damage))
    }

    fn store(&self, key: &Key, artefact: &[u8]) -> bool {
        let stored = self.inner.cache.as_ref().map(|cache| cache.put(key, artefact));
        if let Some(Err(error)) = &stored {
            self.tell(error);
        }
        matches!(stored, Some(Ok(())))
    }

    fn tell(&self, error: &dyn std::error::Error) {
        if !self.inner.told.swap(true, Ordering::Relaxed) {
            tracing::warn!("compiled modules are not kept, and every start compiles them again: {error}");
        }
    }
}

/// Why nothing came out of the cache.
enum Missing {
    Nothing,
    Damaged(Damage),
    Unusable(FolderError),
}

impl Missing {
    /// Where nothing may be compiled instead.
    fn into_error(self, cache: Option<&Cache>) -> CompileError {
        let Some(cache) = cache else { return CompileError::NoCache };
        let why = match self {
            Missing::Nothing => format!("{} does not have it", cache.folder.display()),
            Missing::Damaged(damage) => format!("what {} has is not used: {damage}", cache.folder.display()),
            Missing::Unusable(error) => return CompileError::Folder(error),
        };
        CompileError::NotCompiled { folder: cache.folder.clone(), why }
    }
}

/// The folder that the manifest or the environment names: `OUTRIGGER_CACHE`, which may be
/// empty for none, then the user's folder for caches. `None`: nothing is kept.
fn cache_folder(named: &CacheFolder, env: impl Fn(&str) -> Option<String>) -> Option<PathBuf> {
    match named {
        CacheFolder::At(folder) => return Some(folder.clone()),
        CacheFolder::None => return None,
        CacheFolder::Default => {}
    }
    if let Some(folder) = env("OUTRIGGER_CACHE") {
        return Some(PathBuf::from(folder)).filter(|folder| !folder.as_os_str().is_empty());
    }
    // The rules of the XDG base directories: a path that is not absolute does not count.
    let absolute = |name| env(name).map(PathBuf::from).filter(|folder| folder.is_absolute());
    let base = absolute("XDG_CACHE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".cache")));
    base.map(|base| base.join("outrigger"))
}

fn here(engine: &wasmtime::Engine, module: &[u8]) -> Result<Vec<u8>, CompileError> {
    precompile::precompile(engine, module).map_err(|error| CompileError::Invalid(format!("{error:#}")))
}

/// Loads an artefact. The bytes are copied into memory of this process alone: mapping the
/// file instead would save the copy (see `docs/compile.md` for what that is), but whoever
/// may write the file could change code that was verified, and one that is cut short would
/// end the process with SIGBUS.
#[allow(unsafe_code, reason = "loading machine code has no safe form; see below")]
fn load(engine: &wasmtime::Engine, artefact: &[u8]) -> wasmtime::Result<Component> {
    // SAFETY: what is asked for is that `Engine::precompile_component` made these bytes,
    // unchanged. Either they have just come from there, in this process or through a pipe
    // from a child that runs this same program; or they were read from an entry, into
    // memory that nobody else writes, and have the digest that was stored when they had
    // just come from there. The entry is a file that only this user or root can write, so
    // only they can have made that digest, and they can run code as this user anyway. That
    // the artefact is for this engine says the fingerprint in the entry, and wasmtime
    // checks it once more.
    unsafe { Component::deserialize(engine, artefact) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folder_is_the_manifests_then_the_environments() {
        let found = |named: &CacheFolder, env: &[(&str, &str)]| {
            cache_folder(named, |name| {
                env.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
            })
        };
        let all = [("OUTRIGGER_CACHE", "o"), ("XDG_CACHE_HOME", "/x"), ("HOME", "/h")];
        let is = |folder: &str| Some(PathBuf::from(folder));
        assert_eq!(found(&CacheFolder::At("m".into()), &all), is("m"));
        assert_eq!(found(&CacheFolder::None, &all), None);
        assert_eq!(found(&CacheFolder::Default, &all), is("o"));
        assert_eq!(found(&CacheFolder::Default, &all[1..]), is("/x/outrigger"));
        assert_eq!(found(&CacheFolder::Default, &all[2..]), is("/h/.cache/outrigger"));
        assert_eq!(found(&CacheFolder::Default, &[]), None);
        assert_eq!(found(&CacheFolder::Default, &[("OUTRIGGER_CACHE", ""), ("HOME", "/h")]), None, "empty: none");
        let relative = [("XDG_CACHE_HOME", "x"), ("HOME", "/h")];
        assert_eq!(found(&CacheFolder::Default, &relative), is("/h/.cache/outrigger"));
    }

    /// What a child compiles for must be what an engine with slots for instances runs.
    #[test]
    fn slots_for_instances_change_nothing_that_is_compiled() {
        let compiles = crate::invoke::engine_that_compiles().unwrap();
        for instances in [1, 1000] {
            let runs = crate::invoke::Engine::new(crate::invoke::Sizing { instances }).unwrap();
            assert_eq!(fingerprint(&compiles), runs.fingerprint());
        }
    }
}
