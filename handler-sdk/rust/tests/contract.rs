//! The crate carries a copy of the contract, so that it can be published alone.

use std::path::Path;

#[test]
fn the_copied_contract_is_the_projects() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let project = here.join("../../wit/handler.wit");
    if !project.exists() {
        return; // built from a published package: there is no project around it
    }
    let read = |path: &Path| std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    assert_eq!(
        read(&here.join("wit/handler.wit")),
        read(&project),
        "copy wit/handler.wit to handler-sdk/rust/wit/handler.wit"
    );
}
