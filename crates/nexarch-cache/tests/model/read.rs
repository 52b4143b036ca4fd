//! A read, step by step. As `cache.rs` of the crate.

use crate::fence::Fence;
use crate::flight::Arrival;
use crate::mirror::Needed;
use crate::mistakes::Mistake;
use crate::world::{Value, Versions, World, newer};

/// A reader before it reads.
#[expect(clippy::struct_excessive_bools, reason = "each is asked for by itself")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Spec {
    pub node: usize,
    /// Asks for the newest version that any client was given.
    pub minimum: bool,
    pub max_stale: bool,
    pub no_cache: bool,
    /// Nobody's: refreshes what a hit found to be near its end.
    pub early: bool,
    /// Looks into Redis itself before there is a flight, and need not be polled while it does.
    pub looks: bool,
    /// May have what is held when the database does not answer.
    pub unverified: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stage {
    Idle,
    /// Waits for a read of the versions that is sent from now on.
    Ask {
        why: Why,
        asked: Ask,
    },
    /// Owns the flight that waits for the running one.
    Queued,
    /// That flight's turn has come.
    Woken,
    /// Only a mistake: has its fence and is not closed yet.
    Early,
    /// An early refresh that has its fence and looks whether Redis has something newer, or another node is at it.
    Looks {
        refused: bool,
    },
    /// Has the place of its key while it looks in Redis itself.
    Tries {
        refused: bool,
    },
    /// Is not polled any more, for ever: nobody waits here, and nobody may wait for it.
    Left,
    /// Owns the running flight, under its fence; looks in Redis, or computes.
    Flies {
        refused: bool,
    },
    Computed(Value),
    /// Waits for the flight of that reader.
    Joined(u8),
    Done,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Why {
    Begin,
    Turn,
    /// Redis has something newer than is known here.
    Compare(Value),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ask {
    Waits,
    Sent,
    Answered,
    Failed,
}

#[expect(clippy::struct_excessive_bools, reason = "each is asked for by itself")]
#[derive(Clone, Debug, Hash)]
pub struct Reader {
    pub spec: Spec,
    pub stage: Stage,
    pub began: u64,
    pub owed: Versions,
    pub told: Versions,
    /// The readers whose computations had begun.
    pub computed_before: u8,
    pub minimum: u64,
    /// Trusted when it began, in doubt or not.
    pub trusted: bool,
    /// What it needs itself.
    pub needed: Fence,
    /// What its flight runs under, and up to which version that is complete.
    pub fence: Fence,
    pub known: u64,
    /// The flight's own tenant, and the one that it computes for.
    pub home: usize,
    pub tenant: usize,
    /// A `no-cache` reader waits for its flight.
    pub fresh: bool,
    /// It looked in Redis itself, or is at it.
    pub looked: bool,
    /// The database was away, or its computation failed.
    pub excused: bool,
    pub ticket: Ticket,
}

/// Told apart by whose it is.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ticket(pub u64);

impl std::hash::Hash for Ticket {
    fn hash<H: std::hash::Hasher>(&self, _: &mut H) {}
}

impl Reader {
    pub fn new(spec: Spec) -> Self {
        Self {
            spec,
            stage: Stage::Idle,
            began: 0,
            owed: [0; 3],
            told: [0; 3],
            computed_before: 0,
            minimum: 0,
            trusted: false,
            needed: Fence::default(),
            fence: Fence::default(),
            known: 0,
            home: 0,
            tenant: 0,
            fresh: false,
            looked: false,
            excused: false,
            ticket: Ticket::default(),
        }
    }
}

pub fn id(reader: usize) -> u8 {
    u8::try_from(reader).expect("few readers")
}

impl World {
    /// The call, and the whole of a hit.
    pub fn start(&mut self, r: usize) -> Result<(), String> {
        let spec = self.readers[r].spec;
        let minimum = if spec.minimum { self.debt.newest_acknowledged() } else { 0 };
        let begun = |reader: &Reader| matches!(reader.stage, Stage::Computed(_) | Stage::Done);
        let before = self.readers.iter().enumerate().filter(|(_, reader)| begun(reader));
        let computed_before = before.fold(0, |mask, (n, _)| mask | 1 << n);
        let mirror = &self.nodes[spec.node].tenant().mirror;
        let trusted = self.trusted(spec.node, minimum);
        let doubt = mirror.in_doubt();
        let reader = Reader {
            began: self.now,
            owed: self.debt.owed(spec, self.now, minimum),
            told: self.debt.told(spec),
            computed_before,
            minimum,
            trusted,
            excused: self.database.away,
            ..Reader::new(spec)
        };
        if self.is(Mistake::MinimumIsKnown) && minimum > 0 {
            mirror.complete(minimum, zero());
        }
        let needed = mirror.need(0, true);
        self.readers[r] = reader;
        if trusted
            && !spec.no_cache
            && !spec.early
            && let Some(value) = self.held(r, &needed.fence)
        {
            return self.serve(r, &value);
        }
        if trusted && !doubt {
            return self.arrive(r);
        }
        self.readers[r].stage = Stage::Ask { why: Why::Begin, asked: Ask::Waits };
        Ok(())
    }

    /// What this reader may have of memory.
    fn held(&self, r: usize, needed: &Fence) -> Option<Value> {
        let reader = &self.readers[r];
        let value = self.nodes[reader.spec.node].tenant().memory.filter(|value| !value.expired)?;
        let stale =
            reader.spec.max_stale && value.label.covers_but_data(needed) && value.contains >= reader.minimum;
        let blind = self.is(Mistake::EarlyIsCurrent) && self.readers[usize::from(value.by)].spec.early;
        (value.label.covers(needed) || stale || blind).then_some(value)
    }

    /// The read of the versions that it waited for has been answered, or not.
    pub fn resume(&mut self, r: usize) -> Result<(), String> {
        let Stage::Ask { why, asked } = self.readers[r].stage else { return Ok(()) };
        let failed = asked == Ask::Failed;
        let reader = &mut self.readers[r];
        let mirror = &self.nodes[reader.spec.node].tenant().mirror;
        match why {
            Why::Begin if failed && reader.trusted => return self.arrive(r),
            Why::Begin if failed && reader.spec.unverified => return self.unverified(r),
            Why::Begin if failed => return self.fail(r),
            Why::Turn if failed => return self.crash_flight(r),
            Why::Compare(_) if failed => self.look_no_more(r),
            Why::Begin | Why::Turn if !mirror.is_complete() => {
                reader.stage = Stage::Ask { why, asked: Ask::Waits };
            }
            Why::Begin if mirror.known() < reader.minimum => {
                let (known, minimum) = (mirror.known(), reader.minimum);
                return if minimum <= self.database.clock && self.debt.set_back.is_none() {
                    Err(format!("412 for {minimum}, which the database has; {known} is known"))
                } else {
                    self.fail(r)
                };
            }
            Why::Begin => return self.arrive(r),
            Why::Turn => return self.take(r),
            Why::Compare(value) => {
                let certain = mirror.certain(0, true).fence;
                if newer(&value.label, &certain) {
                    self.look_no_more(r);
                } else {
                    return self.take_from_redis(r, value);
                }
            }
        }
        Ok(())
    }

    /// What is held, if it is as new as what is known or was heard here. It may lack what others committed: those who
    /// read it are told so.
    fn unverified(&mut self, r: usize) -> Result<(), String> {
        let tenant = self.nodes[self.readers[r].spec.node].tenant();
        let needed = tenant.mirror.need(0, true).fence;
        let blind = self.is(Mistake::UnverifiedBlindly);
        match tenant.memory.filter(|value| blind || value.label.covers(&needed)) {
            Some(value) => self.serve(r, &value),
            None => self.fail(r),
        }
    }

    pub fn certain(&self, node: usize) -> Needed {
        let mirror = &self.nodes[node].tenant().mirror;
        if self.is(Mistake::FlyByHearsay) { mirror.need(0, true) } else { mirror.certain(0, true) }
    }

    /// Redis has nothing that this reader may have.
    pub fn look_no_more(&mut self, r: usize) {
        let reader = &mut self.readers[r];
        let refused = true;
        reader.stage = match reader.spec {
            Spec { early: true, .. } => Stage::Looks { refused },
            _ if reader.looked => Stage::Tries { refused },
            _ => Stage::Flies { refused },
        };
    }

    /// Found nothing: leads, joins or waits.
    pub fn arrive(&mut self, r: usize) -> Result<(), String> {
        let spec = self.readers[r].spec;
        let Needed { fence, known } = self.certain(spec.node);
        let tenant = self.nodes[spec.node].current();
        if spec.early {
            let reader = &mut self.readers[r];
            let stage = Stage::Looks { refused: false };
            *reader = Reader { stage, needed: fence, fence, known, home: tenant, tenant, ..reader.clone() };
            return Ok(());
        }
        if !spec.no_cache
            && let Some(value) = self.held(r, &fence)
        {
            return self.serve(r, &value);
        }
        let reader = &mut self.readers[r];
        *reader = Reader { needed: fence, fence, known, home: tenant, tenant, ..reader.clone() };
        if spec.looks && !spec.no_cache && !self.is(Mistake::LeaderIsCaller) {
            let flights = &self.nodes[spec.node].tenants[tenant].flights;
            if let Some(ticket) = flights.look((), || id(r)) {
                let reader = &mut self.readers[r];
                reader.ticket = Ticket(ticket.id);
                (reader.looked, reader.stage) = (true, Stage::Tries { refused: false });
                return Ok(());
            }
        }
        self.board(r)
    }

    /// A caller who looked himself found nothing: he leads, unless somebody took his place.
    pub fn go_on(&mut self, r: usize) -> Result<(), String> {
        let kept = self.is(Mistake::PlaceIsKept);
        let reader = &mut self.readers[r];
        reader.looked = false;
        let flights = &self.nodes[reader.spec.node].tenants[reader.home].flights;
        let leads = flights.compute_under(&(), reader.ticket.0, reader.fence);
        if leads || kept {
            reader.fresh = flights.begin(&(), reader.ticket.0);
            reader.stage = Stage::Flies { refused: true };
            return self.runs_alone(r);
        }
        self.board(r)
    }

    /// Of a key one flight runs, whoever leads it.
    fn runs_alone(&self, r: usize) -> Result<(), String> {
        let of = |reader: &Reader| (reader.spec.node, reader.home);
        let runs = |reader: &Reader| matches!(reader.stage, Stage::Flies { .. } | Stage::Computed(_));
        let others = self.readers.iter().enumerate().filter(|(n, _)| *n != r);
        match others.map(|(_, other)| other).find(|other| runs(other) && of(other) == of(&self.readers[r])) {
            Some(_) => Err("two computations of one key".into()),
            None => Ok(()),
        }
    }

    /// Gives up his place when he hangs up, and nobody is told.
    pub fn hang_up(&mut self, r: usize) -> Result<(), String> {
        let reader = &mut self.readers[r];
        reader.stage = Stage::Done;
        let flights = &self.nodes[reader.spec.node].tenants[reader.home].flights;
        match flights.finish(&(), reader.ticket.0) {
            None => Ok(()),
            Some(_) => Err("somebody waited for one who only looks".into()),
        }
    }

    /// Leads, joins or waits, under the fence that was taken.
    fn board(&mut self, r: usize) -> Result<(), String> {
        let Reader { spec, fence, home, .. } = self.readers[r];
        let asked = if self.is(Mistake::JoinBlindly) {
            Fence { epoch: fence.epoch, ..Fence::default() }
        } else {
            fence
        };
        let flights = &self.nodes[spec.node].tenants[home].flights;
        let arrival = flights.arrive((), &asked, spec.no_cache, || id(r));
        let (stage, ticket) = match arrival {
            Arrival::Lead(ticket) => (Stage::Flies { refused: false }, ticket.id),
            Arrival::Wait(ticket) => (Stage::Queued, ticket.id),
            Arrival::Join(ticket) => (Stage::Joined(ticket.handle), 0),
            Arrival::Alone => return Err("more waiters than readers".into()),
        };
        let fresh = stage == Stage::Flies { refused: false } && flights.begin(&(), ticket);
        let reader = &mut self.readers[r];
        *reader = Reader { stage, fresh, ticket: Ticket(ticket), ..reader.clone() };
        if matches!(stage, Stage::Flies { .. }) { self.runs_alone(r) } else { Ok(()) }
    }
}

/// Trust was never withdrawn.
pub fn zero() -> crate::clock::BootTime {
    crate::clock::BootTime::from_nanos(0)
}
