//! `nexarch cache watch`: looks again and again, and shows what happened in between.

use std::{io, time::Duration};

use anyhow::Context;
use jiff::Timestamp;
use reqwest::Url;
use rustix::process::{Signal, getpid, kill_process};
use tokio::{
    signal::unix::{Signal as Signals, SignalKind, signal},
    time::{Instant, MissedTickBehavior, interval},
};

use super::{
    answers::{Health, Operation, Stats, moment, parse},
    api::{Answer, Api, Call},
    reports,
    screen::{self, Screen},
};
use crate::cli::{
    grid::{Cell, Column, Grid, Style, Tone},
    output::{self, printable},
    units,
};

/// What one look showed.
struct Look {
    stats: Stats,
    health: Health,
    /// By the server's clock.
    at: Timestamp,
    /// By ours.
    seen: Instant,
}

/// All that is shown.
struct View<'a> {
    url: &'a str,
    every: Duration,
    last: Look,
    before: Option<Look>,
    /// Why the latest look showed nothing.
    failure: Option<String>,
}

enum Event {
    Tick,
    Resized,
    Suspended,
    Ended,
}

/// What happens to a program on a terminal.
struct Events {
    ends: [Signals; 3],
    resized: Signals,
    suspended: Signals,
}

impl Events {
    fn new() -> io::Result<Self> {
        Ok(Self {
            ends: [
                signal(SignalKind::interrupt())?,
                signal(SignalKind::terminate())?,
                signal(SignalKind::hangup())?,
            ],
            resized: signal(SignalKind::window_change())?,
            suspended: signal(SignalKind::from_raw(Signal::TSTP.as_raw()))?,
        })
    }

    async fn ended(ends: &mut [Signals; 3]) {
        let [interrupt, terminate, hangup] = ends;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
    }

    /// The result, unless somebody ends the program first.
    async fn unless_ended<T>(&mut self, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            () = Self::ended(&mut self.ends) => None,
            done = work => Some(done),
        }
    }

    async fn next(&mut self, ticks: &mut tokio::time::Interval) -> Event {
        tokio::select! {
            biased;
            () = Self::ended(&mut self.ends) => Event::Ended,
            _ = self.suspended.recv() => Event::Suspended,
            _ = self.resized.recv() => Event::Resized,
            _ = ticks.tick() => Event::Tick,
        }
    }
}

/// The statistics of each look as one line.
pub(super) async fn lines(api: &Api, every: Duration) -> anyhow::Result<()> {
    let mut events = Events::new()?;
    let mut ticks = ticks(every);
    let mut first = true;
    loop {
        match events.next(&mut ticks).await {
            Event::Ended => return Ok(()),
            Event::Suspended => suspend()?,
            Event::Resized => {}
            Event::Tick => {
                let call = Call::get(&["stats"]);
                let Some(answer) = events.unless_ended(api.send(&call)).await else { return Ok(()) };
                match answer {
                    Ok(Answer { body, .. }) => output::print(&body)?,
                    Err(error) if first => return Err(error.into()),
                    Err(error) => eprintln!("{error}; trying again"),
                }
                first = false;
            }
        }
    }
}

/// A table of each look: in the place of the one before it on a terminal, below it elsewhere.
pub(super) async fn tables(api: &Api, every: Duration, url: &Url) -> anyhow::Result<()> {
    let mut events = Events::new()?;
    let mut ticks = ticks(every);
    ticks.tick().await;
    // What is wrong at the first look will not mend itself: a wrong key, a wrong name.
    let Some(first) = events.unless_ended(look(api)).await else { return Ok(()) };
    let url = url.as_str().trim_end_matches('/');
    let mut view = View { url, every, last: first?, before: None, failure: None };
    let style = Style::of_stdout();
    let mut screen = Screen::enter()?;
    show(&view, screen.as_ref(), style)?;
    loop {
        match events.next(&mut ticks).await {
            Event::Ended => break,
            Event::Resized if screen.is_none() => continue,
            Event::Resized => {}
            Event::Suspended => {
                if let Some(screen) = &mut screen {
                    screen.leave()?;
                }
                suspend()?;
                if let Some(screen) = &mut screen {
                    screen.resume()?;
                }
            }
            Event::Tick => match events.unless_ended(look(api)).await {
                None => break,
                Some(Ok(look)) => {
                    view.before = Some(std::mem::replace(&mut view.last, look));
                    view.failure = None;
                }
                Some(Err(error)) => view.failure = Some(format!("{error:#}")),
            },
        }
        show(&view, screen.as_ref(), style)?;
    }
    // What was seen last stays readable above the prompt.
    if screen.take().is_some() {
        output::print(&frame(&view, style, screen::size(), false).join("\n"))?;
    }
    Ok(())
}

fn ticks(every: Duration) -> tokio::time::Interval {
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

/// Stops as Ctrl-Z asks, and returns when the shell lets it go on.
fn suspend() -> io::Result<()> {
    kill_process(getpid(), Signal::STOP)?;
    Ok(())
}

async fn look(api: &Api) -> anyhow::Result<Look> {
    let stats = api.send(&Call::get(&["stats"])).await?;
    let seen = Instant::now();
    let health = api.send(&Call::get(&["health"])).await?;
    Ok(Look { stats: parse(&stats)?, health: parse(&health)?, at: stats.at, seen })
}

fn show(view: &View<'_>, screen: Option<&Screen>, style: Style) -> anyhow::Result<()> {
    match (screen, &view.failure) {
        (Some(screen), _) => {
            screen.show(&frame(view, style, screen::size(), true)).context("standard output is closed")
        }
        (None, Some(failure)) => {
            eprintln!("{failure}; trying again");
            Ok(())
        }
        (None, None) => output::print(&(frame(view, style, screen::size(), false).join("\n") + "\n\n")),
    }
}

/// The whole picture. `live`: it will be replaced by the next one.
fn frame(view: &View<'_>, style: Style, size: Option<screen::Size>, live: bool) -> Vec<String> {
    let Look { stats, .. } = &view.last;
    let mut grid = Grid::new([
        Column::left("OPERATION"),
        Column::right("REQUESTS"),
        Column::right("RATE"),
        Column::right("HIT RATIO"),
        Column::right("HIT P50").expendable(2),
        Column::right("HIT P99").expendable(4),
        Column::right("COMPUTE P50").expendable(5),
        Column::right("COMPUTE P99").expendable(6),
        Column::right("ENTRIES").expendable(3),
        Column::right("SIZE").expendable(3),
        Column::left("LAST INVALIDATED").expendable(1),
    ]);
    for (name, operation) in &stats.operations {
        grid.row(row(view, name, operation));
    }
    let width = size.map(|size| size.columns);
    let table = grid.lines(style, width);
    let mut lines = head(view, style, width);
    lines.push(String::new());
    lines.extend(table.lines);
    lines.push(String::new());
    lines.extend(flow(&sum(view).map(|text| (Tone::Plain, text)), style, width));
    if live {
        let left_out = table.left_out.iter().map(|title| title.to_lowercase());
        let words = |(nth, title)| if nth == 0 { format!("no room for {title}") } else { title };
        let texts = ["Ctrl-C ends".to_owned()].into_iter().chain(left_out.enumerate().map(words));
        lines.extend(flow(&texts.map(|text| (Tone::Dim, text)).collect::<Vec<_>>(), style, width));
    }
    lines
}

fn row(view: &View<'_>, name: &str, of: &Operation) -> Vec<Cell> {
    let time = |ms| Cell::figure(units::time(ms));
    let before = view.before.as_ref().and_then(|look| look.stats.operations.get(name));
    let rate = rate(view, of.requests, before.map(|of| of.requests));
    // What somebody did since the look before catches the eye; data come all the time.
    let routine = |cause: &str| matches!(cause, "ingest" | "settle");
    let news = of.last_invalidated.as_ref().filter(|last| !routine(&last.cause));
    let recent = news.and_then(|last| moment(&last.at)).zip(view.before.as_ref());
    let recent = recent.is_some_and(|(at, before)| at >= before.at);
    let last = reports::last(of.last_invalidated.as_ref(), view.last.at);
    vec![
        Cell::new(name, Tone::Plain),
        Cell::figure(units::count(of.requests)),
        Cell::figure(rate),
        Cell::figure(units::percent(of.hit_ratio, of.requests)),
        time(of.hit_ms.p50),
        time(of.hit_ms.p99),
        time(of.compute_ms.p50),
        time(of.compute_ms.p99),
        Cell::figure(units::count(of.entries)),
        Cell::figure(units::bytes(of.bytes)),
        if recent { Cell::new(last, Tone::Warning) } else { Cell::figure(last) },
    ]
}

/// Requests per second since the look before, if it was of the same node and nothing was counted anew.
fn rate(view: &View<'_>, requests: u64, before: Option<u64>) -> String {
    let since = view.before.as_ref().filter(|look| look.stats.node == view.last.stats.node);
    match since.zip(before.and_then(|before| requests.checked_sub(before))) {
        Some((since, more)) => units::rate(more, view.last.seen.duration_since(since.seen)),
        None => units::NOTHING.to_owned(),
    }
}

fn head(view: &View<'_>, style: Style, width: Option<usize>) -> Vec<String> {
    let Look { stats, health, at, seen } = &view.last;
    let title = [
        (Tone::Bold, format!("tenant {} on node {}", printable(&stats.tenant_id), printable(&stats.node))),
        (Tone::Plain, view.url.to_owned()),
        (Tone::Plain, units::moment(*at)),
        (Tone::Plain, format!("every {}", units::span(view.every.as_secs()))),
    ];
    let since =
        moment(&health.since).map_or_else(String::new, |since| format!("since {}", units::moment(since)));
    let bound = match health.staleness_bound_ms {
        0 => "the only server of its database".to_owned(),
        ms => format!("others learn of changes within {}", units::time(ms as f64)),
    };
    let reason = health.reason.as_ref().map_or_else(String::new, |reason| format!(": {reason}"));
    let state = reports::state(&health.backend, &health.status);
    let cache = [
        (reports::tone(&health.status), printable(&format!("cache {state}{reason}"))),
        (Tone::Plain, since),
        (Tone::Plain, format!("mode {}", printable(&health.mode))),
        (Tone::Plain, bound),
    ];
    let failure = view.failure.as_ref().map(|failure| {
        let old = units::span(seen.elapsed().as_secs());
        [failure.clone(), format!("this is {old} old"), "trying again".to_owned()]
            .map(|text| (Tone::Bad, text))
    });
    let failure = failure.iter().flat_map(|failure| flow(failure, style, width));
    [flow(&title, style, width), flow(&cache, style, width)].into_iter().flatten().chain(failure).collect()
}

fn sum(view: &View<'_>) -> [String; 4] {
    let Stats { totals, memory, .. } = &view.last.stats;
    let before = view.before.as_ref().map(|look| look.stats.totals.requests);
    let (bytes, most) = (units::bytes(memory.bytes), units::bytes(memory.max_bytes));
    [
        units::things(totals.requests, "request", "requests"),
        format!("rate {}", rate(view, totals.requests, before)),
        format!("hit ratio {}", units::percent(totals.hit_ratio, totals.requests)),
        format!(
            "{} with {bytes} of {most} for all tenants",
            units::things(memory.entries, "entry", "entries")
        ),
    ]
}

/// Texts between commas, on as many lines as they need.
fn flow(texts: &[(Tone, String)], style: Style, width: Option<usize>) -> Vec<String> {
    let (mut lines, mut line, mut used) = (Vec::new(), String::new(), 0);
    for (nth, (tone, text)) in texts.iter().enumerate() {
        let comma = if nth + 1 < texts.len() { "," } else { "" };
        let room = text.chars().count() + comma.len();
        let gap = usize::from(used > 0);
        if used > 0 && width.is_some_and(|width| used + gap + room > width) {
            lines.push(std::mem::take(&mut line));
            used = 0;
        } else if used > 0 {
            line.push(' ');
            used += gap;
        }
        line.extend([style.paint(*tone, text).as_str(), comma]);
        used += room;
    }
    lines.push(line);
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_flow_into_the_width_that_there_is() {
        let texts = ["one", "two", "longer than that", "x"].map(|text| (Tone::Plain, text.to_owned()));
        let flow = |width| flow(&texts, Style::PLAIN, width);
        assert_eq!(flow(None), ["one, two, longer than that, x"]);
        assert_eq!(flow(Some(9)), ["one, two,", "longer than that,", "x"]);
        assert_eq!(flow(Some(20)), ["one, two,", "longer than that, x"]);
    }
}
