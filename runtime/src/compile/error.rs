//! Why a module has no compiled form.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use super::folder::FolderError;
use crate::manifest::{show_duration, show_size};

/// What helps where compiling takes more than this place has.
const AHEAD: &str =
    "or compile it ahead of time, where there is more: `outrigger compile MANIFEST` (see docs/compile.md)";

/// Why a module has no compiled form. To be read behind the module's name.
#[derive(Debug, thiserror::Error)]
pub enum CompileError {
    /// It is not valid, or uses what Outrigger does not run.
    #[error("cannot be compiled: {0}")]
    Invalid(String),
    /// It is larger than the manifest allows.
    #[error(
        "is not compiled: it has {}, and `compile.moduleSize` is {}",
        show_size(*.size), show_size(*.limit)
    )]
    TooLarge {
        /// In bytes.
        size: u64,
        /// In bytes.
        limit: u64,
    },
    /// The bound that the manifest sets was reached.
    #[error(
        "cannot be compiled: that takes more memory than the {} of `compile.memory`; raise it, {AHEAD}",
        show_size(*.0)
    )]
    Memory(u64),
    /// More would have had the kernel kill this process too.
    #[error(
        "cannot be compiled: that takes more memory than the {} that this container has left, and where its limit is \
         reached the kernel ends all of it; give it more, {AHEAD}",
        show_size((*.0).next_multiple_of(1024))
    )]
    Container(u64),
    /// Something killed the child, and not this process.
    #[error(
        "cannot be compiled: the compiling process was killed (SIGKILL), most likely because the memory of this \
         container or machine is used up; give it more, {AHEAD}"
    )]
    Killed,
    /// The bound on processor time was reached.
    #[error(
        "cannot be compiled: that takes longer than the {} of processor time of `compile.cpuTime`; raise it, {AHEAD}",
        show_duration(*.0)
    )]
    CpuTime(Duration),
    /// The bound on time was reached.
    #[error("cannot be compiled: that takes longer than the {} of `compile.timeout`; raise it, {AHEAD}", show_duration(*.0))]
    Timeout(Duration),
    /// A defect of the compiler, or of the machine.
    #[error("cannot be compiled: the compiling process ended with {status}{}{last_line}", if .last_line.is_empty() { "" } else { ": " })]
    Crashed {
        /// How it ended.
        status: String,
        /// The last that it wrote, if anything.
        last_line: String,
    },
    /// No child.
    #[error("cannot be compiled: the compiling process cannot be started: {0}")]
    Start(io::Error),
    /// The compiled form does not load: a defect.
    #[error("cannot be loaded: {0}")]
    Load(String),
    /// Only what is compiled may be used, and this is not.
    #[error(
        "is not compiled for this version of Outrigger on this kind of processor, and nothing may be compiled here \
         (--compiled-only or `compile.compiledOnly`): {why}; `outrigger compile MANIFEST --cache {}` makes it, with the \
         same binary",
        .folder.display()
    )]
    NotCompiled {
        /// Where it was looked for.
        folder: PathBuf,
        /// What was found there.
        why: String,
    },
    /// Only what is compiled may be used, and there is no place to find it in.
    #[error(
        "is not compiled, and nothing may be compiled here (--compiled-only or `compile.compiledOnly`): there is no \
         cache; name its folder with `compile.cache` or OUTRIGGER_CACHE"
    )]
    NoCache,
    /// Only what is compiled may be used, and its place is not usable.
    #[error("is not compiled, and nothing may be compiled here (--compiled-only or `compile.compiledOnly`): {0}")]
    Folder(FolderError),
}

impl CompileError {
    /// Whether the same module may be compiled at another time: what stands in the way is
    /// the machine, or what is not there yet.
    pub fn may_pass(&self) -> bool {
        match self {
            CompileError::Killed
            | CompileError::Container(_)
            | CompileError::Timeout(_)
            | CompileError::Start(_)
            | CompileError::NotCompiled { .. }
            | CompileError::Folder(_) => true,
            CompileError::Invalid(_)
            | CompileError::TooLarge { .. }
            | CompileError::Memory(_)
            | CompileError::CpuTime(_)
            | CompileError::Crashed { .. }
            | CompileError::Load(_)
            | CompileError::NoCache => false,
        }
    }
}
