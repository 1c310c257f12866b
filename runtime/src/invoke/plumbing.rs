//! What every guest may import: the interfaces that language runtimes need to
//! start (WASI 0.2), always linked and without power, and logging.

use std::sync::Arc;

use wasmtime::StoreContextMut;
use wasmtime::component::{ComponentType, Lift, Linker, WasmStr};
use wasmtime_wasi::WasiCtx;

use super::guest::Guest;
use super::output_log::{Log, Stream};
use crate::manifest::Config;

/// Random bytes that one call of a guest may ask for.
const RANDOM_BYTES: u64 = 64 * 1024;

/// The names under which `wasi:logging` is imported: the proposal's package has
/// a version, and some tools leave it out.
const LOGGING: [&str; 2] = ["wasi:logging/logging@0.1.0-draft", "wasi:logging/logging"];

/// A WASI context with no arguments, no environment but what the manifest gives,
/// a closed standard input, no folders and no network; standard output and error
/// become log lines.
pub(super) fn powerless(log: &Arc<Log>, env: &Config) -> WasiCtx {
    let mut context = WasiCtx::builder();
    for (name, value) in env {
        context.env(name, value.reveal());
    }
    context
        .stdout(Log::stream(log, Stream::Stdout))
        .stderr(Log::stream(log, Stream::Stderr))
        .allow_tcp(false)
        .allow_udp(false)
        .allow_ip_name_lookup(false)
        .socket_addr_check(|_, _| Box::pin(async { false }))
        .max_random_size(RANDOM_BYTES)
        .build()
}

/// A linker with the plumbing.
///
/// # Errors
/// Only a conflict of names, which would be a mistake of this module.
pub(super) fn linker(engine: &wasmtime::Engine) -> wasmtime::Result<Linker<Guest>> {
    let mut linker = Linker::new(engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    for name in LOGGING {
        linker.instance(name)?.func_wrap("log", write_log)?;
    }
    Ok(linker)
}

#[derive(ComponentType, Lift, Clone, Copy)]
#[component(enum)]
#[repr(u8)]
#[allow(dead_code, reason = "the variants are made by lifting")]
enum LogLevel {
    #[component(name = "trace")]
    Trace,
    #[component(name = "debug")]
    Debug,
    #[component(name = "info")]
    Info,
    #[component(name = "warn")]
    Warn,
    #[component(name = "error")]
    Error,
    #[component(name = "critical")]
    Critical,
}

/// `wasi:logging/logging.log`. Text that is not UTF-8 is left out: logging is
/// never a handler's failure.
fn write_log(
    store: StoreContextMut<'_, Guest>,
    (level, context, message): (LogLevel, WasmStr, WasmStr),
) -> wasmtime::Result<()> {
    let context = context.to_str(&store).unwrap_or_default();
    let message = message.to_str(&store).unwrap_or_default();
    let level = match level {
        LogLevel::Trace => tracing::Level::TRACE,
        LogLevel::Debug => tracing::Level::DEBUG,
        LogLevel::Info => tracing::Level::INFO,
        LogLevel::Warn => tracing::Level::WARN,
        LogLevel::Error | LogLevel::Critical => tracing::Level::ERROR,
    };
    store.data().log.message(level, &context, &message);
    Ok(())
}

/// Whether the linker provides an import of this name, and if not, why.
pub(super) fn refusal(import: &str) -> Option<String> {
    let (interface, version) = import.split_once('@').unwrap_or((import, ""));
    let package = interface.split('/').next().unwrap_or(interface);
    match package {
        "outrigger:handler" => None,
        "wasi:logging" if LOGGING.contains(&import) => None,
        "wasi:logging" => Some(format!("the host provides {}", LOGGING[0])),
        "wasi:cli" | "wasi:io" | "wasi:clocks" | "wasi:random" | "wasi:filesystem" | "wasi:sockets" => {
            let provided = version.starts_with("0.2.") && !version.contains('-');
            (!provided).then(|| "the host provides this interface at versions 0.2.x".to_owned())
        }
        _ => Some(near_miss(import)),
    }
}

fn near_miss(import: &str) -> String {
    const PROVIDED: [&str; 7] =
        ["wasi:cli", "wasi:io", "wasi:clocks", "wasi:random", "wasi:filesystem", "wasi:sockets", "wasi:logging"];
    const GRANTED: [&str; 3] = ["wasi:http", "wasi:config", "wasi:keyvalue"];
    let package = import.split(['/', '@']).next().unwrap_or(import);
    let nearest = PROVIDED.iter().chain(&GRANTED).min_by_key(|known| strsim::damerau_levenshtein(package, known));
    match nearest {
        Some(known) if strsim::damerau_levenshtein(package, known) <= 3 => format!("did you mean {known}?"),
        _ => format!(
            "a handler may import {} and, where the manifest grants them, {}; nothing else",
            PROVIDED.join(", "),
            GRANTED.join(", ")
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plumbing_is_provided_at_every_0_2_version() {
        for import in [
            "wasi:cli/environment@0.2.0",
            "wasi:io/streams@0.2.12",
            "wasi:logging/logging",
            "wasi:logging/logging@0.1.0-draft",
            "outrigger:handler/types@0.1.0",
        ] {
            assert_eq!(refusal(import), None, "{import}");
        }
    }

    #[test]
    fn what_is_refused_says_why() {
        let says = |import: &str| refusal(import).unwrap_or_default();
        assert!(says("wasi:cli/stdout@0.3.0").contains("0.2.x"));
        assert!(says("wasi:cli/stdout@0.2.0-rc-2023").contains("0.2.x"));
        assert!(says("wasi:logging/logging@0.1.0").contains("0.1.0-draft"));
        assert!(says("wasi:key-value/store").contains("did you mean wasi:keyvalue?"));
        assert!(says("wasi:clock/monotonic-clock@0.2.0").contains("did you mean wasi:clocks?"));
        assert!(says("acme:database/client").contains("nothing else"));
    }
}
