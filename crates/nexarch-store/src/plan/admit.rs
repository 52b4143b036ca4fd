//! Batches that a quota refuses, taken out before anything is decided on them.

use super::Incoming;
use crate::Error;

impl Incoming {
    /// Lets batches in, in the order in which they came, as long as all their spans fit into `room`; the others fail
    /// with `refusal`, which is told how many spans there are and how much room is left. One that does not fit
    /// leaves its room to smaller ones behind it.
    pub(crate) fn admit(&mut self, mut room: u64, refusal: impl Fn(u64, u64) -> Error) {
        let mut sizes = vec![0_u64; self.batches.len()];
        for arrived in &self.spans {
            if let Some(size) = sizes.get_mut(arrived.batch) {
                *size += 1;
            }
        }
        let mut refused = vec![false; self.batches.len()];
        for (((_, tally), size), refused) in self.batches.iter_mut().zip(sizes).zip(&mut refused) {
            if size <= room {
                room -= size;
            } else {
                *tally = Err(refusal(size, room));
                *refused = true;
            }
        }
        let spans = &self.spans;
        let admitted = |member: &usize| {
            spans.get(*member).is_some_and(|arrived| refused.get(arrived.batch) == Some(&false))
        };
        self.traces.retain_mut(|(_, members)| {
            members.retain(admitted);
            !members.is_empty()
        });
    }
}
