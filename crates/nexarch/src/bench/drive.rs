//! Many requests over several connections, from one task: on a small machine the client must leave the processor to
//! the server.

use std::{cell::Cell, io, net::SocketAddr, time::Duration};

use bytes::Bytes;
use futures_util::future::try_join_all;
use tokio::time::Instant;

use super::{
    client::{Connection, Reply},
    sample::Sample,
};

/// What a run of requests came to.
#[derive(Debug, Clone)]
pub struct Driven {
    /// From the first request to the last answer.
    pub took: Duration,
    /// Of each request, in milliseconds, waiting behind others on its connection not included.
    pub latency_ms: Sample,
}

/// Connections that stay open over several runs.
#[derive(Debug)]
pub struct Driver {
    connections: Vec<Connection>,
}

impl Driver {
    /// Opens so many connections.
    pub async fn open(addr: SocketAddr, connections: usize) -> io::Result<Self> {
        let connections = try_join_all((0..connections).map(|_| Connection::open(addr))).await?;
        Ok(Self { connections })
    }

    /// Sends `total` requests, taken from `requests` in turn, as fast as answers come. An answer that `wanted` refuses
    /// ends the run: a figure of failed requests would mean nothing.
    pub async fn run(
        &mut self,
        requests: &[Bytes],
        total: usize,
        wanted: impl Fn(&Reply<'_>) -> bool,
    ) -> io::Result<Driven> {
        let (next, wanted) = (Cell::new(0), &wanted);
        let began = Instant::now();
        let workers = self.connections.iter_mut().map(|connection| {
            let next = &next;
            async move {
                let mut latencies = Vec::with_capacity(total);
                loop {
                    let at = next.replace(next.get() + 1);
                    if at >= total {
                        return Ok::<_, io::Error>(latencies);
                    }
                    let sent = Instant::now();
                    let reply = connection.exchange(&requests[at % requests.len()]).await?;
                    if !wanted(&reply) {
                        return Err(unwanted(&reply));
                    }
                    latencies.push(sent.elapsed().as_secs_f64() * 1e3);
                }
            }
        });
        let latencies = try_join_all(workers).await?;
        Ok(Driven { took: began.elapsed(), latency_ms: latencies.into_iter().flatten().collect() })
    }

    /// As [`Driver::run`] for reads that shall be hits. What the server learns about its data by itself makes an entry
    /// old now and then (a trace settles, a day is dropped), so one in a thousand may be computed.
    pub async fn run_hits(&mut self, request: &Bytes, total: usize) -> io::Result<Driven> {
        let computed = Cell::new(0);
        let wanted = |reply: &Reply<'_>| {
            computed.set(computed.get() + usize::from(!is_hit(reply)));
            is_ok(reply) && computed.get() <= total / 1_000
        };
        self.run(std::slice::from_ref(request), total, wanted).await
    }
}

/// Says what came instead of what was wanted.
pub fn unwanted(reply: &Reply<'_>) -> io::Error {
    let body: String = String::from_utf8_lossy(reply.body).chars().take(200).collect();
    io::Error::other(format!("the server answered otherwise than expected:\n{}\n\n{body}", reply.head))
}

/// Is it an answer from memory?
pub fn is_hit(reply: &Reply<'_>) -> bool {
    reply.status == 200
        && reply.header("cache-status").is_some_and(|status| status.contains("hit; detail=memory"))
}

/// Was it computed because the request asked for it?
pub fn is_computed(reply: &Reply<'_>) -> bool {
    reply.status == 200 && reply.header("cache-status").is_some_and(|status| status.contains("fwd=request"))
}

/// Was it taken?
pub fn is_ok(reply: &Reply<'_>) -> bool {
    reply.status == 200
}
