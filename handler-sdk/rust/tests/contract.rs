//! The crate carries a copy of the contract, so that it can be published alone.

use std::path::Path;

#[test]
fn the_copied_contract_is_the_projects() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    for file in ["handler.wit", "deps/config/store.wit", "deps/config/world.wit"] {
        let project = here.join("../../wit").join(file);
        if !project.exists() {
            return; // built from a published package: there is no project around it
        }
        let read = |path: &Path| std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let copy = here.join("wit").join(file);
        assert_eq!(read(&copy), read(&project), "copy wit/{file} to handler-sdk/rust/wit/{file}");
    }
}
