//! One error for the whole API: outside words (RFC 9457) and an inside cause, logged once, here.

mod cache;

use std::time::Duration;

use axum::{
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use nexarch_store::Error as StoreError;
use serde::Serialize;

use super::limits::{self, RATE_LIMIT};
use crate::{
    auth::Refused,
    ingest::{self, IngestError, body::BodyError},
    limit::{DAILY_SPANS, Limited},
    stream::{self, Crowded},
    turns::Busy,
};

/// What the caller is told, and what only the log is told.
#[derive(Debug)]
pub struct ApiError {
    /// HTTP status.
    pub status: StatusCode,
    /// What is wrong and what to do, for the caller.
    pub detail: String,
    /// `Retry-After`.
    pub retry_after: Option<Duration>,
    /// The limit that is used up, and what is left of it.
    pub(super) violated: Option<(&'static str, u64)>,
    /// `WWW-Authenticate`.
    challenge: Option<&'static str>,
    cause: Option<String>,
    /// Further headers.
    labels: Option<Box<HeaderMap>>,
}

/// The problem type of a used-up quota (draft-ietf-httpapi-ratelimit-headers, section "Problem Types").
const QUOTA_EXCEEDED: &str = "https://iana.org/assignments/http-problem-types#quota-exceeded";

/// Body of an error: `application/problem+json`.
#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct Problem {
    /// `about:blank`: the status says the kind; or
    /// `https://iana.org/assignments/http-problem-types#quota-exceeded`.
    #[serde(rename = "type")]
    kind: &'static str,
    /// The kind in words.
    title: &'static str,
    /// The status as a number.
    status: u16,
    /// What is wrong and what to do.
    detail: String,
    /// The limits that are used up, as `RateLimit-Policy` names them.
    #[serde(rename = "violated-policies", skip_serializing_if = "Option::is_none")]
    violated: Option<[&'static str; 1]>,
}

impl ApiError {
    /// An error of the caller's making.
    pub fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        let (detail, retry_after) = (detail.into(), None);
        Self { status, detail, retry_after, violated: None, challenge: None, cause: None, labels: None }
    }

    /// 400.
    pub fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, detail)
    }

    /// 404.
    pub fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, detail)
    }

    /// 401 with the challenge.
    pub fn unauthorized(detail: impl Into<String>) -> Self {
        Self::challenged("Bearer realm=\"nexarch\"", detail)
    }

    /// 401 with a challenge of another kind.
    pub(super) fn challenged(challenge: &'static str, detail: impl Into<String>) -> Self {
        Self { challenge: Some(challenge), ..Self::new(StatusCode::UNAUTHORIZED, detail) }
    }

    /// 500; the cause is for the log.
    #[expect(clippy::needless_pass_by_value, reason = "for map_err")]
    pub fn internal(cause: impl ToString) -> Self {
        let mut this = Self::new(StatusCode::INTERNAL_SERVER_ERROR, "the server failed; its log says why");
        this.cause = Some(cause.to_string());
        this
    }

    /// The same in a second.
    pub(super) fn again(status: StatusCode, detail: impl Into<String>) -> Self {
        Self::try_again(status, detail, Duration::from_secs(1))
    }

    fn try_again(status: StatusCode, detail: impl Into<String>, after: Duration) -> Self {
        Self { retry_after: Some(after), ..Self::new(status, detail) }
    }

    /// 429 because a limit is used up.
    fn exceeded(policy: &'static str, left: u64, detail: impl Into<String>, after: Duration) -> Self {
        let violated = Some((policy, left));
        Self { violated, ..Self::try_again(StatusCode::TOO_MANY_REQUESTS, detail, after) }
    }

    /// With further headers.
    pub(super) fn labelled(self, labels: HeaderMap) -> Self {
        Self { labels: Some(Box::new(labels)), ..self }
    }

    /// Logs the inside cause; called once, where the answer is made.
    pub fn log(&self) {
        if let Some(cause) = &self.cause {
            tracing::error!(status = self.status.as_u16(), cause, "a request failed");
        }
    }

    /// Adds the headers that every form of this error carries.
    pub fn headers(&self, response: &mut Response) {
        let headers = response.headers_mut();
        if let Some(after) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(after.as_secs().max(1)));
        }
        if let (Some((policy, left)), Some(after)) = (self.violated, self.retry_after) {
            headers.insert(RATE_LIMIT, limits::refused(policy, left, after));
        }
        if let Some(challenge) = self.challenge {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        }
        if let Some(labels) = &self.labels {
            headers.extend((**labels).clone());
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        self.log();
        let (kind, title) = match self.violated {
            Some(_) => (QUOTA_EXCEEDED, "Quota Exceeded"),
            None => ("about:blank", self.status.canonical_reason().unwrap_or("Error")),
        };
        let violated = self.violated.map(|(policy, _)| [policy]);
        let problem =
            Problem { kind, title, status: self.status.as_u16(), detail: self.detail.clone(), violated };
        let body = serde_json::to_vec(&problem).unwrap_or_default();
        let media_type = [(header::CONTENT_TYPE, "application/problem+json")];
        let mut response = (self.status, media_type, body).into_response();
        self.headers(&mut response);
        response
    }
}

impl From<Refused> for ApiError {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Store(error) => error.into(),
            Refused::Disabled(_) => Self::new(StatusCode::FORBIDDEN, refused.to_string()),
            _ => Self::unauthorized(refused.to_string()),
        }
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        Self::from(&error)
    }
}

/// By reference: everybody who waited for one computation shares its error.
impl From<&StoreError> for ApiError {
    fn from(error: &StoreError) -> Self {
        match error {
            StoreError::NotFound(_) => Self::not_found(error.to_string()),
            StoreError::Exists(_) | StoreError::Conflict(_) => {
                Self::new(StatusCode::CONFLICT, error.to_string())
            }
            StoreError::Disabled(_) => Self::new(StatusCode::FORBIDDEN, error.to_string()),
            StoreError::Unavailable { reason, retry_after } => {
                let detail = "the database is unavailable; nothing was stored; try again";
                let mut this = Self::try_again(StatusCode::SERVICE_UNAVAILABLE, detail, *retry_after);
                this.cause = Some(reason.clone());
                this
            }
            StoreError::Quota { left, retry_after, .. } => {
                Self::exceeded(DAILY_SPANS, *left, error.to_string(), *retry_after)
            }
            StoreError::BeyondQuota { .. } => Self::new(StatusCode::PAYLOAD_TOO_LARGE, error.to_string()),
            StoreError::NotOwner(_) => Self::internal(error),
            StoreError::Internal(cause) => Self::internal(cause),
        }
    }
}

impl From<IngestError> for ApiError {
    fn from(error: IngestError) -> Self {
        match error {
            IngestError::Busy => {
                Self::try_again(StatusCode::TOO_MANY_REQUESTS, error.to_string(), ingest::RETRY_AFTER)
            }
            IngestError::TooMany(_) | IngestError::TooLarge => {
                Self::new(StatusCode::PAYLOAD_TOO_LARGE, error.to_string())
            }
            IngestError::Stopping => {
                Self::try_again(StatusCode::SERVICE_UNAVAILABLE, error.to_string(), ingest::RETRY_AFTER)
            }
            IngestError::Store(error) => error.into(),
        }
    }
}

/// No failure, and nothing for the log: so many ask.
impl From<Busy> for ApiError {
    fn from(busy: Busy) -> Self {
        Self::again(StatusCode::SERVICE_UNAVAILABLE, busy.to_string())
    }
}

impl From<Limited> for ApiError {
    fn from(limited: Limited) -> Self {
        Self::exceeded(limited.policy, 0, limited.to_string(), limited.retry_after)
    }
}

impl From<Crowded> for ApiError {
    fn from(crowded: Crowded) -> Self {
        let status = match crowded {
            Crowded::Tenant => StatusCode::TOO_MANY_REQUESTS,
            Crowded::Server => StatusCode::SERVICE_UNAVAILABLE,
        };
        Self::try_again(status, crowded.to_string(), stream::RETRY_AFTER)
    }
}

impl From<BodyError> for ApiError {
    fn from(error: BodyError) -> Self {
        match error {
            BodyError::TooLarge(_) => Self::new(StatusCode::PAYLOAD_TOO_LARGE, error.to_string()),
            BodyError::Busy => {
                Self::try_again(StatusCode::TOO_MANY_REQUESTS, error.to_string(), ingest::RETRY_AFTER)
            }
            // Not 408, which senders of OTLP do not repeat: the network may be better next time.
            BodyError::Slow => {
                Self::try_again(StatusCode::SERVICE_UNAVAILABLE, error.to_string(), ingest::RETRY_AFTER)
            }
            BodyError::Corrupt(_) | BodyError::Frame | BodyError::Cut => Self::bad_request(error.to_string()),
        }
    }
}
