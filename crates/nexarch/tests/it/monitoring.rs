//! The alert rules and the dashboard of `deploy/`: what they ask for exists, and they do what they say.

use std::{collections::BTreeSet, fmt::Write as _, path::PathBuf, process::Command};

use nexarch::metrics::{FAMILIES, Family, Kind};
use serde_json::Value;

/// Names that are Prometheus' own, or of everything that it scrapes.
const NOT_OURS: [&str; 2] = ["job", "instance"];

fn folder(name: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy")).join(name)
}

fn promtool(args: &[&str], folder: &std::path::Path) -> String {
    let output = Command::new("promtool")
        .args(args)
        .current_dir(folder)
        .output()
        .expect("the Debian package prometheus");
    let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    assert!(output.status.success(), "{said}");
    said
}

/// The family of a name in a query, which may be one of a histogram's.
fn family(name: &str) -> Option<&'static Family> {
    let of = |name: &str| FAMILIES.iter().find(|family| family.name == name);
    of(name).or_else(|| {
        let ends = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end));
        of(ends?).filter(|family| family.kind == Kind::Histogram)
    })
}

/// Checks that each metric of a query exists and has the labels that are asked of it, and returns their names.
fn metrics(query: &str) -> BTreeSet<&'static str> {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut found = BTreeSet::new();
    let mut rest = query;
    while let Some(at) = rest.find("nexarch_").into_iter().chain(rest.find("process_")).min() {
        let name = rest[at..].split(|c| !word(c)).next().unwrap();
        let family = family(name).unwrap_or_else(|| panic!("{name} is no metric: {query}"));
        found.insert(family.name);
        rest = &rest[at + name.len()..];
        let Some(labels) = rest.strip_prefix('{') else { continue };
        for label in labels.split('}').next().unwrap().split(',') {
            let label = label.split(['=', '!']).next().unwrap().trim();
            let known = family.labels.contains(&label) || NOT_OURS.contains(&label);
            assert!(known, "{name} has no label {label}: {query}");
        }
    }
    found
}

/// What stands in round brackets behind `by`: labels that some metric of the query must have.
fn grouped(query: &str, metrics: &BTreeSet<&str>) {
    for list in query.split("by (").skip(1) {
        for label in list.split(')').next().unwrap().split(',').map(str::trim) {
            let of = |name: &&str| family(name).unwrap().labels.contains(&label);
            let known = label == "le" || NOT_OURS.contains(&label) || metrics.iter().any(of);
            assert!(known, "nothing has the label {label}: {query}");
        }
    }
}

fn check(query: &str) -> BTreeSet<&'static str> {
    let found = metrics(query);
    grouped(query, &found);
    found
}

#[test]
fn every_alert_asks_for_what_there_is_and_fires_when_it_should() {
    let rules = folder("prometheus");
    promtool(&["check", "rules", "alerts.yaml"], &rules);
    promtool(&["test", "rules", "alerts_test.yaml"], &rules);
    let text = std::fs::read_to_string(rules.join("alerts.yaml")).unwrap();
    let cases = std::fs::read_to_string(rules.join("alerts_test.yaml")).unwrap();
    let mut alerts = 0;
    for rule in text.split("- alert: ").skip(1) {
        let (name, rest) = rule.split_once('\n').unwrap();
        let query = rest.split_once("expr: ").unwrap().1.split("\n        for:").next().unwrap();
        let query = query.split("\n        labels:").next().unwrap();
        let found = check(query);
        assert!(!found.is_empty() || query.starts_with("up{"), "{name}: {query}");
        let cases = cases.matches(&format!("alertname: {name}\n")).count();
        assert!(cases >= 2, "one that fires, one that does not: {name}");
        alerts += 1;
    }
    assert!(alerts >= 10, "{alerts}");
}

#[test]
fn every_query_of_the_dashboard_can_be_read_and_asks_for_what_there_is() {
    let text = std::fs::read_to_string(folder("grafana/nexarch.json")).unwrap();
    let dashboard: Value = serde_json::from_str(&text).unwrap();
    let mut asked = BTreeSet::new();
    let mut rules = String::from("groups:\n  - name: queries\n    rules:\n");
    let panels = dashboard["panels"].as_array().unwrap();
    let targets = panels.iter().flat_map(|panel| panel["targets"].as_array().into_iter().flatten());
    for (n, target) in targets.enumerate() {
        let query = target["expr"].as_str().unwrap();
        asked.extend(check(query));
        // As rules they are read by the real parser.
        let query =
            query.replace("$__rate_interval", "5m").replace("$job", "nexarch").replace("$instance", ".*");
        writeln!(rules, "      - {{record: q:{n}, expr: '{}'}}", query.replace('\'', "''")).unwrap();
    }
    let temporary = tempfile::tempdir().unwrap();
    std::fs::write(temporary.path().join("queries.yaml"), rules).unwrap();
    promtool(&["check", "rules", "queries.yaml"], temporary.path());
    let ids: BTreeSet<_> = panels.iter().map(|panel| panel["id"].as_u64().unwrap()).collect();
    assert_eq!(ids.len(), panels.len(), "each panel has an id of its own");
    // What nobody looks at there is here on purpose.
    let shown = |family: &&Family| asked.contains(family.name);
    let hidden: Vec<_> = FAMILIES.iter().filter(|family| !shown(family)).map(|family| family.name).collect();
    assert_eq!(
        hidden,
        [
            "nexarch_build_info",
            "nexarch_database_up",
            "nexarch_cache_backend",
            "nexarch_cache_degraded_reason",
            "nexarch_cache_state_since_timestamp_seconds",
            "nexarch_cache_messages_total",
            "nexarch_redis_breaker",
            "nexarch_redis_messages_too_long_total",
            "process_virtual_memory_bytes",
            "process_max_fds",
            "process_start_time_seconds",
        ]
    );
}
