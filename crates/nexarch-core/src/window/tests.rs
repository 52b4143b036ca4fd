use super::*;

const NOON: &str = "2026-07-01T12:00:00Z";

fn fixed(from: &str, to: &str) -> Result<Window, WindowError> {
    Window::parse(None, Some(from), Some(to))
}

fn key(from: &str, to: &str) -> String {
    fixed(from, to).unwrap().to_string()
}

#[test]
fn names_are_their_own_keys_and_24h_is_the_default() {
    for named in Named::ALL {
        let window = Window::parse(Some(named.as_str()), None, None).unwrap();
        assert_eq!(window.to_string(), named.as_str());
    }
    assert_eq!(Window::parse(None, None, None).unwrap().to_string(), "24h");
}

#[test]
fn what_makes_no_sense_is_refused_in_words() {
    assert_eq!(Window::parse(Some("2h"), None, None), Err(WindowError::Name));
    assert_eq!(Window::parse(Some("1h"), Some(NOON), None), Err(WindowError::Both));
    assert_eq!(Window::parse(None, Some(NOON), None), Err(WindowError::Half));
    assert_eq!(fixed(NOON, NOON), Err(WindowError::Order));
    assert_eq!(fixed("noon", NOON), Err(WindowError::Time("from")));
    assert_eq!(fixed("1969-12-31T00:00:00Z", NOON), Err(WindowError::Time("from")));
    assert_eq!(fixed(NOON, "9000-01-01T00:00:00Z"), Err(WindowError::Time("to")));
    assert_eq!(fixed("2020-01-01T00:00:00Z", NOON), Err(WindowError::Length));
}

#[test]
fn ranges_are_rounded_outward_by_their_length_alone() {
    assert_eq!(
        key("2026-07-01T10:00:30Z", "2026-07-01T12:00:30Z"),
        "2026-07-01T10:00:00Z/2026-07-01T12:01:00Z"
    );
    assert_eq!(
        key("2026-07-01T10:01:00Z", "2026-07-01T12:02:00Z"),
        "2026-07-01T10:00:00Z/2026-07-01T12:05:00Z"
    );
    assert_eq!(
        key("2026-07-01T10:31:00Z", "2026-07-03T10:31:01Z"),
        "2026-07-01T10:00:00Z/2026-07-03T11:00:00Z"
    );
    assert_eq!(
        key("2026-07-01T12:00:00.5+02:00", "2026-07-01T12:01:00+02:00"),
        "2026-07-01T10:00:00Z/2026-07-01T10:01:00Z"
    );
}

#[test]
fn a_named_window_ends_at_the_newest_span_and_holds_it() {
    let newest = 1_000_007 * MINUTE_NS;
    let range = Window::parse(Some("1h"), None, None).unwrap().range(Some(newest));
    assert_eq!(range.minutes, Minutes { from: 1_000_007 - 60, to: 1_000_008 });
    let range = Window::default().range(Some(newest));
    assert_eq!(range.minutes, Minutes { from: 998_565, to: 1_000_010 }, "24 h and the grid of 5 minutes");
    assert_eq!((range.minutes.from % 5, range.minutes.to % 5), (0, 0));
    assert_eq!(Window::default().range(Some(5)).minutes.from, 0);
}

#[test]
fn without_data_a_window_is_empty_and_says_so() {
    let range = Window::default().range(None);
    assert!(range.minutes.is_empty());
    let view = serde_json::to_string(&WindowView::from(range)).unwrap();
    assert_eq!(view, r#"{"name":"24h","from":null,"to":null}"#);
}

#[test]
fn an_answer_is_wider_where_only_coarser_cells_are_left() {
    let asked = fixed("2026-07-01T10:07:00Z", "2026-07-01T10:09:00Z").unwrap().range(None);
    assert_eq!(asked.grain, 1);
    let range = asked.found(asked.minutes.outward(60), 60);
    let view = WindowView::from(range);
    assert_eq!(view.from.unwrap(), "2026-07-01T10:00:00Z");
    assert_eq!(view.to.unwrap(), "2026-07-01T11:00:00Z");
    assert_eq!((range.seconds(), view.name.as_str()), (3600, "custom"));
}

#[test]
fn an_answer_is_kept_for_a_sixtieth_of_its_window_at_most() {
    let ttl = |name| Window::parse(Some(name), None, None).unwrap().ttl_seconds(300);
    assert_eq!((ttl("15m"), ttl("1h"), ttl("24h")), (15, 60, 300));
    assert_eq!(fixed(NOON, "2026-07-01T12:00:01Z").unwrap().ttl_seconds(300), 1);
    assert_eq!(Window::default().ttl_seconds(0), 1);
}
