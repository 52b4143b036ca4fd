//! Bytes on disk for each span, all files of a database whose log was folded.

use std::{
    io::Read as _,
    path::{Path, PathBuf},
};

use nexarch::bench::{history::History, load::packed, sample::Figure, standard::bytes_in};
use nexarch_core::{
    otlp::{Encoding, Rules, decode},
    span::Span,
};

use crate::{row, subject::Subject};

/// Spans of the shop.
const SPANS: usize = 500_000;
/// Nanoseconds of a day.
const DAY_NS: u64 = 86_400_000_000_000;

pub(crate) async fn measure() -> anyhow::Result<()> {
    let now_ns = nexarch::lifecycle::now_ns();
    let (day, whence) = train_ticket(now_ns)?;
    tell(&format!("disk, TrainTicket ({whence})"), vec![day]).await?;
    tell("disk, shop", History::new(SPANS, now_ns).spans().collect()).await
}

async fn tell(what: &str, parts: Vec<Vec<Span>>) -> anyhow::Result<()> {
    let subject = Subject::start().await?;
    let mut sent = 0;
    for part in parts {
        sent += part.len();
        subject.send(&packed(&part)).await?;
    }
    let bytes = bytes_in(subject.stop().await?.path())?;
    let each = bytes as f64 / sent as f64;
    let figure = format!("{} bytes per span ({bytes} bytes, {sent} spans)", Figure(each));
    row::print(what, &figure, "exact", "≤ 120", each <= 120.0);
    Ok(())
}

/// The spans of the recorded day, moved to the present, and where they are from: the whole day when it lies beside the
/// checkout, else the minutes among the fixtures.
fn train_ticket(now_ns: u64) -> anyhow::Result<(Vec<Span>, &'static str)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let whole = root.join("../shared/data/trainticket");
    let (dir, whence) = if whole.is_dir() {
        (whole, "the day")
    } else {
        (root.join("fixtures/trainticket"), "minutes of it")
    };
    let mut spans = Vec::new();
    for file in files(&dir)? {
        let mut text = String::new();
        flate2::read::MultiGzDecoder::new(std::fs::File::open(&file)?).read_to_string(&mut text)?;
        for line in text.lines().filter(|line| !line.trim().is_empty()) {
            spans.extend(decode(&line.to_owned().into(), Encoding::Json, &Rules::default())?.spans);
        }
    }
    let newest = spans.iter().filter_map(|span| span.end_ns).max().unwrap_or(now_ns);
    // By whole days: the spans keep their hours, and so their chunks.
    let offset = now_ns.saturating_sub(newest) / DAY_NS * DAY_NS;
    for span in &mut spans {
        span.start_ns += offset;
        span.end_ns = span.end_ns.map(|end| end + offset);
        span.events.iter_mut().for_each(|event| event.time_ns += offset);
    }
    Ok((spans, whence))
}

fn files(dir: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            files.extend(self::files(&path)?);
        } else if path.to_string_lossy().ends_with(".jsonl.gz") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}
