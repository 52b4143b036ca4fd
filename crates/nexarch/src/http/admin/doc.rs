//! Errors of the admin API for the OpenAPI document.

use super::super::error::Problem;

/// What every route may answer.
#[derive(utoipa::IntoResponses)]
#[expect(dead_code, reason = "only its shape is read, by the document")]
pub(super) enum Errors {
    /// The address is wrong: an unknown, repeated or malformed parameter, a broken escape.
    #[response(status = 400, content_type = "application/problem+json")]
    Wrong(Problem),
    /// `X-Admin-Key` is missing or wrong.
    #[response(status = 401, content_type = "application/problem+json")]
    Refused(Problem),
    /// There is no such thing; or no `ADMIN_SECRET_KEY` is configured.
    #[response(status = 404, content_type = "application/problem+json")]
    Missing(Problem),
    /// The database is away. Nothing was changed.
    #[response(status = 503, content_type = "application/problem+json")]
    Away(Problem),
}

/// What a route may answer besides that takes a body.
#[derive(utoipa::IntoResponses)]
#[expect(dead_code, reason = "only its shape is read, by the document")]
pub(super) enum BodyErrors {
    /// The body is larger than 16 KiB.
    #[response(status = 413, content_type = "application/problem+json")]
    TooLarge(Problem),
    /// The body is not JSON.
    #[response(status = 415, content_type = "application/problem+json")]
    NotJson(Problem),
    /// The body is JSON, and not what is expected.
    #[response(status = 422, content_type = "application/problem+json")]
    Invalid(Problem),
    /// The server is receiving as much as it can hold.
    #[response(status = 429, content_type = "application/problem+json")]
    Busy(Problem),
}

/// What a route may answer besides that meets something that is in another state than it needs.
#[derive(utoipa::IntoResponses)]
#[response(
    status = 409,
    description = "It exists already, or has ended.",
    content_type = "application/problem+json"
)]
#[expect(dead_code, reason = "only its shape is read, by the document")]
pub(super) struct Conflict(Problem);

/// Which page.
#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "only its shape is read, by the document")]
pub(super) struct PageParams {
    /// Most items of a page, 1 to 1000. Default 100.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}
