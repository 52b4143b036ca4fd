//! A cached read in a packed form: processor time of the server beside the plain one, and beside packing each time anew.

use std::{cell::Cell, io::Write as _};

use nexarch::bench::{
    client::{self, Connection},
    drive::{Driver, is_ok},
    history::History,
    load::packed,
    sample::{Figure, Sample},
};

use crate::{rival, row, subject::Subject};

const TURNS: usize = 7;
/// Requests of a turn.
const REQUESTS: usize = 60_000;
const CONNECTIONS: usize = 16;
const SPANS: usize = 20_000;
/// Times that a body is packed to see what it takes.
const PACKED: usize = 2_000;
/// Warm-up: more than it takes until a form is there.
const ASKED: usize = 200;

pub(crate) async fn measure() -> anyhow::Result<()> {
    let subject = Subject::start().await?;
    for minute in History::new(SPANS, nexarch::lifecycle::now_ns()).spans() {
        subject.send(&packed(&minute)).await?;
    }
    let codings = ["identity", "gzip", "zstd"];
    let requests = codings
        .map(|coding| client::get(rival::PATH, &subject.key, &format!("accept-encoding: {coding}\r\n")));
    let mut connection = Connection::open(subject.process.addr).await?;
    let mut sizes = Vec::new();
    for request in &requests {
        for _ in 0..ASKED {
            connection.exchange(request).await?;
        }
        sizes.push(connection.exchange(request).await?.body.to_vec());
    }
    let mut cpu = [const { Vec::new() }; 3];
    let mut driver = Driver::open(subject.process.addr, CONNECTIONS).await?;
    for _ in 0..TURNS {
        for (at, request) in requests.iter().enumerate() {
            let before = subject.process.cpu_seconds()?;
            let size = sizes[at].len();
            // An entry that is computed anew has no packed form for its first readers.
            let others = Cell::new(0);
            let fits = |reply: &client::Reply<'_>| {
                others.set(others.get() + usize::from(reply.body.len() != size));
                is_ok(reply) && others.get() <= REQUESTS / 1_000
            };
            driver.run(std::slice::from_ref(request), REQUESTS, fits).await?;
            cpu[at].push((subject.process.cpu_seconds()? - before) * 1e6 / REQUESTS as f64);
        }
    }
    let [plain, gzip, zstd] = cpu.map(Sample::from_iter);
    row::print(
        "cached dashboard, server CPU per request, plain; gzip; zstd, packed once (packed each time: gzip beside that)",
        &format!(
            "{} µs, {} bytes; {} µs, {} bytes; {} µs, {} bytes ({} µs more)",
            Figure(plain.median()),
            sizes[0].len(),
            Figure(gzip.median()),
            sizes[1].len(),
            Figure(zstd.median()),
            sizes[2].len(),
            Figure(pack_us(&sizes[0])?)
        ),
        &gzip.spread(),
        "≤ 1.1 × plain",
        gzip.median().max(zstd.median()) <= 1.1 * plain.median(),
    );
    Ok(())
}

/// Microseconds of processor that packing a body takes, at the level that a server would use for each request.
fn pack_us(body: &[u8]) -> anyhow::Result<f64> {
    let began = thread_us();
    for _ in 0..PACKED {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(body)?;
        std::hint::black_box(encoder.finish()?);
    }
    Ok((thread_us() - began) / PACKED as f64)
}

fn thread_us() -> f64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    now.tv_sec as f64 * 1e6 + now.tv_nsec as f64 / 1e3
}
