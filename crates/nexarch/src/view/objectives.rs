//! What requests should be like.

use std::time::Duration;

use nexarch_core::analysis::Options;

/// Latency and availability objective of every tenant. What is kept by others, such as by this server before it was
/// started anew with a shared tier behind it, is another value: they are a part of [`crate::operation::schema`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Objectives {
    latency_ms: f64,
    availability: f64,
}

impl Objectives {
    /// T, and the share of requests that should succeed, 0…1.
    pub fn new(latency: Duration, availability: f64) -> Self {
        Self { latency_ms: latency.as_secs_f64() * 1e3, availability }
    }

    /// T, milliseconds.
    pub fn latency_ms(&self) -> f64 {
        self.latency_ms
    }

    /// Share of requests that should succeed, 0…1.
    pub fn availability(&self) -> f64 {
        self.availability
    }

    /// For an analysis.
    pub(super) fn options(&self) -> Options {
        Options { availability_objective: self.availability }
    }
}
