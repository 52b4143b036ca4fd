use super::*;
use crate::{
    export::text::{count, cut, escape, latency, percent},
    facts::Facts,
    graph::{
        architecture_map,
        tests::{context, rollup},
    },
    infer::testing::*,
    layout::LABEL_CHARACTERS,
    rollup::Rollup,
};

const HOSTILE: [&str; 8] = [
    "<script>alert(1)</script>",
    "a\"b'c&d",
    "]]>",
    "\u{202e}evil\u{2066}",
    "\u{0}\u{1b}[31m\u{ffff}",
    "javascript:alert(1)",
    "名前の長いサービスですとても長い名前のサービス",
    "--><!--",
];

fn hostile_map() -> ArchitectureMap {
    let mut trace = Vec::new();
    for (name, id) in HOSTILE.iter().zip((1u64..).step_by(3)) {
        trace.push(server(name, id, if id == 1 { 0 } else { id - 3 }));
        trace.push(client(name, id + 1, id).with(|it| it.address = format!("{name}.x").into()));
        trace.push(query(name, id + 2, id, name).with(|it| it.target = (*name).into()));
    }
    architecture_map(&rollup(&[&trace]), &context())
}

/// Walks tags and text of a document without comments, CDATA or processing instructions: every tag closes, and
/// every special character is escaped. Returns the elements that were seen.
fn walk(svg: &str) -> Vec<String> {
    let mut open: Vec<&str> = Vec::new();
    let mut seen = Vec::new();
    for piece in svg.split('<').skip(1) {
        let (tag, text) = piece.split_once('>').expect("a tag ends");
        assert!(!text.contains('>'), "{text}");
        for entity in text.split('&').skip(1).chain(tag.split('&').skip(1)) {
            let (name, _) = entity.split_once(';').expect("an entity ends");
            assert!(["amp", "lt", "gt", "quot", "#39", "#10"].contains(&name), "{name}");
        }
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop(), Some(name));
            continue;
        }
        assert_eq!(tag.matches('"').count() % 2, 0, "{tag}");
        let name = tag.split([' ', '/']).next().unwrap();
        seen.push(name.to_string());
        if !tag.ends_with('/') {
            open.push(name);
        }
    }
    assert!(open.is_empty(), "{open:?}");
    seen
}

#[test]
fn a_drawing_is_well_formed_whatever_the_names() {
    let svg = render(&hostile_map());
    let seen = walk(&svg);
    let known = ["svg", "style", "defs", "marker", "path", "rect", "g", "text", "tspan", "title"];
    assert!(seen.iter().all(|name| known.contains(&&**name)), "{seen:?}");
    let forbidden =
        |c: char| (c.is_control() && c != '\n') || ('\u{202a}'..='\u{202e}').contains(&c) || c == '\u{ffff}';
    assert!(!svg.contains(forbidden));
    assert!(svg.contains("&lt;script&gt;") && svg.contains("\\u202eevil"));
    // Stands alone: the only address is the name of the format.
    assert_eq!(svg.matches("http").count(), 1);
}

#[test]
fn everything_of_the_map_is_drawn() {
    let map = hostile_map();
    let svg = render(&map);
    assert_eq!(svg.matches("<rect class=\"card\"").count(), map.nodes.len());
    let legend = 4;
    assert_eq!(svg.matches("<path class=\"edge ").count(), map.edges.len() + legend);
    assert_eq!(svg.matches("<title>").count(), map.nodes.len() + map.edges.len());
    assert_eq!(render(&map), svg, "equal maps, equal bytes");
}

#[test]
fn inferred_edges_are_dashed_and_failing_ones_red() {
    let failing = Facts { error: true, ..server("b", 2, 1) };
    let svg = render(&architecture_map(&rollup(&[&[local("a", 1, 0), failing]]), &context()));
    assert!(svg.contains("<path class=\"edge bad inferred\""));
    let paired = render(&architecture_map(&rollup(&[&[client("a", 1, 0), server("b", 2, 1)]]), &context()));
    assert_eq!(paired.matches("inferred\"").count(), 1, "only in the legend");
}

#[test]
fn nothing_says_so() {
    let svg = render(&architecture_map(&Rollup::default(), &context()));
    walk(&svg);
    assert!(svg.contains("no spans in this window"));
}

#[test]
fn names_are_cut_in_the_middle_to_fit_their_box() {
    assert_eq!(cut("short"), "short");
    assert_eq!(cut(&"x".repeat(22)), "x".repeat(22));
    assert_eq!(cut("orders-db.shop.internal/orders"), "orders-db.sho…l/orders");
    for name in HOSTILE.into_iter().chain(["x".repeat(10_000).as_str()]) {
        let width: usize = cut(name).chars().map(crate::layout::advance).sum();
        assert!(width <= LABEL_CHARACTERS, "{name}");
    }
    assert_eq!(escape("a<b\n\u{7}"), "a&lt;b&#10;\u{fffd}");
}

#[test]
fn numbers_are_short_and_not_zero_when_they_are_not() {
    assert_eq!(
        [count(999), count(1000), count(999_949), count(999_950), count(5_000_000_000)],
        ["999", "1.0k", "999.9k", "1.0M", "5.0G"]
    );
    let ms = |ms| latency(Some(ms));
    assert_eq!(
        [ms(0.42), ms(4.25), ms(42.4), ms(999.6), ms(120_000.0)],
        ["0.42 ms", "4.2 ms", "42 ms", "1.0 s", "2 min"]
    );
    let rate = |ratio| percent(Some(ratio));
    assert_eq!([rate(0.0), rate(0.000_001), rate(0.0314), rate(0.5)], ["0 %", "<0.1 %", "3.1 %", "50 %"]);
    assert_eq!((latency(None), percent(None)), ("–".into(), "–".into()));
}
