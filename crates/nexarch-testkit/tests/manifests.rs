//! Rigs stay out of what users run.

use std::path::Path;

#[test]
fn this_crate_is_a_dev_dependency_everywhere() {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut users = 0;
    for entry in std::fs::read_dir(crates).unwrap() {
        let manifest = std::fs::read_to_string(entry.unwrap().path().join("Cargo.toml")).unwrap();
        let mut section = "";
        for line in manifest.lines() {
            if line.starts_with('[') {
                section = line;
            } else if line.starts_with("nexarch-testkit") {
                assert_eq!(section, "[dev-dependencies]", "{line}");
                users += 1;
            }
        }
    }
    assert!(users > 0, "nobody uses it, or this test does not see them");
}
