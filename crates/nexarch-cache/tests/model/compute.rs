//! A flight: its turn, its fence, Redis or a computation, and its end. As `compute.rs` of the crate, with the shared
//! tier between.

use crate::fence::Fence;
use crate::mirror::Needed;
use crate::mistakes::Mistake;
use crate::read::{Ask, Reader, Stage, Ticket, Why, id};
use crate::world::{DATA, HUGE, TENANT, Value, World, newer};

impl World {
    /// A flight that waited begins: it is closed, and then takes its fence.
    pub fn turn(&mut self, r: usize) -> Result<(), String> {
        let spec = self.readers[r].spec;
        if self.is(Mistake::FenceBeforeClosing) {
            let Needed { fence, known } = self.certain(spec.node);
            let tenant = self.nodes[spec.node].current();
            let reader = &mut self.readers[r];
            *reader = Reader { stage: Stage::Early, fence, known, tenant, ..reader.clone() };
            return Ok(());
        }
        self.close(r);
        if self.trusted(spec.node, 0) && !self.nodes[spec.node].tenant().mirror.in_doubt() {
            return self.take(r);
        }
        self.readers[r].stage = Stage::Ask { why: Why::Turn, asked: Ask::Waits };
        Ok(())
    }

    fn close(&mut self, r: usize) {
        let reader = &mut self.readers[r];
        let flights = &self.nodes[reader.spec.node].tenants[reader.home].flights;
        reader.fresh = flights.begin(&(), reader.ticket.0);
    }

    /// The mistake's second step.
    pub fn close_late(&mut self, r: usize) -> Result<(), String> {
        self.close(r);
        self.under(r)
    }

    pub fn take(&mut self, r: usize) -> Result<(), String> {
        let node = self.readers[r].spec.node;
        let Needed { fence, known } = match self.mistake {
            Mistake::FenceOnArrival => Needed { fence: self.readers[r].needed, known: self.readers[r].known },
            _ => self.certain(node),
        };
        let tenant = self.nodes[node].current();
        let reader = &mut self.readers[r];
        *reader = Reader { fence, known, tenant, ..reader.clone() };
        self.under(r)
    }

    /// It runs under its fence; what the flight before it stored may do.
    fn under(&mut self, r: usize) -> Result<(), String> {
        let reader = &mut self.readers[r];
        let node = &self.nodes[reader.spec.node];
        node.tenants[reader.home].flights.compute_under(&(), reader.ticket.0, reader.fence);
        reader.stage = Stage::Flies { refused: false };
        let held = node.tenants[reader.tenant].memory.filter(|value| !value.expired);
        match held.filter(|value| !reader.fresh && value.label.covers(&reader.fence)) {
            Some(value) => self.land(r, Ok(value)),
            None => Ok(()),
        }
    }

    /// Redis brings a value that covers the fence.
    pub fn get(&mut self, r: usize, value: usize) -> Result<(), String> {
        let value = self.redis[value];
        if newer(&value.label, &self.readers[r].fence) && !self.is(Mistake::NewerIsTaken) {
            self.readers[r].stage = Stage::Ask { why: Why::Compare(value), asked: Ask::Waits };
            return Ok(());
        }
        self.take_from_redis(r, value)
    }

    pub fn take_from_redis(&mut self, r: usize, value: Value) -> Result<(), String> {
        let reader = &self.readers[r];
        self.nodes[reader.spec.node].tenants[reader.tenant].keep(value);
        if reader.spec.early {
            // It may live longer than the one that is held, or not.
            self.look_no_more(r);
            return Ok(());
        }
        self.land(r, Ok(value))
    }

    /// An early refresh takes off, unless there is a flight already. As `early.rs` of the crate.
    pub fn take_off(&mut self, r: usize) {
        let reader = &mut self.readers[r];
        let fence = match self.mistake {
            Mistake::EarlyIsJoinedBlindly => {
                Fence { tenant: HUGE, operation: HUGE, data: HUGE, ..reader.fence }
            }
            _ => reader.fence,
        };
        let flights = &self.nodes[reader.spec.node].tenants[reader.home].flights;
        match flights.lead((), &fence, || id(r)) {
            Some(ticket) => {
                reader.ticket = Ticket(ticket.id);
                reader.stage = Stage::Flies { refused: true };
            }
            None => reader.stage = Stage::Done,
        }
    }

    /// Computes in one snapshot; of a replica, when `lag` names the state that it shows.
    pub fn compute(&mut self, r: usize, lag: Option<usize>) -> Result<(), String> {
        let reader = &self.readers[r];
        if self.database.away {
            return self.crash_flight(r);
        }
        let data = lag.map_or(self.database.versions, |lag| self.database.history[lag].1)[DATA];
        if data < reader.fence.data && !self.is(Mistake::HearsayIsKnown) {
            let node = reader.spec.node;
            if self.sole {
                self.distrust(node);
            }
            return self.crash_flight(r);
        }
        let label = Fence { data, ..reader.fence };
        let saw = [self.database.versions[TENANT], self.database.versions[1], data];
        let value = Value {
            label,
            contains: label.newest().max(reader.known),
            saw,
            incarnation: self.database.incarnation,
            straddled: 0,
            by: id(r),
            expired: false,
        };
        self.readers[r].stage = Stage::Computed(value);
        Ok(())
    }

    /// The computation ends: stored, and given to all who wait.
    pub fn finish(&mut self, r: usize) -> Result<(), String> {
        let Stage::Computed(mut value) = self.readers[r].stage else { return Ok(()) };
        if value.incarnation < self.database.incarnation {
            // A sole owner reads its versions again only when somebody else wrote, so what it raised by such a label stays:
            // its database is restored while it is stopped.
            value.straddled = if self.sole { u64::MAX / 2 } else { self.now };
        }
        let reader = &self.readers[r];
        let afterwards = match self.mistake {
            Mistake::EarlyLabelAfterwards => reader.spec.early,
            mistake => mistake == Mistake::LabelAfterwards,
        };
        if afterwards {
            value.label = self.certain(reader.spec.node).fence;
        }
        let tenant = &mut self.nodes[reader.spec.node].tenants[reader.tenant];
        tenant.mirror.raise_data(value.label.data);
        tenant.keep(value);
        self.set_in_redis(value);
        self.land(r, Ok(value))
    }

    /// A computation fails.
    pub fn crash_flight(&mut self, r: usize) -> Result<(), String> {
        self.land(r, Err(()))
    }

    /// An injected failure of the computation itself.
    pub fn fail_computation(&mut self, r: usize) -> Result<(), String> {
        for n in 0..self.readers.len() {
            if n == r || self.readers[n].stage == Stage::Joined(id(r)) {
                self.readers[n].excused = true;
            }
        }
        self.crash_flight(r)
    }

    fn land(&mut self, r: usize, result: Result<Value, ()>) -> Result<(), String> {
        let (node, home, ticket) = {
            let reader = &self.readers[r];
            (reader.spec.node, reader.home, reader.ticket.0)
        };
        if let Some(next) = self.nodes[node].tenants[home].flights.finish(&(), ticket) {
            self.readers[usize::from(next)].stage = Stage::Woken;
        }
        for n in 0..self.readers.len() {
            if n != r && self.readers[n].stage != Stage::Joined(id(r)) {
                continue;
            }
            match result {
                Ok(value) => self.serve(n, &value)?,
                Err(()) => self.stand_in(n)?,
            }
        }
        Ok(())
    }

    /// After a failure: what has expired may do, what was overtaken may not.
    fn stand_in(&mut self, r: usize) -> Result<(), String> {
        let reader = &self.readers[r];
        let blind = self.is(Mistake::StandInBlindly);
        let memory = self.nodes[reader.spec.node].tenants[reader.home].memory;
        match memory.filter(|value| blind || value.label.covers(&reader.needed)) {
            Some(value) if !reader.spec.no_cache => self.serve(r, &value),
            _ => self.fail(r),
        }
    }

    pub fn serve(&mut self, r: usize, value: &Value) -> Result<(), String> {
        self.readers[r].stage = Stage::Done;
        // Nobody gets what an early refresh brings by it alone.
        if self.readers[r].spec.early { Ok(()) } else { self.judge(&self.readers[r], value) }
    }

    pub fn fail(&mut self, r: usize) -> Result<(), String> {
        self.readers[r].stage = Stage::Done;
        if self.readers[r].spec.early { Ok(()) } else { self.judge_failure(&self.readers[r]) }
    }
}
