//! Outrigger, as the library that `outrigger run` is made of: with the handler
//! as a component, or with a native function in its place.

use std::future::{Future, ready};
use std::path::Path;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use outrigger::app::{Options, Sidecar};
use outrigger::invoke::{Call, Report};
use outrigger::manifest::{self, Manifest};
use outrigger::outcome::{Failure as Failed, FailureClass, Outcome, Output};
use outrigger::worker::Guest;

use crate::events;
use crate::job::{Contender, Job};
use crate::worker::{DEADLINE, Failure, Measured, Stopwatch, Task};

const ROUTE: &str = "bench";

/// How exactly the end is seen.
const LOOK: Duration = Duration::from_millis(2);

/// The manifest of a job: everything that is not said is the default.
pub fn manifest_text(task: &Task) -> String {
    let Task { servers, topic, output, group, module, .. } = task;
    format!(
        "apiVersion: outrigger/v1
kafka:
  bootstrapServers: {servers}
  groupId: {group}
  topics: [{topic}]
handlers:
  bench: {{ module: {module} }}
routes:
  - name: {ROUTE}
    match: {{ type: {input} }}
    handler: bench
    output: {output}
",
        module = module.display(),
        input = events::INPUT,
    )
}

/// Reads the topic to its end.
///
/// # Errors
/// If anything fails, or if not every event was handled.
pub fn run(task: &Task) -> Result<Measured, Failure> {
    let job = task.job;
    let guests = move |_| Rc::new(Native(job)) as Rc<dyn Guest>;
    let options = Options {
        guests: (task.contender == Contender::Native).then(|| Arc::new(guests) as outrigger::worker::Guests),
        ..Options::default()
    };
    let sidecar = Sidecar::start(manifest(task)?, options)?;
    let records = sidecar.metrics().records(&task.topic);
    let handled = sidecar.metrics().events(ROUTE, "handled");

    let started = Instant::now();
    wait(&sidecar, started, || records.get() > 0)?;
    let stopwatch = Stopwatch::start()?;
    wait(&sidecar, started, || handled.get() >= task.events)?;
    let stopped = sidecar.stop(Duration::from_secs(20));
    let measured = stopwatch.stop()?;
    match stopped.failure {
        Some(failure) => Err(failure.into()),
        None if !stopped.committed => Err("the last commit was not answered".into()),
        None => Ok(measured),
    }
}

fn manifest(task: &Task) -> Result<Manifest, Failure> {
    let loaded = manifest::load_str("bench", &manifest_text(task), Path::new("/"), &|_| None);
    let (manifest, _) = loaded
        .map_err(|problems| problems.iter().map(|problem| problem.render(false)).collect::<Vec<_>>().join("\n"))?;
    Ok(manifest)
}

fn wait(sidecar: &Sidecar, started: Instant, done: impl Fn() -> bool) -> Result<(), Failure> {
    while !done() {
        if sidecar.has_ended() {
            return Err("the sidecar ended by itself".into());
        }
        if started.elapsed() > DEADLINE {
            return Err(format!("not done after {DEADLINE:?}").into());
        }
        std::thread::sleep(LOOK);
    }
    Ok(())
}

/// A handler in the host's own code.
struct Native(Job);

impl Guest for Native {
    fn call(&self, call: Call) -> Pin<Box<dyn Future<Output = Report>>> {
        let started = Instant::now();
        let outcome = match self.0 {
            Job::Consume => Outcome::Handled(Vec::new()),
            Job::Transform => transform(&call).unwrap_or_else(|error| {
                let reason = error.to_string().into();
                Outcome::Failed(Failed { class: FailureClass::Rejected, reason, retry_after: None })
            }),
        };
        Box::pin(ready(Report { outcome, duration: started.elapsed(), cpu: Duration::ZERO }))
    }

    fn trim(&self, _: Instant) {}
}

fn transform(call: &Call) -> serde_json::Result<Outcome> {
    let input = serde_json::from_slice(call.envelope.data().unwrap_or_default())?;
    let output = events::transform(&input)?.map(|data| Output {
        source: "/bench".to_owned(),
        ty: events::OUTPUT.to_owned(),
        datacontenttype: Some("application/json".to_owned()),
        data: Some(data),
        ..Output::default()
    });
    Ok(Outcome::Handled(output.into_iter().collect()))
}
