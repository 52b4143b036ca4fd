//! Every format through the real program, and a second opinion on its map.

use serde_json::{Value, json};

use crate::support::{
    home::{Home, fixture},
    map::Map,
};

fn import(home: &Home, tenant: &str, files: &[&str]) -> Value {
    let mut args = vec!["import", "--tenant", tenant, "--shift-to-now"];
    args.extend(files);
    home.json(args)
}

#[test]
fn zipkin_and_jaeger_files_are_drawn_as_the_specification_counts_them() {
    let home = Home::new();
    let files = [
        ("zipkin/smartthings-mobile-web-install.json", 1_041, 16, 28),
        ("zipkin/yelp.json", 16, 6, 6),
        ("jaeger/genai_trace_ui.json", 57, 10, 9),
    ];
    let keys = ["smartthings", "yelp", "genai"].map(|tenant| (tenant, home.tenant(tenant)));
    let server = home.serve();
    for ((tenant, key), (file, spans, services, pairs)) in keys.into_iter().zip(files) {
        let expected = json!({"accepted": spans, "duplicates": 0, "rejected": 0, "files": 1});
        assert_eq!(import(&home, tenant, &[&fixture(file)]), expected);
        let map = Map::read(&server.client(&key));
        assert_eq!((map.services().len(), map.calls().len()), (services, pairs), "{file}: {map:?}");
    }
}

#[test]
fn files_of_all_formats_move_by_one_offset() {
    let home = Home::new();
    let key = home.tenant("all");
    // Of 2016 and 2026: moved each by its own offset both would be of today.
    let (zipkin, jaeger) = (fixture("zipkin/skew.json"), fixture("jaeger/genai_trace_ui.json"));
    let summary = import(&home, "all", &[&zipkin, &jaeger]);
    // The older file is then beyond the retention, and says so.
    assert_eq!(summary, json!({"accepted": 57, "duplicates": 0, "rejected": 4, "files": 2}));
    let server = home.serve();
    let map = Map::read(&server.client(&key));
    assert!(map.services().contains("coding-agent") && !map.services().contains("servicea"), "{map:?}");
}
