//! Loading a handler's module: read, pinned, compiled, type-checked, linked and
//! tried once. What is loaded can run.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use wasmtime::component::{Component, ComponentExportIndex, InstancePre};

use super::bindings::{FUNCTION, INTERFACE};
use super::capabilities::Grants;
use super::engine::Engine;
use super::file;
use super::guest::Guest;
use super::log_rate::Rate;
use super::meter::Clock;
use super::reclaim::Reclaimer;
use crate::compile::{CompileError, Compiled};
use crate::digest::{self, hex};
use crate::manifest::{Handler, Instance as Reuse, Limits};
use crate::outcome::REASON;
use crate::settle::reason::printable;

/// Why a module was not loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file cannot be read.
    #[error("cannot read {}: {error}", path.display())]
    Read {
        /// The module.
        path: PathBuf,
        /// What the system says.
        error: std::io::Error,
    },
    /// It is not the module that the manifest pins.
    #[error("{} has the SHA-256 {found}, the manifest says {expected}", path.display())]
    Digest {
        /// The module.
        path: PathBuf,
        /// Of the manifest.
        expected: String,
        /// Of the file.
        found: String,
    },
    /// It is not the module that was seen when the files were looked at.
    #[error("{} was replaced while it was loaded", .0.display())]
    Changed(PathBuf),
    /// It is WebAssembly, but of the kind before components.
    #[error(
        "{} is a core module, not a component; build it for wasm32-wasip2, or make a component of it with \
         `wasm-tools component new`",
        .0.display()
    )]
    CoreModule(PathBuf),
    /// It is something else.
    #[error("{} is not a WebAssembly component", .0.display())]
    NotWebAssembly(PathBuf),
    /// It is a component without a compiled form.
    #[error("{} {error}", path.display())]
    Compile {
        /// The module.
        path: PathBuf,
        /// Why there is none.
        error: CompileError,
    },
    /// It does not export the handler.
    #[error("{} does not export {INTERFACE}; {found}", path.display())]
    Export {
        /// The module.
        path: PathBuf,
        /// What it exports instead.
        found: String,
    },
    /// It asks for something that a handler is not given.
    #[error("{} imports {import}, which is not provided: {reason}", path.display())]
    Import {
        /// The module.
        path: PathBuf,
        /// The name of the import.
        import: String,
        /// Why not, and what there is instead.
        reason: String,
    },
    /// An import or the handler's function has another type than the host's.
    #[error("{} does not fit the host: {reason}", path.display())]
    Type {
        /// The module.
        path: PathBuf,
        /// Where they differ.
        reason: String,
    },
    /// What the manifest grants cannot be granted on this machine.
    #[error("{handler} cannot be loaded: {reason}")]
    Grant {
        /// The handler.
        handler: Arc<str>,
        /// What is missing, and what to do.
        reason: String,
    },
    /// Its first instance did not start.
    #[error("{} does not start: {reason}", path.display())]
    Start {
        /// The module.
        path: PathBuf,
        /// As for a call: the trap, the limit.
        reason: String,
    },
    /// Its first instance took longer than the handler's `timeout`, maybe of a machine that is busy.
    #[error("{} does not start: longer than the timeout of {timeout:?}", path.display())]
    Late {
        /// The module.
        path: PathBuf,
        /// Of the handler.
        timeout: Duration,
    },
    /// It could not be tried: no slot for an instance became free within its `timeout`.
    #[error("{} could not be tried: calls under way have taken every slot for an instance", .0.display())]
    Busy(PathBuf),
}

impl LoadError {
    /// Whether the same file may be loaded at another time, as nothing is known to be wrong with it.
    pub fn may_pass(&self) -> bool {
        match self {
            LoadError::Compile { error, .. } => error.may_pass(),
            LoadError::Read { .. } | LoadError::Changed(_) | LoadError::Busy(_) | LoadError::Late { .. } => true,
            _ => false,
        }
    }
}

/// A module that can run: compiled, linked, and tried once under its limits.
pub struct Module {
    engine: Engine,
    name: Arc<str>,
    digest: String,
    size: usize,
    limits: Limits,
    grants: Grants,
    reuse: Reuse,
    concurrency: usize,
    warm_up: usize,
    pre: InstancePre<Guest>,
    export: ComponentExportIndex,
    log_rate: Arc<Rate>,
}

impl Engine {
    /// Loads a handler's module: reads it, compares the pinned digest, compiles
    /// it, checks what it exports and imports, and makes one instance of it under
    /// the handler's own limits, which is thrown away.
    ///
    /// Takes as long as compiling does, milliseconds for Rust and seconds for
    /// Python, on the calling thread.
    ///
    /// # Errors
    /// See [`LoadError`]: each names the file and says what was expected.
    pub fn load(&self, spec: &Handler) -> Result<Arc<Module>, LoadError> {
        self.load_as(spec, None)
    }

    /// As [`Engine::load`], where the file still has the digest it was `seen` with: what is
    /// wrong with another content would be said of the wrong one.
    ///
    /// # Errors
    /// See [`LoadError`].
    pub fn load_as(&self, spec: &Handler, seen: Option<&str>) -> Result<Arc<Module>, LoadError> {
        let path = || spec.module.clone();
        let (bytes, digest) = self.read(&spec.module)?;
        let found = hex(&digest);
        if seen.is_some_and(|seen| seen != found) {
            return Err(LoadError::Changed(path()));
        }
        let Compiled { component, size, .. } = self.compiled(&spec.module, spec.sha256, &bytes, digest)?;
        let export = self.export(&component, path)?;
        let ungranted = |reason| LoadError::Grant { handler: Arc::clone(&spec.name), reason };
        let grants = Grants::of(spec).map_err(ungranted)?;
        self.imports(&component, &grants, &spec.name, path)?;
        let linker = grants.linker(self.linker());
        let pre = linker
            .and_then(|linker| linker.instantiate_pre(&component))
            .map_err(|error| LoadError::Type { path: path(), reason: printable(&format!("{error:#}"), REASON) })?;
        let module = Arc::new(Module {
            engine: self.clone(),
            name: Arc::clone(&spec.name),
            digest: found,
            size,
            limits: spec.limits,
            grants,
            reuse: spec.instance,
            concurrency: spec.concurrency.max(1),
            warm_up: spec.warm_up,
            pre,
            export,
            log_rate: Arc::new(Rate::new()),
        });
        module.try_once(path)?;
        Ok(module)
    }

    /// The first half of loading: reads a module, compares the digest where one is given,
    /// and compiles it. Gives its digest in hexadecimal, and what it became.
    ///
    /// # Errors
    /// See [`LoadError`].
    pub fn compile(&self, module: &Path, pin: Option<[u8; 32]>) -> Result<(String, Compiled), LoadError> {
        let (bytes, digest) = self.read(module)?;
        Ok((hex(&digest), self.compiled(module, pin, &bytes, digest)?))
    }

    fn read(&self, module: &Path) -> Result<(Vec<u8>, [u8; 32]), LoadError> {
        let bytes = file::read(module, self.compiler().module_size())?;
        let digest = digest::of(&bytes);
        Ok((bytes, digest))
    }

    fn compiled(
        &self,
        module: &Path,
        pin: Option<[u8; 32]>,
        bytes: &[u8],
        digest: [u8; 32],
    ) -> Result<Compiled, LoadError> {
        let path = || module.to_owned();
        if let Some(pin) = pin
            && pin != digest
        {
            return Err(LoadError::Digest { path: path(), expected: hex(&pin), found: hex(&digest) });
        }
        kind(bytes, path)?;
        let compiled = self.compiler().component(self.wasmtime(), bytes, digest, module);
        compiled.map_err(|error| LoadError::Compile { path: path(), error })
    }

    fn export(&self, component: &Component, path: impl Fn() -> PathBuf) -> Result<ComponentExportIndex, LoadError> {
        let component_type = component.component_type();
        let exports = component_type.exports(self.wasmtime());
        let names: Vec<String> = exports.map(|(name, _)| name.to_owned()).collect();
        let index = names
            .iter()
            .any(|name| name == INTERFACE)
            .then(|| component.get_export_index(None, INTERFACE))
            .flatten()
            .and_then(|interface| component.get_export_index(Some(&interface), FUNCTION));
        index.ok_or_else(|| {
            let other = names.iter().find(|name| name.starts_with("outrigger:handler/"));
            let found = match (other, names.is_empty()) {
                (Some(other), _) => format!("it was built for {other}, which this version of Outrigger does not run"),
                (None, true) => "it exports nothing".to_owned(),
                (None, false) => format!("it exports {}", names.join(", ")),
            };
            LoadError::Export { path: path(), found }
        })
    }

    fn imports(
        &self,
        component: &Component,
        grants: &Grants,
        handler: &str,
        path: impl Fn() -> PathBuf,
    ) -> Result<(), LoadError> {
        let component_type = component.component_type();
        for (import, _) in component_type.imports(self.wasmtime()) {
            if let Some(reason) = grants.refusal(import, handler) {
                return Err(LoadError::Import { path: path(), import: import.to_owned(), reason });
            }
        }
        Ok(())
    }
}

impl Module {
    /// The handler's name in the manifest.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// SHA-256 of the module's file, in lower-case hexadecimal.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// Bytes of its compiled form.
    pub fn size(&self) -> usize {
        self.size
    }

    /// The budgets of one call.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Bytes of output that were not logged because the handler wrote too fast,
    /// since it was loaded.
    pub fn swallowed_output(&self) -> u64 {
        self.log_rate.swallowed()
    }

    pub(super) fn grants(&self) -> &Grants {
        &self.grants
    }

    /// Bytes swallowed since this was last asked. The instances of all workers count
    /// together, and each byte is told once.
    pub fn take_swallowed_output(&self) -> u64 {
        self.log_rate.take_swallowed()
    }

    pub(super) fn reuse(&self) -> Reuse {
        self.reuse
    }

    pub(super) fn concurrency(&self) -> usize {
        self.concurrency
    }

    /// Instances that each worker is to have ready.
    pub fn warm_up(&self) -> usize {
        self.warm_up
    }

    pub(super) fn reclaimer(&self) -> &Reclaimer {
        self.engine.reclaimer()
    }

    pub(super) fn engine(&self) -> &wasmtime::Engine {
        self.engine.wasmtime()
    }

    pub(super) fn clock(&self) -> Clock {
        Clock::new(self.engine.pulse())
    }

    pub(super) fn pre(&self) -> &InstancePre<Guest> {
        &self.pre
    }

    pub(super) fn export(&self) -> &ComponentExportIndex {
        &self.export
    }

    pub(super) fn log_rate(&self) -> &Arc<Rate> {
        &self.log_rate
    }
}

/// Tells a component from what is often given in its place, by the preamble:
/// `\0asm`, then a version and a layer.
fn kind(bytes: &[u8], path: impl Fn() -> PathBuf) -> Result<(), LoadError> {
    match bytes {
        [0, b'a', b's', b'm', 1, 0, 0, 0, ..] => Err(LoadError::CoreModule(path())),
        [0, b'a', b's', b'm', _, _, 1, 0, ..] => Ok(()),
        _ => Err(LoadError::NotWebAssembly(path())),
    }
}
