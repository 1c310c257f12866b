//! `outrigger check`: says what is wrong with a manifest, all of it at once.

use std::io::{IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use serde_json::{Value, json};

use super::OutputFormat;
use crate::manifest::{self, Diagnostic, Manifest, Severity};

const EXAMPLES: &str = "\
Examples:
  outrigger check
  outrigger check deploy/outrigger.yaml
  outrigger check --output json | jq '.diagnostics[].message'

Nothing is connected to. Variables and files that the manifest names must be
there. Exit code: 0 the manifest can be used, 2 it cannot.";

/// Arguments of `outrigger check`.
#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub struct CheckArgs {
    /// The manifest
    #[arg(default_value = "outrigger.yaml", value_name = "MANIFEST")]
    pub manifest: PathBuf,
    /// How the problems are printed: for people to stderr, as JSON to stdout
    #[arg(short, long, value_enum, default_value_t)]
    pub output: OutputFormat,
}

/// Checks the manifest and prints every problem. Answers 0 where it can be
/// used, warnings or not, and 2 where it cannot.
pub fn check(args: CheckArgs) -> ExitCode {
    let path = args.manifest;
    let loaded = manifest::load(&path);
    // A reader that is gone wants no more of it; the exit code still counts.
    match args.output {
        OutputFormat::Human => {
            let colour = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty());
            let _ = writeln!(std::io::stderr(), "{}", human(&path.display().to_string(), &loaded, colour));
        }
        OutputFormat::Json => {
            let _ = writeln!(std::io::stdout(), "{:#}", as_json(&loaded));
        }
    }
    if loaded.is_ok() { ExitCode::SUCCESS } else { ExitCode::from(2) }
}

type Loaded = Result<(Manifest, Vec<Diagnostic>), Vec<Diagnostic>>;

fn diagnostics(loaded: &Loaded) -> &[Diagnostic] {
    match loaded {
        Ok((_, diagnostics)) | Err(diagnostics) => diagnostics,
    }
}

fn count(diagnostics: &[Diagnostic], severity: Severity) -> usize {
    diagnostics.iter().filter(|diagnostic| diagnostic.severity == severity).count()
}

fn human(name: &str, loaded: &Loaded, colour: bool) -> String {
    let number = |n: usize, what: &str| format!("{n} {what}{}", if n == 1 { "" } else { "s" });
    let found = diagnostics(loaded);
    let mut out = String::new();
    for diagnostic in found {
        out.push_str(&diagnostic.render(colour));
        out.push_str("\n\n");
    }
    let warnings = match count(found, Severity::Warning) {
        0 => String::new(),
        n => format!(", {}", number(n, "warning")),
    };
    let summary = match loaded {
        Ok((manifest, _)) => {
            let (handlers, routes) =
                (number(manifest.handlers.len(), "handler"), number(manifest.routes.len(), "route"));
            let memory = manifest.guest_memory();
            format!("{name}: valid, {handlers}, {routes}{warnings}\nthe handlers' instances may hold {memory}")
        }
        Err(found) => format!("{name}: {}{warnings}", number(count(found, Severity::Error), "error")),
    };
    out + &summary
}

fn as_json(loaded: &Loaded) -> Value {
    let found = diagnostics(loaded);
    let memory = loaded.as_ref().ok().map(|(manifest, _)| manifest.guest_memory());
    json!({
        "valid": loaded.is_ok(),
        "errors": count(found, Severity::Error),
        "warnings": count(found, Severity::Warning),
        "guestMemoryBytes": memory.map(|memory| memory.total()),
        "diagnostics": found.iter().map(Diagnostic::to_json).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use clap::Parser as _;

    use super::*;

    #[derive(clap::Parser)]
    struct Command {
        #[command(flatten)]
        args: CheckArgs,
    }

    fn parse(args: &[&str]) -> Result<CheckArgs, clap::Error> {
        Command::try_parse_from([&["check"], args].concat()).map(|command| command.args)
    }

    fn load(text: &str) -> Loaded {
        manifest::load_str("m.yaml", text, Path::new("."), &|_| None)
    }

    #[test]
    fn arguments() {
        assert_eq!(parse(&["a.yaml"]).unwrap().manifest, PathBuf::from("a.yaml"));
        assert_eq!(parse(&["a.yaml", "-o", "json"]).unwrap().output, OutputFormat::Json);
        assert!(parse(&["a.yaml", "b.yaml"]).is_err());
    }

    #[test]
    fn people_get_every_problem_and_a_sum() {
        let text = human("m.yaml", &load("apiVersion: outrigger/v1\nrouts: []\n"), false);
        assert!(text.contains("unknown key `routs`") && text.contains("did you mean `routes`?"), "{text}");
        assert!(text.ends_with("m.yaml: 4 errors"), "{text}");
    }

    #[test]
    fn the_memory_of_the_handlers_is_said_where_the_manifest_is_valid() {
        let text = "apiVersion: outrigger/v1\nworkers: 2\nkafka: { bootstrapServers: k, groupId: g, topics: [t] }\n\
                    handlers: { h: { module: Cargo.toml } }\nroutes: [{ name: r, match: { type: t }, handler: h }]\n";
        let said = human("m.yaml", &load(text), false);
        assert!(
            said.ends_with("\nthe handlers' instances may hold 4GiB (2 workers, on each `h` 32 x 64MiB)"),
            "{said}"
        );
        assert_eq!(as_json(&load(text))["guestMemoryBytes"], json!(4_u64 << 30));
        assert_eq!(as_json(&load(""))["guestMemoryBytes"], Value::Null);
    }

    #[test]
    fn programs_get_the_same() {
        let found = as_json(&load("apiVersion: outrigger/v1\nrouts: []\n"));
        assert_eq!((&found["valid"], &found["errors"], &found["warnings"]), (&json!(false), &json!(4), &json!(0)));
        let unknown = found["diagnostics"].as_array().unwrap().iter().find(|d| d["line"] == 2).unwrap();
        let expected = json!({
            "severity": "error", "file": "m.yaml", "line": 2, "column": 1, "message": "unknown key `routs`",
            "help": "did you mean `routes`?", "sourceLine": "routs: []",
        });
        assert_eq!(*unknown, expected);
    }

    #[test]
    fn the_exit_code_tells_whether_it_can_be_used() {
        let missing = parse(&["no/such/outrigger.yaml"]).unwrap();
        assert_eq!(format!("{:?}", check(missing)), format!("{:?}", ExitCode::from(2)));
    }
}
