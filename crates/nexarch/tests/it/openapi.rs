//! The API as a document: a change of it is a decision, seen in a diff.

use crate::support::home::Home;

const SNAPSHOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/openapi.json");

#[test]
fn the_document_is_the_committed_one() {
    let output = Home::new().output(["openapi"]);
    assert!(output.status.success(), "{output:?}");
    let made = String::from_utf8(output.stdout).unwrap();
    let committed = std::fs::read_to_string(SNAPSHOT).unwrap();
    assert!(
        made == committed,
        "the API differs from docs/openapi.json; if that is meant: nexarch openapi > docs/openapi.json"
    );
}
