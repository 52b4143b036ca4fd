//! The benchmark that users run: whole, and with figures that can be true.

use serde_json::Value;

use crate::support::home::Home;

#[test]
fn every_figure_is_measured_and_nothing_stays_behind() {
    let home = Home::new();
    let temporary = home.path().join("tmp");
    std::fs::create_dir(&temporary).unwrap();
    let mut command = home.command(["bench", "--spans", "2000", "--json"]);
    let output = command.env("TMPDIR", &temporary).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let outcome: Value = serde_json::from_slice(&output.stdout).unwrap();
    let positive = |pointer: &str| {
        let figure = outcome.pointer(pointer).and_then(Value::as_f64).unwrap_or_default();
        assert!(figure > 0.0 && figure.is_finite(), "{pointer} in {outcome}");
        figure
    };
    positive("/spans");
    positive("/ingest/spans_per_second");
    positive("/ingest/spans_per_cpu_second");
    assert!(positive("/disk_bytes_per_span") > 10.0);
    assert!(positive("/resident_bytes") > 1e6);
    for route in 0..2 {
        let cached = positive(&format!("/cached/{route}/server_cpu_us"));
        let computed = positive(&format!("/uncached/{route}/server_cpu_us"));
        assert!(cached < computed, "a hit costs more than a computation: {outcome}");
    }
    assert_eq!(std::fs::read_dir(&temporary).unwrap().count(), 0, "the temporary database stays behind");
    assert!(!home.database().exists(), "the benchmark touched DATABASE_URL");
}

#[test]
fn a_number_of_spans_that_makes_no_sense_is_wrong_usage() {
    let home = Home::new();
    for wrong in ["0", "many", "99999999999"] {
        let output = home.output(["bench", "--spans", wrong]);
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains("from 1000 to"), "{output:?}");
    }
}
