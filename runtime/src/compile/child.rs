//! Compiling in a child process: what the parent does.
//!
//! Compiling cannot be cancelled, takes memory that an allocator keeps, and may find a
//! defect in the compiler. In a child each of that ends with the child.

use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::thread::{self, Builder, Scope};
use std::time::{Duration, Instant};

use super::container::memory_left;
use super::entry::LARGEST;
use super::error::CompileError;
use super::inside::{self, Head};
use crate::digest::hex;
use crate::settle::reason::printable;

/// Children are compiled one at a time: two would need the memory of two.
static ONE: Mutex<()> = Mutex::new(());

/// What is kept of what the child says: enough for any message of wasmtime.
const MESSAGE: usize = 64 * 1024;

/// The program that compiles, and what stands before the arguments that it is given. Any
/// binary whose `main` is [`crate::cli::main`] will do, if it is built like this one.
#[derive(Clone, Debug)]
pub struct Program {
    path: PathBuf,
    arguments: Vec<OsString>,
}

impl Program {
    /// The program that runs now. Right for the `outrigger` command itself; a program that
    /// only uses the library has to name an `outrigger` with [`Program::new`].
    ///
    /// # Errors
    /// The system does not say which that is.
    pub fn itself() -> io::Result<Program> {
        // This name leads to the very file that runs, also after another version was put
        // in its place, whose artefacts would not fit.
        let link = PathBuf::from("/proc/self/exe");
        if link.exists() {
            return Ok(Program::new(link));
        }
        std::env::current_exe().map(Program::new)
    }

    /// This program.
    pub fn new(path: impl Into<PathBuf>) -> Program {
        Program { path: path.into(), arguments: Vec::new() }
    }

    /// The same with an argument before those that it is given.
    #[must_use]
    pub fn argument(mut self, argument: impl Into<OsString>) -> Program {
        self.arguments.push(argument.into());
        self
    }
}

/// What one child may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// From its start to its answer.
    pub timeout: Duration,
    /// Processor time; whole seconds, rounded up.
    pub cpu_time: Duration,
    /// Bytes of memory that it may ask for.
    pub memory: u64,
}

/// What a child made.
#[derive(Debug)]
pub struct Made {
    /// The artefact.
    pub artefact: Vec<u8>,
    /// Bytes of memory that the child had at its peak; `None` where the system does not tell.
    pub peak: Option<u64>,
}

/// Compiles a module in a child, for the engine with this fingerprint. Waits for other
/// children first.
///
/// The module goes in by a pipe and the artefact comes out by one, so that neither has a
/// name under which it could be replaced, and no disk is needed. The child gets no
/// environment, and with it no secrets.
///
/// # Errors
/// See [`CompileError`].
pub fn compile(program: &Program, bounds: &Bounds, engine: &[u8; 32], module: &[u8]) -> Result<Made, CompileError> {
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let deadline = Instant::now() + bounds.timeout;
    let room = memory_left().filter(|room| *room < bounds.memory);
    let bounds = &Bounds { memory: room.unwrap_or(bounds.memory), ..*bounds };
    let mut command = Command::new(&program.path);
    command.args(&program.arguments).args(inside::arguments(bounds, &hex(engine)));
    command.env_clear().current_dir("/");
    // A group of its own: a Ctrl-C at the terminal is for the parent, which decides.
    command.process_group(0);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut running = Running(command.spawn().map_err(CompileError::Start)?);
    let said = thread::scope(|scope| running.talk(scope, module, deadline)).map_err(CompileError::Start)?;
    // It has closed its pipes, or was killed.
    let status = running.wait(deadline).map_err(CompileError::Start)?;
    match (status, said) {
        (Some(status), Some(said)) => conclude(status, said, bounds).map_err(|error| match (error, room) {
            (CompileError::Memory(_), Some(room)) => CompileError::Container(room),
            (error, _) => error,
        }),
        _ => Err(CompileError::Timeout(bounds.timeout)),
    }
}

/// What came out of a child.
#[derive(Default)]
struct Said {
    out: Vec<u8>,
    err: Vec<u8>,
}

enum Pipe {
    Out(Vec<u8>),
    Err(Vec<u8>),
}

/// A child that ends with this value, however that goes.
struct Running(Child);

impl Running {
    /// Gives it the module and takes what it writes; `None`: the deadline passed, and it was killed.
    fn talk<'s>(
        &'s mut self,
        scope: &'s Scope<'s, '_>,
        module: &'s [u8],
        deadline: Instant,
    ) -> io::Result<Option<Said>> {
        let (answer, answers) = sync_channel(2);
        let talking = self.start_to_talk(scope, module, &answer);
        drop(answer);
        if talking.is_err() {
            self.kill();
            return talking.map(|()| None);
        }
        let mut said = Said::default();
        loop {
            match answers.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(Pipe::Out(out)) => said.out = out,
                Ok(Pipe::Err(err)) => said.err = err,
                Err(RecvTimeoutError::Disconnected) => return Ok(Some(said)),
                Err(RecvTimeoutError::Timeout) => {
                    self.kill();
                    return Ok(None);
                }
            }
        }
    }

    fn start_to_talk<'s>(
        &mut self,
        scope: &'s Scope<'s, '_>,
        module: &'s [u8],
        answer: &SyncSender<Pipe>,
    ) -> io::Result<()> {
        let (Some(mut stdin), Some(stdout), Some(stderr)) =
            (self.0.stdin.take(), self.0.stdout.take(), self.0.stderr.take())
        else {
            return Err(io::Error::other("a pipe is missing"));
        };
        let thread = || Builder::new().name("compile".into());
        // A child that ends early does not read all of it: how it ended says why.
        thread().spawn_scoped(scope, move || _ = stdin.write_all(module))?;
        let out = answer.clone();
        thread().spawn_scoped(scope, move || {
            let mut bytes = Vec::new();
            _ = stdout.take(LARGEST + inside::HEAD as u64).read_to_end(&mut bytes);
            _ = out.send(Pipe::Out(bytes));
        })?;
        let err = answer.clone();
        thread().spawn_scoped(scope, move || _ = err.send(Pipe::Err(end_of(stderr))))?;
        Ok(())
    }

    /// Waits for its end; `None`: the deadline passed, and it was killed.
    fn wait(&mut self, deadline: Instant) -> io::Result<Option<ExitStatus>> {
        // It has nothing left to say, so it ends within moments; there is no call in the
        // standard library that waits for a child with a deadline.
        const LOOK: Duration = Duration::from_millis(1);
        loop {
            if let Some(status) = self.0.try_wait()? {
                return Ok(Some(status));
            }
            if Instant::now() >= deadline {
                self.kill();
                return Ok(None);
            }
            thread::sleep(LOOK);
        }
    }

    fn kill(&mut self) {
        // The group: nothing that it started may hold the pipes.
        if let Some(group) = i32::try_from(self.0.id()).ok().and_then(rustix::process::Pid::from_raw) {
            _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        }
        _ = self.0.kill();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !matches!(self.0.try_wait(), Ok(Some(_))) {
            self.kill();
            _ = self.0.wait();
        }
    }
}

/// Reads to the end and keeps what came last.
fn end_of(mut pipe: impl Read) -> Vec<u8> {
    let (mut kept, mut buffer) = (Vec::new(), [0; 4096]);
    while let Ok(count @ 1..) = pipe.read(&mut buffer) {
        kept.extend_from_slice(&buffer[..count]);
        if kept.len() > 2 * MESSAGE {
            kept.drain(..kept.len() - MESSAGE);
        }
    }
    kept
}

fn conclude(status: ExitStatus, said: Said, bounds: &Bounds) -> Result<Made, CompileError> {
    let message = String::from_utf8_lossy(&said.err);
    let message = message.trim();
    // Names that the module chose are in it, and it goes to logs and terminals as it is.
    let shown = |text: &str| printable(text, MESSAGE);
    let crashed = || CompileError::Crashed {
        status: status.to_string(),
        last_line: shown(message.lines().next_back().unwrap_or_default()),
    };
    match (status.code(), status.signal()) {
        (Some(0), _) => {
            let (head, artefact) = said.out.split_at_checked(inside::HEAD).ok_or_else(crashed)?;
            let head = Head::read(head).filter(|head| head.length == artefact.len() as u64).ok_or_else(crashed)?;
            Ok(Made { artefact: artefact.to_vec(), peak: head.peak })
        }
        (Some(inside::INVALID), _) => Err(CompileError::Invalid(shown(message))),
        (Some(inside::OUT_OF_MEMORY), _) => Err(CompileError::Memory(bounds.memory)),
        (_, Some(libc::SIGXCPU)) => Err(CompileError::CpuTime(bounds.cpu_time)),
        (_, Some(libc::SIGKILL)) => Err(CompileError::Killed),
        // What Rust says when an allocation fails, before it aborts.
        (_, Some(libc::SIGABRT)) if message.contains("memory allocation of ") => {
            Err(CompileError::Memory(bounds.memory))
        }
        _ => Err(crashed()),
    }
}
