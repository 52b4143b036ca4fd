//! The README as a newcomer reads it: its shell lines are run, word for word but for the port.

use std::process::{Command, Output};

use crate::support::{home::Home, map::Map};

const README: &str = include_str!("../../../../README.md");

/// The shell blocks, in order.
fn blocks() -> Vec<&'static str> {
    README.split("```sh\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect()
}

fn shell(home: &Home, script: &str) -> Output {
    let output = Command::new("bash").args(["-euc", script]).current_dir(home.path()).output().unwrap();
    assert!(output.status.success(), "{script}\n{output:?}");
    output
}

#[test]
fn the_two_commands_that_everybody_runs_are_there() {
    let blocks = blocks();
    for command in ["cargo run --release -- demo", "cargo xtask test"] {
        assert!(blocks.iter().any(|block| block.lines().any(|line| line == command)), "{command}");
    }
}

#[test]
fn the_curl_lines_send_spans_and_show_the_picture() {
    let home = Home::new();
    let mut server = home.serve();
    let key = server.first_key();
    let block = *blocks().iter().find(|block| block.contains("curl")).unwrap();
    let (first, rest) = block.split_once('\n').unwrap();
    assert!(first.starts_with("export KEY=nex_"), "{first}");
    let script = rest.replace("http://127.0.0.1:8000", server.base());
    let output = shell(&home, &format!("export KEY={key}\n{script}"));
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.contains(r#""count":2"#), "{said}");
    assert!(said.contains("cache-status: nexarch; fwd=miss; stored"), "{said}");
    let map = Map::read(&server.client(&key));
    assert_eq!(map.services(), ["cart", "web"].map(str::to_owned).into());
}

#[test]
fn the_import_line_loads_the_fixture() {
    let home = Home::new();
    let server = home.serve();
    let block = *blocks().iter().find(|block| block.contains("nexarch import")).unwrap();
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
    let script = block
        .replace("./target/release/nexarch", env!("CARGO_BIN_EXE_nexarch"))
        .replace("fixtures/", &format!("{root}/fixtures/"));
    let database = home.database();
    let output = shell(&home, &format!("export DATABASE_URL=sqlite://{}\n{script}", database.display()));
    let said = String::from_utf8(output.stdout).unwrap();
    // 4,890 spans: what the data set's own description says.
    assert!(said.contains(r#""accepted":4890"#), "{said}");
    drop(server);
}
