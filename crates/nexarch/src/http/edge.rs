//! What is done around every request, whatever answers it: headers of every answer, the rest of a refused body, and what is
//! counted.
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
    http::{HeaderName, HeaderValue, Version, header},
    response::Response,
    routing::future::RouteFuture,
};
use nexarch_cache::BootTime;
use pin_project_lite::pin_project;
use tower::Service;
use tracing::{Level, Span};

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
        let (app, began) = (Arc::clone(&self.app), self.app.cache.now());
        let route = app.metrics.requests.route(request.uri().path());
        let span = span(&app, &request, route);
        if request.body().is_end_stream() {
            let routes = Routes::new(&self.app, self.routes.call(request));
            return Answer { routes, with_body: None, app, route, began, span };
        }
        // HTTP/2 has no connection to close: a stream that is refused takes nothing else with it.
        let closes = request.version() < Version::HTTP_2;
        let (request, rest) = rest::watched(request);
        let with_body = Some(WithBody { closes, rest });
        let routes = Routes::new(&self.app, self.routes.call(request));
        Answer { routes, with_body, app, route, began, span }
    }
}

struct WithBody {
    closes: bool,
    rest: Rest,
}

pin_project! {
    struct Answer {
        #[pin]
        routes: Routes,
        with_body: Option<WithBody>,
        app: Arc<App>,
        // Its place among the templates.
        route: usize,
        began: BootTime,
        span: Span,
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
        let inside = this.span.enter();
        let mut response = ready!(this.routes.poll(cx));
        drop(inside);
        let with_body = this.with_body.take();
        harden(&mut response, with_body.as_ref().is_some_and(|request| request.closes));
        if let Some(WithBody { rest, .. }) = with_body {
            rest::throw_away(this.app, &rest);
        }
        let took = this.app.cache.now().since(*this.began);
        this.app.metrics.requests.answered(*this.route, response.status(), took);
        this.span.record("http.response.status_code", response.status().as_u16());
        Poll::Ready(Ok(response))
    }
}

/// A request that says so by this header is not traced: what sends traces of itself would else never come to an end.
pub(crate) const UNTRACED: HeaderName = HeaderName::from_static("nexarch-untraced");

/// The span of a request, after OpenTelemetry's conventions for HTTP servers; nothing that a caller chose is in it.
fn span(app: &App, request: &Request, route: usize) -> Span {
    if !tracing::enabled!(Level::DEBUG) || request.headers().contains_key(UNTRACED) {
        return Span::none();
    }
    let (method, route) = (request.method().as_str(), app.metrics.requests.template(route));
    let span = tracing::debug_span!(
        "request",
        otel.name = format_args!("{method} {route}"),
        otel.kind = "server",
        http.request.method = method,
        http.route = route,
        http.response.status_code = tracing::field::Empty,
    );
    #[cfg(feature = "otel")]
    crate::otel::continue_trace(&span, request.headers());
    span
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
