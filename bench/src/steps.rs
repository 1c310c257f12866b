//! Single steps of a record's way, in one thread with everything in cache: what
//! each costs by itself, without Kafka, lanes, threads or waiting.

use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use clap::Args;
use outrigger::envelope::Envelope;
use outrigger::invoke::{Call, Engine, Pool, Sizing};
use outrigger::manifest;
use outrigger::outcome::Outcome;
use outrigger::record::Record;

use crate::events;
use crate::worker::Failure;

/// What to measure.
#[derive(Debug, Args)]
pub struct Steps {
    /// The handler, a component.
    #[arg(long)]
    module: PathBuf,
    /// Events per round.
    #[arg(long, default_value_t = 200_000)]
    events: u64,
    /// Rounds; the fastest counts.
    #[arg(long, default_value_t = 5)]
    rounds: u32,
    /// Different records that are gone through in turn.
    #[arg(long, default_value_t = 64)]
    records: u64,
    /// Make a fresh instance for every call.
    #[arg(long)]
    fresh: bool,
}

/// Measures and prints.
///
/// # Errors
/// If the module cannot be loaded, or an event is not handled.
pub fn run(steps: &Steps) -> Result<(), Failure> {
    let records: Vec<_> = (0..steps.records).map(events::record).collect();
    let copy = |index: u64| {
        let record = &records[(index % steps.records) as usize];
        let headers = record.headers.iter().map(|(name, value)| (name.as_bytes(), value.as_deref()));
        Record::new(index as i64, Some(0), record.key.as_deref(), record.value.as_deref(), headers)
    };
    let report = |what: &str, each: &mut dyn FnMut(u64) -> Result<(), Failure>| -> Result<(), Failure> {
        let mut best = f64::MAX;
        for _ in 0..steps.rounds {
            let began = Instant::now();
            (0..steps.events).try_for_each(&mut *each)?;
            best = best.min(began.elapsed().as_secs_f64());
        }
        println!("{what:<24}{:>8.0} ns", best * 1e9 / steps.events as f64);
        Ok(())
    };
    let decode = |index| Envelope::decode(copy(index)).map_err(|refused| Failure::from(refused.1.to_string()));

    report("copy", &mut |index| {
        black_box(copy(index));
        Ok(())
    })?;
    report("copy, decode", &mut |index| {
        black_box(decode(index)?);
        Ok(())
    })?;
    report("parse and transform", &mut |index| {
        let value = records[(index % steps.records) as usize].value.as_deref().unwrap_or_default();
        let event: crate::bare::Event<'_> = serde_json::from_slice(value)?;
        black_box(events::transform(&event.data)?);
        Ok(())
    })?;

    let module = load(&steps.module, steps.fresh)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    let pool = Pool::new(module);
    let (route, topic, fence) = ("bench".into(), "bench".into(), Arc::new(AtomicBool::new(false)));
    let call = |envelope: Rc<Envelope>| -> Result<(), Failure> {
        let call = Call {
            envelope,
            route: Arc::clone(&route),
            topic: Arc::clone(&topic),
            partition: 0,
            attempt: 1,
            generation: 1,
            fence: Arc::clone(&fence),
        };
        match runtime.block_on(pool.call(call)).outcome {
            Outcome::Handled(outputs) => {
                black_box(outputs);
                Ok(())
            }
            other => Err(format!("{other:?}").into()),
        }
    };
    let envelopes = (0..steps.records).map(|index| decode(index).map(Rc::new)).collect::<Result<Vec<_>, _>>()?;
    report("call", &mut |index| call(envelopes[(index % steps.records) as usize].clone()))?;
    report("copy, decode, call", &mut |index| call(Rc::new(decode(index)?)))
}

fn load(module: &Path, fresh: bool) -> Result<Arc<outrigger::invoke::Module>, Failure> {
    let text = format!(
        "apiVersion: outrigger/v1
kafka: {{ bootstrapServers: none:9092, groupId: g, topics: [t] }}
handlers: {{ bench: {{ module: {}, instance: {} }} }}
routes: [{{ name: bench, match: {{ type: t }}, handler: bench, output: o }}]
",
        module.display(),
        if fresh { "fresh" } else { "warm" }
    );
    let loaded = manifest::load_str("steps", &text, Path::new("/"), &|_| None);
    let (manifest, _) = loaded
        .map_err(|problems| problems.iter().map(|problem| problem.render(false)).collect::<Vec<_>>().join("\n"))?;
    let engine = Engine::new(Sizing::of(manifest.handlers.values(), 1))?;
    let handler = manifest.handlers.values().next().ok_or("no handler")?;
    Ok(engine.load(handler)?)
}
