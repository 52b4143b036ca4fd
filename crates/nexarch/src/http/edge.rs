//! What is done around every request, whatever answers it: headers of every answer, and the rest of a refused body.
//!
//! One service around the router, not layers in it: a router clones its layers for each request, each of them in a box
//! of its own, which cost more than all that they did.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use axum::{
    Router,
    body::HttpBody as _,
    extract::Request,
    http::{HeaderValue, Version, header},
    response::Response,
    routing::future::RouteFuture,
};
use pin_project_lite::pin_project;
use tower::Service;

use super::{
    limits::{self, Told},
    rest::{self, Rest},
};
use crate::app::App;

/// The routes with all that belongs around them.
pub(super) fn around(routes: Router, app: Arc<App>) -> Router {
    Router::new().fallback_service(Edge { routes, app })
}

#[derive(Clone)]
struct Edge {
    routes: Router,
    app: Arc<App>,
}

impl Service<Request> for Edge {
    type Response = Response;
    type Error = Infallible;
    type Future = Answer;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> Answer {
        if request.body().is_end_stream() {
            return Answer { routes: Routes::new(&self.app, self.routes.call(request)), with_body: None };
        }
        // HTTP/2 has no connection to close: a stream that is refused takes nothing else with it.
        let closes = request.version() < Version::HTTP_2;
        let (request, rest) = rest::watched(request);
        let with_body = WithBody { closes, rest, app: Arc::clone(&self.app) };
        let routes = Routes::new(&self.app, self.routes.call(request));
        Answer { routes, with_body: Some(with_body) }
    }
}

struct WithBody {
    closes: bool,
    rest: Rest,
    app: Arc<App>,
}

pin_project! {
    struct Answer {
        #[pin]
        routes: Routes,
        with_body: Option<WithBody>,
    }
}

pin_project! {
    /// The routes at work; where limits are set, with what is told of them.
    #[project = RoutesAtWork]
    enum Routes {
        Plain { #[pin] routes: RouteFuture<Infallible> },
        Limited { #[pin] routes: Told<RouteFuture<Infallible>>, app: Arc<App> },
    }
}

impl Routes {
    fn new(app: &Arc<App>, routes: RouteFuture<Infallible>) -> Self {
        if limits::any(app) {
            Self::Limited { routes: limits::tell(routes), app: Arc::clone(app) }
        } else {
            Self::Plain { routes }
        }
    }
}

impl Future for Routes {
    type Output = Response;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Response> {
        match self.project() {
            RoutesAtWork::Plain { routes } => {
                let Ok(response) = ready!(routes.poll(cx));
                Poll::Ready(response)
            }
            RoutesAtWork::Limited { mut routes, app } => {
                let Ok(mut response) = ready!(routes.as_mut().poll(cx));
                limits::label(app, routes, &mut response);
                Poll::Ready(response)
            }
        }
    }
}

impl Future for Answer {
    type Output = Result<Response, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let mut response = ready!(this.routes.poll(cx));
        let with_body = this.with_body.take();
        harden(&mut response, with_body.as_ref().is_some_and(|request| request.closes));
        if let Some(WithBody { rest, app, .. }) = with_body {
            rest::throw_away(&app, &rest);
        }
        Poll::Ready(Ok(response))
    }
}

/// Headers that every answer carries.
fn harden(response: &mut Response, closes: bool) {
    let refused = response.status().is_client_error() || response.status().is_server_error();
    let headers = response.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    // The body may not have been read to its end: without this word the client's next request would be lost in it.
    if refused && closes {
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    // What says nothing of caching depends on the key and on the moment.
    if !headers.contains_key(header::CACHE_CONTROL) {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-store"));
    }
}
