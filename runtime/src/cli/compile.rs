//! `outrigger compile`: compiles modules ahead of time.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use serde_json::{Value, json};

use super::{OutputFormat, UNUSABLE, load};
use crate::compile::{Compiler, Origin, Place, Program, entry_size};
use crate::invoke::{Engine, LoadError, Sizing};
use crate::logging::{self, LogArgs};
use crate::manifest::{CacheFolder, Compile, Handler, show_size};

/// Compile the handlers' modules ahead of time.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  outrigger compile
  outrigger compile outrigger.yaml --cache /var/cache/outrigger
  outrigger compile --module handlers/enrich.wasm --cache cache
  outrigger compile --output json | jq '.modules[].compiledBytes'

`outrigger run` with the same cache then starts without compiling; `run --compiled-only` never
compiles. Run it with the same binary, on the kind of processor that the sidecar will run on: the
compiled form of another is not used. A handler of a manifest is also linked and started once; the
variables that the manifest names must be set. --module needs no manifest, and only compiles.
Exit code 0: all of it is in the cache. 1: it could not be written. 2: the arguments, the manifest,
a module or the cache's folder cannot be used.")]
pub struct CompileArgs {
    /// The manifest.
    #[arg(default_value = "outrigger.yaml", value_name = "MANIFEST", conflicts_with = "modules")]
    manifest: PathBuf,
    /// A module to compile instead of a manifest's; may be repeated.
    #[arg(long = "module", value_name = "FILE")]
    modules: Vec<PathBuf>,
    /// The cache's folder; it is made if it is missing. Default: the one that `run` uses.
    #[arg(long, value_name = "FOLDER")]
    cache: Option<PathBuf>,
    /// How the modules are listed on stdout.
    #[arg(short, long, value_enum, default_value_t)]
    output: OutputFormat,
}

/// One module of the list.
struct Line {
    handler: Option<Arc<str>>,
    module: PathBuf,
    seconds: f64,
    done: Result<Done, LoadError>,
}

struct Done {
    digest: String,
    size: usize,
    origin: Origin,
}

impl Done {
    fn is_kept(&self) -> bool {
        !matches!(self.origin, Origin::Now { stored: false, .. })
    }
}

/// Compiles and lists what was compiled.
pub fn compile(args: &CompileArgs) -> ExitCode {
    let log = LogArgs { log_format: Default::default(), log_level: "warn".into() };
    if let Err(error) = logging::init(&log) {
        return unusable(&error);
    }
    let (mut settings, handlers) = match args.modules.is_empty() {
        false => (Compile::default(), Vec::new()),
        true => match load(&args.manifest) {
            Ok(manifest) => (manifest.compile, manifest.handlers.into_values().collect()),
            Err(code) => return code,
        },
    };
    settings.compiled_only = false;
    if let Some(folder) = &args.cache {
        settings.cache = CacheFolder::At(folder.clone());
    }
    let program = match Program::itself() {
        Ok(program) => program,
        Err(error) => return unusable(&error),
    };
    let compiler = Compiler::new(Place::Child(program), &settings, |name| std::env::var(name).ok());
    let Some(cache) = compiler.cache() else {
        return unusable(&"there is no cache: name its folder with --cache, `compile.cache` or OUTRIGGER_CACHE");
    };
    if let Err(error) = cache.prepare() {
        return unusable(&error);
    }
    let folder = cache.folder.clone();
    let engine = match Engine::with(Sizing::of(&handlers, 1), compiler) {
        Ok(engine) => engine,
        Err(error) => return unusable(&error),
    };
    let of_handlers = handlers.iter().map(|handler| line(&engine, &handler.module, Some(handler)));
    let of_modules = args.modules.iter().map(|module| line(&engine, module, None));
    let lines: Vec<Line> = of_handlers.chain(of_modules).collect();
    // A reader that is gone wants no more of it; the exit code still counts.
    _ = match args.output {
        OutputFormat::Human => write!(std::io::stdout(), "{}", human(&lines, &folder)),
        OutputFormat::Json => writeln!(std::io::stdout(), "{:#}", as_json(&lines, &folder)),
    };
    for Line { handler, done, .. } in &lines {
        match (done, handler) {
            (Err(error), Some(handler)) => super::say(format_args!("error: handler `{handler}`: {error}")),
            (Err(error), None) => super::say(format_args!("error: {error}")),
            (Ok(_), _) => {}
        }
    }
    // Each that is stored makes room for itself, and the first of this very run may have gone for it.
    let kept: BTreeMap<&str, u64> =
        lines.iter().flat_map(|line| &line.done).map(|done| (done.digest.as_str(), entry_size(done.size))).collect();
    let needed: u64 = kept.values().sum();
    if needed > settings.cache_size {
        let (needed, bound) = (show_size(needed.div_ceil(MIB) * MIB), show_size(settings.cache_size));
        super::say(format_args!(
            "error: the compiled modules take {needed} together and `compile.cacheSize` is {bound}, so that not all of \
             them are in the cache: raise it"
        ));
        return ExitCode::FAILURE;
    }
    code(&lines).into()
}

const MIB: u64 = 1 << 20;

fn unusable(error: &dyn std::fmt::Display) -> ExitCode {
    super::say(format_args!("error: {error}"));
    UNUSABLE.into()
}

fn code(lines: &[Line]) -> u8 {
    if lines.iter().any(|line| line.done.is_err()) {
        return UNUSABLE;
    }
    u8::from(!lines.iter().all(|line| line.done.as_ref().is_ok_and(Done::is_kept)))
}

fn line(engine: &Engine, module: &Path, handler: Option<&Handler>) -> Line {
    let began = Instant::now();
    let compiled = engine.compile(module, handler.and_then(|handler| handler.sha256));
    let seconds = began.elapsed().as_secs_f64();
    let done = compiled.map(|(digest, compiled)| Done { digest, size: compiled.size, origin: compiled.origin });
    // What is compiled is of no use where it does not load: better known now than at the start.
    let done = done.and_then(|done| handler.map_or(Ok(()), |handler| engine.load(handler).map(drop)).map(|()| done));
    Line { handler: handler.map(|handler| handler.name.clone()), module: module.to_owned(), seconds, done }
}

fn human(lines: &[Line], folder: &Path) -> String {
    let mut rows = vec![["module", "sha256", "compiled", "seconds", "peak memory", ""].map(str::to_owned)];
    rows.extend(lines.iter().map(row));
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..6).map(width).collect();
    let mut text = String::new();
    for row in &rows {
        let cells = row.iter().zip(&widths).enumerate().map(|(column, (cell, &width))| match column {
            2..=4 => format!("{cell:>width$}"),
            _ => format!("{cell:<width$}"),
        });
        text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    text + &format!("cache: {}\n", folder.display())
}

fn row(line: &Line) -> [String; 6] {
    let name = match &line.handler {
        Some(handler) => format!("{handler} ({})", line.module.display()),
        None => line.module.display().to_string(),
    };
    let dash = || "-".to_owned();
    let Ok(done) = &line.done else { return [name, dash(), dash(), dash(), dash(), "failed".to_owned()] };
    let (peak, what) = match done.origin {
        Origin::Cache => (None, "was there"),
        Origin::Now { peak, stored: true, .. } => (peak, "compiled"),
        Origin::Now { peak, stored: false, .. } => (peak, "compiled, not kept"),
    };
    // In whole KiB: nobody compares single bytes here.
    let size = |bytes: u64| show_size(bytes.div_ceil(1024) * 1024);
    let (peak, size) = (peak.map_or_else(dash, size), size(done.size as u64));
    [name, done.digest.clone(), size, format!("{:.3}", line.seconds), peak, what.to_owned()]
}

fn as_json(lines: &[Line], folder: &Path) -> Value {
    let module = |line: &Line| {
        let mut value = json!({ "handler": line.handler.as_deref(), "module": line.module.display().to_string() });
        let more = match &line.done {
            Err(error) => json!({ "error": error.to_string() }),
            Ok(done) => json!({
                "sha256": done.digest,
                "compiledBytes": done.size,
                "seconds": line.seconds,
                "fromCache": done.origin == Origin::Cache,
                "stored": done.is_kept(),
                "peakMemoryBytes": match done.origin { Origin::Now { peak, .. } => peak, Origin::Cache => None },
            }),
        };
        if let (Some(value), Value::Object(more)) = (value.as_object_mut(), more) {
            value.extend(more);
        }
        value
    };
    json!({ "cache": folder.display().to_string(), "modules": lines.iter().map(module).collect::<Vec<_>>() })
}
