//! What each format says of a small map, and how much of a large one.

use super::*;
use crate::{
    facts::Facts,
    graph::{
        architecture_map,
        tests::{context, rollup},
    },
    infer::testing::*,
    rollup::Rollup,
};

fn shop() -> ArchitectureMap {
    let failing = Facts { error: true, ..server("pay", 3, 2) };
    let trace = [
        local("shop", 1, 0),
        client("shop", 2, 1).with(|it| it.protocol = "http".into()),
        failing,
        query("shop", 4, 1, "db.internal").with(|it| it.target = "orders".into()),
    ];
    architecture_map(&rollup(&[&trace]), &context())
}

#[test]
fn a_flowchart_names_shapes_figures_and_failures() {
    let window = words::window(&shop().window).unwrap();
    assert_eq!(
        mermaid::render(&shop()),
        format!(
            r#"%% Architecture: 2 services · 1 database · 2 connections
%% {window}
flowchart LR
    service_pay["pay<br/>1 · p95 1.0 ms · err 100 #37;"]
    database_postgresql_db_internal_orders[("db.internal/orders<br/>1 · p95 1.0 ms")]
    service_shop["shop<br/>1 · p95 1.0 ms"]
    service_shop -->|"http · 1 · err 100 #37;"| service_pay
    service_shop -->|"postgresql · 1"| database_postgresql_db_internal_orders
    linkStyle 0 stroke:#d3302f
"#
        )
    );
}

#[test]
fn a_graph_of_graphviz_has_every_node_and_edge() {
    let dot = dot::render(&shop());
    assert!(dot.contains("\n  service_pay [label=\"pay\\n1 · p95 1.0 ms · err 100 %\""), "{dot}");
    assert!(dot.contains(
        "\n  database_postgresql_db_internal_orders [label=\"db.internal/orders\\n1 · p95 1.0 ms · err 0 %\", \
         shape=cylinder, style=filled"
    ));
    assert!(dot.contains("\n  service_shop -> service_pay [label=\"http · 1\""));
    assert!(dot.contains("color=\"#d3302f\""), "a failing edge is red");
    assert!(dot.starts_with("digraph architecture {") && dot.ends_with("}\n"));
}

#[test]
fn a_page_has_the_picture_and_all_figures() {
    let html = html::render(&shop());
    assert_eq!(html.matches("<svg ").count(), 1);
    assert_eq!(html.matches("<th scope=\"row\">").count(), 3 + 2);
    assert!(
        html.contains("<th scope=\"row\">postgresql:db.internal/orders</th><td class=\"soft\">database</td>")
    );
    assert!(html.contains("<td class=\"n bad\">100 %</td>"));
    assert!(!html.contains("<script") && !html.contains("<link") && !html.contains(" src="));
    // The only address is the name of the format of the picture.
    assert_eq!(html.matches("http://").count() + html.matches("https://").count(), 1);
    // The title of a page and of its picture are not the same line twice.
    assert_eq!(html.matches("class=\"title\"").count(), 0);
}

#[test]
fn nothing_gives_whole_documents_that_say_so() {
    let empty = architecture_map(&Rollup::default(), &context());
    assert!(html::render(&empty).contains("No spans in this window"));
    assert!(mermaid::render(&empty).ends_with("flowchart LR\n"));
    assert!(dot::render(&empty).ends_with("}\n"));
}

/// Services that call each other, `count` of them; every third call fails.
fn many(count: u64) -> ArchitectureMap {
    let trace: Vec<Facts> = (0..count)
        .flat_map(|at| {
            let (from, to) = (format!("s{at:05}"), format!("s{:05}", at + 1));
            let call = Facts { error: at % 3 == 0, ..client(&from, 2 * at + 2, 2 * at + 1) };
            [call, server(&to, 2 * at + 3, 2 * at + 2)]
        })
        .collect();
    architecture_map(&rollup(&[&trace]), &context())
}

#[test]
fn a_large_flowchart_is_cut_to_what_can_be_drawn_and_says_so() {
    let chart = mermaid::render(&many(150));
    assert!(!chart.contains("Left out"));
    let map = many(1_200);
    let chart = mermaid::render(&map);
    assert!(chart.encode_utf16().count() <= 50_000, "{}", chart.encode_utf16().count());
    let arrows = chart.matches("-->|").count() + chart.matches("-.->|").count();
    assert!((200..=500).contains(&arrows), "{arrows}");
    let note =
        format!("of {} nodes, {} of {} edges", map.nodes.len(), map.edges.len() - arrows, map.edges.len());
    assert!(chart.contains(&note), "{note}");
    // Of a hundred failing edges none is left out.
    let failing = map.edges.iter().filter(|edge| edge.error_rate > Some(0.0)).count().min(arrows);
    assert_eq!(chart.matches(" · err 100 #37;\"|").count(), failing);
    // The other formats have all.
    assert_eq!(dot::render(&map).matches(" -> ").count(), map.edges.len());
    assert_eq!(html::render(&map).matches("<th scope=\"row\">").count(), map.nodes.len() + map.edges.len());
}

#[test]
fn formats_are_known_by_name() {
    for format in Format::ALL {
        assert_eq!(format.as_str().parse(), Ok(format));
        let text = render(&shop(), format).unwrap();
        assert_eq!(render(&shop(), format).unwrap(), text, "equal maps, equal bytes");
    }
    assert_eq!("SVG".parse::<Format>(), Err(UnknownFormat));
    assert!(Format::ALL.iter().all(|format| UnknownFormat.to_string().contains(format.as_str())));
}
