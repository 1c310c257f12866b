//! Modules that do not get as far as a call: what the sidecar says of them.

use std::path::Path;

use outrigger_tests::Sidecar;

use crate::modules::Modules;
use crate::table::Verdicts;

/// Each of them.
pub fn rows(verdicts: &mut Verdicts) {
    let modules = Modules::new();
    let mut refused = |what: &str, module: &Path, reason: &str| {
        let exit = Sidecar::with(manifest(module)).start().wait_end();
        let said = exit.log.iter().find(|line| line.contains(reason));
        let found = said.map_or_else(
            || format!("it did not say `{reason}`: {:?}", exit.log),
            |_| format!("refused at load: {reason}"),
        );
        verdicts.check(what, found, said.is_some() && exit.status.code() == Some(2));
    };
    refused("start function that traps", &modules.start_traps(), "does not start: the handler panicked");
    refused("start function that loops", &modules.start_loops(), "does not start: CPU time budget of 500ms exceeded");
    refused("a module of 100 memories", &modules.many_memories(100), "memories");
    refused("a component of 40 instances", &modules.many_instances(40), "instances");
    refused(
        "a segment of 200,000 elements",
        &modules.many_elements(200_000),
        "made of more than 131072 elements, globals, imports and exports",
    );
}

fn manifest(module: &Path) -> String {
    format!(
        r#"apiVersion: outrigger/v1
kafka: {{ bootstrapServers: "${{KAFKA_BOOTSTRAP_SERVERS}}", groupId: g, topics: [in] }}
handlers: {{ hostile: {{ module: {} }} }}
routes: [{{ name: all, match: {{ type: t }}, handler: hostile, output: out }}]
"#,
        module.display()
    )
}
