//! Memory of a server that has nothing to do.

use std::time::Duration;

use nexarch::bench::{
    client,
    drive::{Driver, is_ok},
    sample::{Figure, Sample},
};

use crate::{row, subject::Subject};

/// Servers started, one after another.
const STARTS: usize = 5;
/// How long each is left alone before its memory is read.
const ALONE: Duration = Duration::from_secs(2);

pub(crate) async fn measure() -> anyhow::Result<()> {
    let mut sizes = Vec::new();
    for _ in 0..STARTS {
        let subject = Subject::start().await?;
        // It has answered once, as every server has that somebody looks at.
        let request = [client::get("/api/v1/dashboard/overview", &subject.key, "")];
        Driver::open(subject.process.addr, 1).await?.run(&request, 1, is_ok).await?;
        tokio::time::sleep(ALONE).await;
        sizes.push(subject.process.resident_bytes()? as f64 / f64::from(1 << 20));
    }
    let sizes: Sample = sizes.into_iter().collect();
    let figure = format!("{} MiB", Figure(sizes.median()));
    row::print("memory, idle server", &figure, &sizes.spread(), "< 40 MB", sizes.max() < 38.1);
    Ok(())
}
