//! `outrigger run`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{UNUSABLE, compiler, load};
use crate::app::{Options, Sidecar, StartError};
use crate::logging::{self, LogArgs};

/// How often the signals' loop looks whether the sidecar has ended by itself.
const LOOK: Duration = Duration::from_millis(100);

/// Run the sidecar.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  outrigger run /etc/outrigger/outrigger.yaml
  outrigger run --compiled-only outrigger.yaml    after `outrigger compile outrigger.yaml`

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
    let started = compiler(&manifest)
        .map_err(StartError::from)
        .and_then(|compiler| Sidecar::start(manifest, Options { compiler, ..Options::default() }));
    let sidecar = match started {
        Ok(sidecar) => sidecar,
        Err(error) => {
            tracing::error!("{error}");
            return UNUSABLE.into();
        }
    };
    runtime.block_on(async {
        while !sidecar.has_ended() {
            tokio::select! {
                name = signals.next() => {
                    tracing::info!(signal = name, "stopping");
                    break;
                }
                () = tokio::time::sleep(LOOK) => {}
            }
        }
    });
    let code = std::thread::scope(|scope| {
        let stopping = scope.spawn(move || sidecar.stop(within));
        runtime.block_on(async {
            while !stopping.is_finished() {
                tokio::select! {
                    name = signals.next() => {
                        tracing::warn!(signal = name, "second signal: ending at once; what is not committed will come again");
                        std::process::exit(1);
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

struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Signals> {
        Ok(Signals { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}
