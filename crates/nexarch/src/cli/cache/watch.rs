//! `nexarch cache watch`: looks again and again, and shows what happened in between.

use std::{io, time::Duration};

use anyhow::Context;
use reqwest::Url;
use rustix::process::{Signal, getpid, kill_process};
use tokio::{
    signal::unix::{Signal as Signals, SignalKind, signal},
    time::{Instant, MissedTickBehavior, interval},
};

use super::{
    answers::parse,
    api::{Answer, Api, Call, Failure},
    picture::{Look, View, frame},
    screen::{self, Screen},
};
use crate::cli::{grid::Style, output};

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
                    Err(error) if first || error.is_final() => return Err(error.into()),
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
    let mut refused = None;
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
                Some(Err(error)) if is_final(&error) => {
                    refused = Some(error);
                    break;
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
    refused.map_or(Ok(()), Err)
}

/// Would the next look fail for the same reason, however often it is tried?
fn is_final(error: &anyhow::Error) -> bool {
    error.downcast_ref::<Failure>().is_some_and(Failure::is_final)
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
