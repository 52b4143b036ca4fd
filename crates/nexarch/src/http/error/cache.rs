//! What the cache says, in HTTP.

use axum::http::StatusCode;
use nexarch_cache::{Error as CacheError, NotBegun, SharedError};
use nexarch_store::Error as StoreError;

use super::ApiError;
use crate::{turns::Busy, view::ViewError};

/// Only the computation's own error, or one of the caller's making, reaches the caller.
impl From<CacheError> for ApiError {
    fn from(error: CacheError) -> Self {
        match error {
            CacheError::UnknownOperation { .. } => Self::not_found(error.to_string()),
            CacheError::PatternTooLong { .. } => Self::bad_request(error.to_string()),
            CacheError::VersionUnknown { .. } => {
                let detail = format!("{error}; take it from a Nexarch-Version header of this server");
                Self::new(StatusCode::PRECONDITION_FAILED, detail)
            }
            CacheError::NotCached => {
                let detail = "not in the cache, and only-if-cached was asked for";
                Self::new(StatusCode::GATEWAY_TIMEOUT, detail)
            }
            // It was too much for now, the server stops, or the database was set back while the value was computed.
            CacheError::TimedOut { .. } | CacheError::Dropped | CacheError::Outdated { .. } => {
                Self::again(StatusCode::SERVICE_UNAVAILABLE, error.to_string())
            }
            CacheError::Unverified(cause) => unverified(&cause),
            CacheError::Compute(cause) => computation(cause),
            other => Self::internal(other),
        }
    }
}

/// The database did not say what is needed, whatever kept it from doing so.
fn unverified(cause: &SharedError) -> ApiError {
    if let Some(error) = cause.downcast_ref::<StoreError>().map(ApiError::from)
        && error.status != StatusCode::INTERNAL_SERVER_ERROR
    {
        return error;
    }
    let mut this =
        ApiError::again(StatusCode::SERVICE_UNAVAILABLE, "the database does not answer; try again");
    this.cause = Some(cause.to_string());
    this
}

fn computation(cause: SharedError) -> ApiError {
    if let Some(error) = cause.downcast_ref::<ViewError>() {
        return match error {
            ViewError::Store(error) => error.into(),
            ViewError::Corrupt(_) | ViewError::Internal(_) => ApiError::internal(error),
        };
    }
    if let Some(busy) = cause.downcast_ref::<NotBegun>().and_then(|why| why.0.downcast_ref::<Busy>()) {
        return (*busy).into();
    }
    match cause.downcast_ref::<StoreError>() {
        Some(error) => error.into(),
        None => ApiError::internal(cause),
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use nexarch_cache::BoxError;

    use super::*;

    fn shared(error: impl Into<BoxError>) -> SharedError {
        Arc::from(error.into())
    }

    #[test]
    fn whatever_passes_by_itself_is_tried_again() {
        let away = StoreError::Unavailable { reason: "away".to_owned(), retry_after: Duration::from_secs(7) };
        for (error, after) in [
            (CacheError::Dropped, 1),
            (CacheError::TimedOut { limit: Duration::from_secs(30) }, 1),
            (CacheError::Outdated { seen: 1, needed: 2 }, 1),
            (CacheError::Unverified(shared("no answer within 500ms")), 1),
            (CacheError::Unverified(shared(StoreError::Internal("cut".to_owned()))), 1),
            (CacheError::Unverified(shared(away)), 7),
            (CacheError::Compute(shared(NotBegun(Busy.into()))), 1),
        ] {
            let words = format!("{error:?}");
            let answer = ApiError::from(error);
            assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{words}");
            assert_eq!(answer.retry_after, Some(Duration::from_secs(after)), "{words}");
        }
    }

    #[test]
    fn what_does_not_is_not() {
        let gone = || shared(StoreError::NotFound("tenant a".to_owned()));
        for (error, status) in [
            (CacheError::Unverified(gone()), StatusCode::NOT_FOUND),
            (CacheError::Compute(gone()), StatusCode::NOT_FOUND),
            (CacheError::Compute(shared("a bug")), StatusCode::INTERNAL_SERVER_ERROR),
            (CacheError::Panicked, StatusCode::INTERNAL_SERVER_ERROR),
        ] {
            let words = format!("{error:?}");
            let answer = ApiError::from(error);
            assert_eq!((answer.status, answer.retry_after), (status, None), "{words}");
        }
    }
}
