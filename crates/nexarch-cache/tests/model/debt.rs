//! What a read that begins now is owed, and whether it got it. This is the guarantee itself, in terms of what happened
//! and not of what any node believes.

use crate::read::{Reader, Spec};
use crate::world::{DATA, PARTS, Value, Versions, World};

/// An acknowledged change.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Acknowledged {
    part: usize,
    version: u64,
    node: usize,
    at: u64,
}

#[derive(Clone, Debug, Hash)]
pub struct Debt {
    /// Every commit, acknowledged or not, by part and version.
    committed: Vec<(usize, u64)>,
    acknowledged: Vec<Acknowledged>,
    /// What each node was told by a true message.
    told: Vec<Versions>,
    /// When the database was set back, and to which clock.
    pub set_back: Option<(u64, u64)>,
}

impl Debt {
    pub fn new(nodes: usize) -> Self {
        Self { committed: Vec::new(), acknowledged: Vec::new(), told: vec![[0; 3]; nodes], set_back: None }
    }

    pub fn commit(&mut self, part: usize, version: u64) {
        self.committed.push((part, version));
    }

    pub fn acknowledge(&mut self, node: usize, part: usize, version: u64, at: u64) {
        let new = Acknowledged { part, version, node, at };
        if !self.acknowledged.contains(&new) {
            self.acknowledged.push(new);
            self.acknowledged.sort_by_key(|a| (a.version, a.node));
        }
    }

    pub fn tell(&mut self, node: usize, part: usize, version: u64) {
        if self.committed.contains(&(part, version)) {
            self.told[node][part] = self.told[node][part].max(version);
        }
    }

    /// A process that starts anew was told nothing.
    pub fn forget(&mut self, node: usize) {
        self.told[node] = [0; 3];
    }

    /// The newest version that any client was given.
    pub fn newest_acknowledged(&self) -> u64 {
        self.acknowledged.iter().map(|change| change.version).max().unwrap_or(0)
    }

    /// What a read that begins now at `spec.node` has to get: what this node acknowledged, what any node acknowledged
    /// more than a lease ago, and everything up to `minimum`.
    pub fn owed(&self, spec: Spec, now: u64, minimum: u64) -> Versions {
        let mut owed = [0; 3];
        for change in &self.acknowledged {
            // At the moment one lease ago the order of commit and look is not known.
            if change.node == spec.node || change.at + 2 <= now {
                owed[change.part] = owed[change.part].max(change.version);
            }
        }
        if spec.max_stale {
            owed[DATA] = 0;
        }
        for (part, version) in &self.committed {
            if *version <= minimum {
                owed[*part] = owed[*part].max(*version);
            }
        }
        owed
    }

    /// What it has to get as well, unless the database was away: what this node was told. Without an answer, what was
    /// read within the lease has to do.
    pub fn told(&self, spec: Spec) -> Versions {
        let mut told = self.told[spec.node];
        if spec.max_stale {
            told[DATA] = 0;
        }
        told
    }

    /// The database is at an earlier `clock` again: what came after it is lost and owed to nobody.
    pub fn lose(&mut self, clock: u64, now: u64) {
        self.set_back = Some((now, clock));
        self.committed.retain(|(_, version)| *version <= clock);
        self.acknowledged.retain(|change| change.version <= clock);
        let capped = |told: &Versions| self.cap(told);
        let told = self.told.iter().map(capped).collect();
        self.told = told;
    }

    /// The newest commits that are left, up to `owed`.
    pub fn cap(&self, owed: &Versions) -> Versions {
        let mut capped = [0; 3];
        for (part, version) in &self.committed {
            if *version <= owed[*part] {
                capped[*part] = capped[*part].max(*version);
            }
        }
        capped
    }
}

impl World {
    /// A reader gets `value`.
    pub fn judge(&self, reader: &Reader, value: &Value) -> Result<(), String> {
        for (part, name) in PARTS.iter().enumerate() {
            let told = if reader.excused { 0 } else { reader.told[part] };
            let (saw, owed) = (value.saw[part], reader.owed[part].max(told));
            if saw < owed {
                return Err(format!("stale: {name:?} {saw} served, {owed} owed"));
            }
        }
        if reader.spec.no_cache && reader.computed_before & (1 << value.by) != 0 {
            return Err("a no-cache read got what was computed before it".into());
        }
        // Found out by the first look at the versions; what came while one was under way, by the next.
        if let Some((at, clock)) = self.debt.set_back
            && value.incarnation < self.database.incarnation
            && value.saw.iter().any(|version| *version > clock)
            && reader.began >= at.max(value.straddled) + 2
        {
            return Err("a value of a lost future was served".into());
        }
        Ok(())
    }

    /// A reader gets an error that is not its computation's own.
    pub fn judge_failure(&self, reader: &Reader) -> Result<(), String> {
        let set_back = self.debt.set_back.is_some_and(|(at, _)| reader.began <= at + 1);
        if reader.excused || set_back { Ok(()) } else { Err("a read failed for no reason of its own".into()) }
    }
}
