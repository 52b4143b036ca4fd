//! A server with a key, in a directory that goes with it.

use std::{net::SocketAddr, time::Duration};

use anyhow::Context;
use bytes::Bytes;
use nexarch::bench::{
    client,
    drive::{Driver, is_ok},
    process::Process,
};
use tempfile::TempDir;

/// Senders at once while something is loaded.
const SENDERS: usize = 4;

/// The server that is measured.
pub(crate) struct Subject {
    pub(crate) process: Process,
    pub(crate) key: String,
    pub(crate) dir: TempDir,
}

impl Subject {
    /// A server on an empty database.
    pub(crate) async fn start() -> anyhow::Result<Self> {
        let dir = tempfile::Builder::new().prefix("nexarch-targets-").tempdir()?;
        let path = dir.path().to_owned();
        let started = tokio::task::spawn_blocking(move || {
            let mut process = Process::serve(&path)?;
            let key = process.first_key()?;
            anyhow::Ok((process, key))
        });
        let (process, key) = started.await??;
        Ok(Self { process, key, dir })
    }

    /// A server on an empty database, and where its figures are.
    pub(crate) async fn start_with_figures() -> anyhow::Result<(Self, SocketAddr)> {
        let dir = tempfile::Builder::new().prefix("nexarch-targets-").tempdir()?;
        let path = dir.path().to_owned();
        let started = tokio::task::spawn_blocking(move || {
            let (mut process, figures) = Process::serve_with_figures(&path)?;
            let key = process.first_key()?;
            anyhow::Ok((process, key, figures))
        });
        let (process, key, figures) = started.await??;
        Ok((Self { process, key, dir }, figures))
    }

    /// Stops it, folding its log, and starts it again on the same database. Says how long it took until it was ready.
    pub(crate) async fn restart(self) -> anyhow::Result<(Self, Duration)> {
        let Self { process, key, dir } = self;
        let path = dir.path().to_owned();
        let restarted = tokio::task::spawn_blocking(move || {
            let stopped = process.stop()?;
            anyhow::ensure!(stopped.success(), "the server ended with {stopped}");
            let began = tokio::time::Instant::now();
            anyhow::Ok((Process::serve(&path)?, began))
        });
        let (process, began) = restarted.await??;
        let ready = client::get("/api/v1/health/ready", &key, "");
        let mut connection = client::Connection::open(process.addr).await?;
        let reply = connection.exchange(&ready).await?;
        anyhow::ensure!(reply.status == 200, "not ready: {}", reply.head);
        Ok((Self { process, key, dir }, began.elapsed()))
    }

    /// Stops it, folding its log; the database stays as long as what is returned.
    pub(crate) async fn stop(self) -> anyhow::Result<TempDir> {
        let Self { process, dir, .. } = self;
        let stopped = tokio::task::spawn_blocking(|| process.stop()).await??;
        anyhow::ensure!(stopped.success(), "the server ended with {stopped}");
        Ok(dir)
    }

    /// Sends bodies of packed spans.
    pub(crate) async fn send(&self, bodies: &[Bytes]) -> anyhow::Result<()> {
        let requests: Vec<Bytes> = bodies.iter().map(|body| self.post(body)).collect();
        let mut driver = Driver::open(self.process.addr, SENDERS).await?;
        driver.run(&requests, requests.len(), is_ok).await.context("sending")?;
        Ok(())
    }

    /// A request that sends a packed body.
    pub(crate) fn post(&self, body: &[u8]) -> Bytes {
        client::post_spans(&self.key, "gzip", body)
    }

    /// The answer of a route as JSON.
    pub(crate) async fn json(&self, path: &str) -> anyhow::Result<serde_json::Value> {
        let mut connection = client::Connection::open(self.process.addr).await?;
        let reply = connection.exchange(&client::get(path, &self.key, "")).await?;
        Ok(serde_json::from_slice(reply.body)?)
    }
}
