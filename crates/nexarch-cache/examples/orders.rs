//! A web service over the cache, with Redis when `REDIS_URL` names one. Nothing else of this project is in it.
//!
//! ```text
//! cargo run -p nexarch-cache --example orders
//! curl -i localhost:3000/acme/orders; curl -X POST localhost:3000/acme/orders; curl -i localhost:3000/acme/orders
//! ```
#![allow(clippy::disallowed_methods, reason = "a program of its own reads its environment itself")]

use axum::extract::{Path, State};
use axum::{Router, http::StatusCode, response::IntoResponse, routing::get};
use nexarch_cache::{
    Cache, Cause, Changed, Commit, Computed, Epoch, LocalAuthority, Operation, Read, RedisConfig,
    RedisRemote, Scope,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

#[derive(Clone)]
struct Shop {
    cache: Cache,
    authority: Arc<LocalAuthority>,
    orders: Arc<AtomicU64>, // the database
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (tracker, end) = (TaskTracker::new(), CancellationToken::new());
    let shop = open(std::env::var("REDIS_URL").ok().as_deref(), &tracker, &end)?;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
    Ok(axum::serve(listener, router(shop)).await?)
}

fn open(
    redis: Option<&str>,
    tracker: &TaskTracker,
    stop: &CancellationToken,
) -> Result<Shop, Box<dyn std::error::Error>> {
    // Processes that share a database put it behind `Authority` and have a bound of one second; these have their TTL.
    let authority = Arc::new(LocalAuthority::shared(Epoch::new(7)));
    let mut builder = Cache::builder(authority.clone())
        .namespace("shop")
        .operations([Operation::new("orders", Duration::from_mins(1))]);
    if let Some(url) = redis {
        builder = builder.remote(RedisRemote::start(
            &RedisConfig::from_url(url)?.namespace("shop"),
            tracker,
            stop,
        )?);
    }
    let cache = builder.build(tracker.clone())?;
    tracker.spawn(cache.clone().run(stop.clone()));
    Ok(Shop { cache, authority, orders: Arc::default() })
}

fn router(shop: Shop) -> Router {
    Router::new().route("/{tenant}/orders", get(count).post(order)).with_state(shop)
}

async fn count(
    State(shop): State<Shop>,
    Path(tenant): Path<String>,
) -> Result<impl IntoResponse, (StatusCode, String)> {
    let problem = |error: nexarch_cache::Error| (StatusCode::BAD_REQUEST, error.to_string());
    let scope = Scope::new(&tenant).map_err(problem)?;
    let read = Read::new(shop.cache.operation("orders").map_err(problem)?, "");
    let compute =
        move |_fence| async move { Ok(Computed::new(shop.orders.load(Ordering::SeqCst).to_string())) };
    let answer = shop.cache.get_or_compute(&scope, read, compute).await.map_err(problem)?;
    Ok(([("cache-status", answer.outcome().cache_status("shop").to_string())], answer.body().clone()))
}

async fn order(
    State(shop): State<Shop>,
    Path(tenant): Path<String>,
) -> Result<StatusCode, (StatusCode, String)> {
    let scope = Scope::new(&tenant).map_err(|error| (StatusCode::BAD_REQUEST, error.to_string()))?;
    shop.orders.fetch_add(1, Ordering::SeqCst); // first the change, then its version, then the answer
    let versions = shop.authority.change_data(&scope);
    shop.cache.announce(&scope, &Commit::new(Changed::Data, Cause::Ingest, versions));
    Ok(StatusCode::ACCEPTED)
}

#[cfg(test)]
mod tests {
    use super::*;
    use nexarch_testkit::{RedisServer, until};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    async fn send(address: std::net::SocketAddr, method: &str) -> String {
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let request = format!("{method} /acme/orders HTTP/1.1\r\nhost: shop\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_the_first_process_computed_the_second_finds_until_an_order_comes() {
        let redis = RedisServer::start();
        let url = format!("redis://{}", redis.address());
        let (tracker, end) = (TaskTracker::new(), CancellationToken::new());
        let mut addresses = Vec::new();
        let orders = Arc::new(AtomicU64::new(3));
        for _ in 0..2 {
            let mut shop = open(Some(&url), &tracker, &end).unwrap();
            shop.orders = orders.clone();
            let cache = shop.cache.clone();
            while cache.status().status != nexarch_cache::Condition::Connected {
                tokio::task::yield_now().await;
            }
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            addresses.push(listener.local_addr().unwrap());
            tracker.spawn(axum::serve(listener, router(shop)).into_future());
        }
        let miss = send(addresses[0], "GET").await;
        assert!(miss.contains("cache-status: shop; fwd=miss; stored") && miss.ends_with('3'), "{miss}");
        until("the value is in Redis", || {
            redis.cli(&["KEYS", "shop:acme:*"]).contains("shop:acme:orders").then_some(())
        });
        let hit = send(addresses[1], "GET").await;
        assert!(hit.contains("cache-status: shop; hit; detail=redis") && hit.ends_with('3'), "{hit}");
        assert!(send(addresses[0], "POST").await.starts_with("HTTP/1.1 202"));
        assert!(send(addresses[0], "GET").await.ends_with('4'), "at once where it was acknowledged");
        while !send(addresses[1], "GET").await.ends_with('4') {
            tokio::task::yield_now().await;
        }
        end.cancel();
    }
}
