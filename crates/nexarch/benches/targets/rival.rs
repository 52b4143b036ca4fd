//! The rival over HTTP: bare axum that does nothing but what any server must.

use std::{path::Path, sync::Arc};

use anyhow::Context;
use axum::{
    Router,
    body::{Body, Bytes},
    extract::State,
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode},
    response::Response,
    routing::{get, post},
    serve::ListenerExt,
};
use flate2::read::GzDecoder;
use tokio::net::TcpListener;

/// The argument that makes this executable the rival.
pub(crate) const NAME: &str = "bare-axum";
/// What both servers are asked for: of all routes the one whose answer for the shop comes nearest to 8 KiB. (A larger one
/// would flatter us: what a server adds to a bare one does not grow with the body.)
pub(crate) const PATH: &str = "/api/v1/dashboard/services";

struct Answer {
    headers: HeaderMap,
    body: Bytes,
}

/// Serves the bytes of a file (header lines, an empty line, the body) at [`PATH`], and takes spans as a collector does
/// that throws everything away: it reads the body and unpacks it.
pub(crate) async fn serve(answer: Option<&str>) -> anyhow::Result<()> {
    let answer = Arc::new(answer.map_or_else(|| Ok(nothing()), |file| load(Path::new(file)))?);
    let routes = Router::new().route(PATH, get(read)).route("/v1/traces", post(discard)).with_state(answer);
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("listening on http://{}", listener.local_addr()?);
    let no_delay = |stream: &mut tokio::net::TcpStream| stream.set_nodelay(true).unwrap_or_default();
    Ok(axum::serve(listener.tap_io(no_delay), routes).await?)
}

fn nothing() -> Answer {
    Answer { headers: HeaderMap::new(), body: Bytes::new() }
}

fn load(file: &Path) -> anyhow::Result<Answer> {
    let bytes = Bytes::from(std::fs::read(file)?);
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").context("no end of the headers")?;
    let mut headers = HeaderMap::new();
    for line in std::str::from_utf8(&bytes[..end])?.lines() {
        let (name, value) = line.split_once(':').context("a header without a colon")?;
        headers.insert(HeaderName::try_from(name)?, HeaderValue::try_from(value.trim())?);
    }
    Ok(Answer { headers, body: bytes.slice(end + 4..) })
}

async fn read(State(answer): State<Arc<Answer>>) -> Response {
    let mut response = Response::new(Body::from(answer.body.clone()));
    response.headers_mut().clone_from(&answer.headers);
    response
}

async fn discard(body: Bytes) -> StatusCode {
    match std::io::copy(&mut GzDecoder::new(&*body), &mut std::io::sink()) {
        Ok(_) => StatusCode::OK,
        Err(_) => StatusCode::BAD_REQUEST,
    }
}
