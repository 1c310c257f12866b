//! `outrigger dev`: see [`crate::dev`].

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::{UNUSABLE, compiler, load};
use crate::app::{Options, Sidecar};
use crate::dev::{self, DevArgs};
use crate::logging::{self, LogArgs};
use crate::manifest::{self, Manifest};
use crate::reload::Sources;

/// The commits and the leaving of a sidecar whose broker is in the same process take moments.
const STOP_WITHIN: Duration = Duration::from_secs(10);

/// Runs the command.
pub fn dev(args: &DevArgs) -> ExitCode {
    // Outcomes are lines already: logs show what is not one, and what handlers write.
    let log = LogArgs { log_format: Default::default(), log_level: "error,kafka=off,outrigger::guest=info".into() };
    if let Err(error) = logging::init(&log) {
        super::say(format_args!("error: {error}"));
        return UNUSABLE.into();
    }
    let manifest = match load(&args.manifest) {
        Ok(manifest) => manifest,
        Err(code) => return code,
    };
    let interrupted = match interrupts() {
        Ok(interrupted) => interrupted,
        Err(error) => {
            super::say(format_args!("error: signals cannot be received: {error}"));
            return ExitCode::FAILURE;
        }
    };
    let start = |manifest: Manifest, observer| {
        // What connects is the embedded broker's, whatever is saved.
        let (path, running) = (args.manifest.clone(), manifest.clone());
        let read = move || {
            let Manifest { kafka, probes, commit_interval, .. } = running.clone();
            manifest::load(&path)
                .map(|(saved, w)| (Manifest { kafka, probes, commit_interval, admin: None, ..saved }, w))
        };
        let reload = Some(Sources { path: args.manifest.clone(), read: Arc::new(read) });
        let compiler = compiler(&manifest).map_err(|error| error.to_string())?;
        let options = Options { observer: Some(observer), compiler, reload, ..Options::default() };
        Sidecar::start(manifest, options).map_err(|error| error.to_string())
    };
    let code = match dev::run(args, manifest, &interrupted, start) {
        Ok(true) => 0,
        Ok(false) => 1,
        Err(error) => {
            super::say(format_args!("error: {error}"));
            error.exit_code()
        }
    };
    // Not by returning: dropping a Kafka client can wait without end.
    std::process::exit(code.into())
}

impl dev::Sidecar for Sidecar {
    fn failed(&self) -> Option<String> {
        self.has_ended().then(|| "see the error above".to_owned())
    }

    fn stop(self) -> Result<(), String> {
        let stopped = Sidecar::stop(self, STOP_WITHIN);
        match stopped.failure {
            Some(failure) => Err(failure),
            None if !stopped.committed => Err("the last commit was not answered".to_owned()),
            None => Ok(()),
        }
    }
}

/// Set at the first SIGINT or SIGTERM; the second one ends the process.
fn interrupts() -> std::io::Result<Arc<AtomicBool>> {
    use tokio::signal::unix::{SignalKind, signal};
    let flag = Arc::new(AtomicBool::new(false));
    let set = flag.clone();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::Builder::new().name("signals".into()).spawn(move || {
        runtime.block_on(async {
            let (Ok(mut interrupt), Ok(mut terminate)) =
                (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
            else {
                // Without handlers, a signal ends the process at once, which is acceptable here.
                return;
            };
            loop {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                }
                if set.swap(true, Ordering::Relaxed) {
                    std::process::exit(1);
                }
            }
        });
    })?;
    Ok(flag)
}
