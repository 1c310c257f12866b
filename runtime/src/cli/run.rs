//! `outrigger run`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{UNUSABLE, compiler, load};
use crate::app::{Options, Sidecar, StartError};
use crate::logging::{self, LogArgs};
use crate::manifest;
use crate::reload::Sources;

/// How often the signals' loop looks whether the sidecar has ended by itself.
const LOOK: Duration = Duration::from_millis(100);

/// Run the sidecar.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  outrigger run /etc/outrigger/outrigger.yaml
  outrigger run --compiled-only outrigger.yaml    after `outrigger compile outrigger.yaml`

It reloads the manifest and the modules when they change, or at SIGHUP, while it runs; what
cannot be taken over is logged, and what ran before goes on.

SIGTERM and SIGINT end it in good order within shutdownTimeout: it stops reading, lets
running calls finish, publishes, commits and leaves the group. A second one ends it at once.
Exit code 0: the last commit was answered. 1: it failed, or records will come again. 2: the
arguments, the manifest or a module cannot be used.")]
pub struct RunArgs {
    /// The manifest.
    #[arg(default_value = "outrigger.yaml", value_name = "MANIFEST")]
    manifest: PathBuf,
    /// Compile nothing: a module that is not in the cache of compiled modules is refused.
    #[arg(long)]
    compiled_only: bool,
    #[command(flatten)]
    log: LogArgs,
}

/// Runs until a signal or a failure.
pub fn run(args: &RunArgs) -> ExitCode {
    if let Err(error) = logging::init(&args.log) {
        super::say(format_args!("error: {error}"));
        return UNUSABLE.into();
    }
    let mut manifest = match load(&args.manifest) {
        Ok(manifest) => manifest,
        Err(code) => return code,
    };
    manifest.compile.compiled_only |= args.compiled_only;
    let within = manifest.shutdown_timeout;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let signals = runtime.and_then(|runtime| {
        // From now on a signal ends the process in good order.
        let signals = runtime.block_on(async { Signals::new() })?;
        Ok((runtime, signals))
    });
    let (runtime, mut signals) = match signals {
        Ok(both) => both,
        Err(error) => {
            tracing::error!(%error, "signals cannot be received");
            return ExitCode::FAILURE;
        }
    };
    let reload = Some(sources(args));
    let start = move || {
        let compiler = compiler(&manifest)?;
        Sidecar::start(manifest, Options { compiler, reload, ..Options::default() })
    };
    let sidecar = match runtime.block_on(unless_ended(&mut signals, start)) {
        Ok(Some(sidecar)) => sidecar,
        // Nothing was consumed, and what compiles ends with this process.
        Ok(None) => std::process::exit(0),
        Err(error) => {
            tracing::error!("{error}");
            return UNUSABLE.into();
        }
    };
    runtime.block_on(async {
        while !sidecar.has_ended() {
            tokio::select! {
                told = signals.next() => match told {
                    Told::End(name) => {
                        tracing::info!(signal = name, "stopping");
                        break;
                    }
                    Told::Reload => sidecar.reload().into_iter().for_each(|reload| reload.signal()),
                },
                () = tokio::time::sleep(LOOK) => {}
            }
        }
    });
    let code = std::thread::scope(|scope| {
        let stopping = scope.spawn(move || sidecar.stop(within));
        runtime.block_on(async {
            while !stopping.is_finished() {
                tokio::select! {
                    told = signals.next() => {
                        if let Told::End(name) = told {
                            tracing::warn!(signal = name, "second signal: ending at once; what is not committed will come again");
                            std::process::exit(1);
                        }
                    }
                    () = tokio::time::sleep(LOOK / 10) => {}
                }
            }
        });
        stopping.join().map_or(1, |stopped| conclude(&stopped))
    });
    // Not by returning: dropping a Kafka client can wait without end.
    std::process::exit(code)
}

/// Starts it, which may take as long as compiling does; `None`: it was told to end meanwhile.
async fn unless_ended<T: Send + 'static>(
    signals: &mut Signals,
    start: impl FnOnce() -> Result<T, StartError> + Send + 'static,
) -> Result<Option<T>, StartError> {
    let (done, mut started) = tokio::sync::oneshot::channel();
    // Nobody listens any more where it was told to end.
    std::thread::Builder::new().name("start".into()).spawn(move || _ = done.send(start()))?;
    loop {
        tokio::select! {
            started = &mut started => return match started {
                Ok(started) => started.map(Some),
                Err(_) => Err(std::io::Error::other("the host panicked as it started; this is a defect of Outrigger").into()),
            },
            told = signals.next() => if let Told::End(name) = told {
                tracing::info!(signal = name, "stopping before it has started: nothing was consumed");
                return Ok(None);
            },
        }
    }
}

/// Where reloads read the manifest. What the arguments say counts for them too: without it, what
/// they read would differ from what runs in a key that needs a restart.
fn sources(args: &RunArgs) -> Sources {
    let (path, compiled_only) = (args.manifest.clone(), args.compiled_only);
    let read = move || {
        let (mut manifest, warnings) = manifest::load(&path)?;
        manifest.compile.compiled_only |= compiled_only;
        Ok((manifest, warnings))
    };
    Sources { path: args.manifest.clone(), read: Arc::new(read) }
}

fn conclude(stopped: &crate::source::Stopped) -> i32 {
    if let Some(failure) = &stopped.failure {
        tracing::error!("ended: {failure}");
        return 1;
    }
    if !stopped.committed {
        tracing::error!(
            come_again = stopped.come_again,
            "the last commit was not answered; up to {} records will come again",
            stopped.come_again
        );
        return 1;
    }
    tracing::info!(
        come_again = stopped.come_again,
        "ended in good order; {} unfinished records will come again",
        stopped.come_again
    );
    0
}

/// What a signal says.
enum Told {
    End(&'static str),
    Reload,
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Signals> {
        Ok(Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) -> Told {
        tokio::select! {
            _ = self.terminate.recv() => Told::End("SIGTERM"),
            _ = self.interrupt.recv() => Told::End("SIGINT"),
            _ = self.hangup.recv() => Told::Reload,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MANIFEST: &str = "{ apiVersion: outrigger/v1, handlers: { h: { module: h.wasm } }, \
        kafka: { bootstrapServers: 'localhost:9092', groupId: group, topics: [t] }, \
        routes: [{ name: r, match: { type: a }, handler: h }] }";

    #[test]
    fn the_arguments_hold_for_reloads_too() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("h.wasm"), b"").unwrap();
        let manifest = folder.path().join("outrigger.yaml");
        std::fs::write(&manifest, MANIFEST).unwrap();
        for compiled_only in [false, true] {
            let log = LogArgs { log_format: Default::default(), log_level: "info".into() };
            let sources = sources(&RunArgs { manifest: manifest.clone(), compiled_only, log });
            assert_eq!((sources.read)().unwrap().0.compile.compiled_only, compiled_only);
        }
    }
}
