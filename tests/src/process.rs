//! Child processes that end with the tests, however these end.
// `kill`, `atexit`, `prctl` and the hook between fork and exec have no safe form.
#![allow(unsafe_code)]

use std::collections::HashSet;
use std::io;
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{LazyLock, Mutex, Once, PoisonError};
use std::time::Duration;

use crate::wait::eventually;

/// A running child process; dropping it kills it.
pub(crate) struct Process(Child);

impl Process {
    /// Starts a command.
    pub(crate) fn start(command: Command) -> io::Result<Process> {
        // The kernel sends the death signal when the *thread* that forked ends,
        // and every test has a thread of its own: one that lives as long as the
        // process starts all children.
        type Order = (Command, SyncSender<io::Result<Child>>);
        static STARTER: LazyLock<SyncSender<Order>> = LazyLock::new(|| {
            let (orders, inbox) = sync_channel::<Order>(0);
            std::thread::spawn(move || {
                for (mut command, answer) in inbox {
                    // Nobody waits for the answer any more: then the child ends here.
                    if let Err(unheard) = answer.send(spawn_bound(&mut command)) {
                        let _ = unheard.0.map(|mut child| child.kill());
                    }
                }
            });
            orders
        });
        let (answer, child) = sync_channel(1);
        STARTER.send((command, answer)).map_err(io::Error::other)?;
        Ok(Process(child.recv().map_err(io::Error::other)??))
    }

    /// Has a command run without what root has beyond other users: the right to files whose
    /// mode denies it. For other users this changes nothing.
    pub(crate) fn deny_override(command: &mut Command) {
        #[cfg(target_os = "linux")]
        {
            // Of linux/capability.h, which `libc` does not have.
            const CAP_DAC_OVERRIDE: libc::c_ulong = 1;
            const CAP_DAC_READ_SEARCH: libc::c_ulong = 2;
            // SAFETY: prctl is async-signal-safe; nothing else runs between fork and exec.
            unsafe {
                command.pre_exec(|| {
                    for capability in [CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH] {
                        // Refused where the user is not root, who does not have them anyway.
                        libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0);
                    }
                    Ok(())
                });
            }
        }
    }

    /// The child itself, for its pipes.
    pub(crate) fn child(&mut self) -> &mut Child {
        &mut self.0
    }

    /// The process id.
    pub(crate) fn id(&self) -> u32 {
        self.0.id()
    }

    /// Sends a signal; one that has ended already gets none.
    pub(crate) fn signal(&self, signal: libc::c_int) {
        // SAFETY: `kill` reads no memory. The child has not been waited for
        // where it still runs, so its id cannot belong to another process.
        unsafe { libc::kill(self.id() as libc::pid_t, signal) };
    }

    /// Limits how many files it may have open from now on; those that it has stay.
    #[cfg(target_os = "linux")]
    pub(crate) fn limit_files(&self, files: u64) {
        let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        let pid = self.id() as libc::pid_t;
        // SAFETY: both pointers are null or to a `rlimit` that outlives the call;
        // the child has not been waited for, so its id is its own.
        let done = unsafe {
            libc::prlimit(pid, libc::RLIMIT_NOFILE, std::ptr::null(), &raw mut limit) == 0 && {
                limit.rlim_cur = files.min(limit.rlim_max);
                libc::prlimit(pid, libc::RLIMIT_NOFILE, &raw const limit, std::ptr::null_mut()) == 0
            }
        };
        assert!(done, "cannot limit the files of a child: {}", io::Error::last_os_error());
    }

    /// The exit status, if it has ended.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.0.try_wait().expect("the state of a child")
    }

    /// Waits until it has ended by itself.
    #[track_caller]
    pub(crate) fn wait(&mut self, what: &str, deadline: Duration) -> ExitStatus {
        eventually(what, deadline, || self.ended().ok_or_else(|| "it still runs".to_owned()))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts a child that is killed when this process ends, even by SIGKILL.
fn spawn_bound(command: &mut Command) -> io::Result<Child> {
    #[cfg(target_os = "linux")]
    {
        let parent = std::process::id();
        // SAFETY: prctl and getppid are async-signal-safe; nothing else runs
        // between fork and exec.
        unsafe {
            command.pre_exec(move || {
                if libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) != 0 {
                    return Err(io::Error::last_os_error());
                }
                // The parent may have ended before the line above.
                if libc::getppid() as u32 != parent {
                    return Err(io::Error::from(io::ErrorKind::NotConnected));
                }
                Ok(())
            });
        }
    }
    command.spawn()
}

type AtExit = Box<dyn FnOnce() + Send>;
static AT_EXIT: Mutex<Vec<AtExit>> = Mutex::new(Vec::new());

/// Runs `f` when the process exits: what is shared by all tests is never dropped.
pub(crate) fn at_exit(f: impl FnOnce() + Send + 'static) {
    extern "C" fn run() {
        let all = std::mem::take(&mut *AT_EXIT.lock().unwrap_or_else(PoisonError::into_inner));
        all.into_iter().for_each(|f| f());
    }
    static REGISTER: Once = Once::new();
    AT_EXIT.lock().unwrap_or_else(PoisonError::into_inner).push(Box::new(f));
    // SAFETY: `run` is a plain function; it does not unwind, since what it calls
    // only removes files and ends children.
    REGISTER.call_once(|| unsafe {
        libc::atexit(run);
    });
}

/// A loopback port that nothing listens on and that no other test has been given.
pub fn free_port() -> u16 {
    static GIVEN: Mutex<Option<HashSet<u16>>> = Mutex::new(None);
    let mut given = GIVEN.lock().unwrap_or_else(PoisonError::into_inner);
    let given = given.get_or_insert_default();
    loop {
        // Below the range from which outgoing connections take theirs, so that
        // none of them can have it before the server that it is meant for.
        let port = fastrand::u16(15_000..32_000);
        if given.insert(port) && TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_outlives_the_thread_that_asked_for_it_and_not_its_owner() {
        let mut command = Command::new("sleep");
        command.arg("600");
        let mut sleeper = std::thread::spawn(|| Process::start(command).unwrap()).join().unwrap();
        assert!(sleeper.ended().is_none());
        let folder = format!("/proc/{}", sleeper.id());
        assert!(std::path::Path::new(&folder).exists());
        drop(sleeper);
        assert!(!std::path::Path::new(&folder).exists());
    }
}
