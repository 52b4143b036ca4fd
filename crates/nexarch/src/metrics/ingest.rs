//! The figures of ingest.

use std::sync::atomic::{AtomicU64, Ordering};

use super::{
    family::{
        COMMIT_DURATION, GROUP, INFLIGHT, INFLIGHT_LIMIT, QUEUE, QUEUE_LIMIT, RECEIVED, REFUSED, SPANS,
    },
    page::Page,
};
use crate::ingest::{Ingest, Refusal, Transport};

pub(super) fn write(page: &mut Page, ingest: &Ingest) {
    let counters = &*ingest.counters;
    let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let mut spans = page.family(&SPANS);
    for transport in Transport::ALL {
        let (taken, word) = (counters.of(transport), transport.as_str());
        spans.add(&[word, "accepted"], load(&taken.accepted));
        spans.add(&[word, "duplicate"], load(&taken.duplicate));
        spans.add(&[word, "failed"], load(&taken.failed));
    }
    let mut bytes = page.family(&RECEIVED);
    for transport in Transport::ALL {
        bytes.add(&[transport.as_str()], load(&counters.of(transport).bytes));
    }
    let mut refused = page.family(&REFUSED);
    for refusal in Refusal::ALL {
        refused.add(&[refusal.as_str()], counters.refused(refusal));
    }
    page.family(&QUEUE).add(&[], ingest.queued_batches() as u64);
    page.family(&QUEUE_LIMIT).add(&[], ingest.queue_limit() as u64);
    page.family(&INFLIGHT).add(&[], ingest.inflight_bytes() as u64);
    page.family(&INFLIGHT_LIMIT).add(&[], ingest.max_inflight_bytes() as u64);
    page.family(&GROUP).histogram(&[], &counters.group_spans.distribution());
    page.family(&COMMIT_DURATION).histogram(&[], &counters.commit.distribution());
}
