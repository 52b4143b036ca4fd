//! Which spans are one request of a service (the same rules as for counting them, R2).

use rustc_hash::FxHashMap;

use super::Tree;
use crate::span::Side;

impl Tree<'_> {
    /// Fills in `request`, from the tops down.
    pub(super) fn find_requests(&mut self) {
        let mut joined: FxHashMap<(usize, u32), usize> = FxHashMap::default();
        for &span in self.order.iter().filter(|&&span| self.spans[span].kind.side() == Side::In) {
            if let Some(above) = self.parent[span] {
                joined.entry((above, self.service[span])).or_insert(span);
            }
        }
        for at in 0..self.order.len() {
            let span = self.order[at];
            let Some(above) = self.parent[span] else { continue };
            if self.service[above] == self.service[span] {
                if !self.begins_inside(above, span) {
                    self.request[span] = self.request[above];
                }
                continue;
            }
            let (side, from_side) = (self.side(span), self.side(above));
            if side == Side::In || (side == Side::Local && from_side == Side::Local) {
                continue;
            }
            // The entry span is missing, or beside it: siblings of one service are the inside of one request.
            self.request[span] = *joined.entry((above, self.service[span])).or_insert(span);
        }
    }

    /// Does an `in` span below a span of its own service begin another request? Not when that request has begun with
    /// `local` spans alone: then it is the one that they wait for.
    fn begins_inside(&self, above: usize, span: usize) -> bool {
        self.side(span) == Side::In
            && !(self.side(above) == Side::Local && self.side(self.request[above]) == Side::Local)
    }
}
