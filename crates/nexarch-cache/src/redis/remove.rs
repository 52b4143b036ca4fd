//! Removing keys by their beginning, for operators. No guarantee needs it.

use super::backoff::{Backoff, chance};
use super::failure::RedisFailure;
use super::link::Link;
use super::node::Node;
use super::tier::Tier;
use super::wire::Request;
use crate::envelope::{HEADER, claimed_label};
use crate::fence::Epoch;
use crate::key::Scope;
use crate::remote::{Reason, RemoteError, Removed};
use futures_util::future::join_all;
use redis::{Cmd, Value, cmd};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::sleep;

/// Keys that the server looks at in one step: well under a millisecond of its only thread.
const STEP: usize = 250;

/// Rest after each step: at most 25,000 keys a second are looked at, so that callers hardly notice.
const REST: Duration = Duration::from_millis(10);

/// Keys unlinked at once. A step finds more of them only when nearly all it looked at is ours.
const BATCH: usize = 50;

/// Tries of one command before it is given up; with full jitter they take some ten seconds.
const TRIES: u32 = 20;

/// Passes over all servers: while slots move, keys may go from one that was not asked yet to one that was.
const PASSES: usize = 3;

/// Removes the values of a scope, or of the whole namespace, from every server; says how many were there.
///
/// `SCAN` answers from one server only, and keys of a cluster lie in different slots: so each server is asked, and each key
/// is unlinked by a command of its own, which follows the key when its slot has moved.
pub(super) async fn everywhere(tier: &Tier, scope: Option<&Scope>, epoch: Option<Epoch>) -> Removed {
    let names = Names { epoch, ..Names::new(&tier.namespace, scope) };
    let mut removed = Removed::default();
    for _ in 0..PASSES {
        let layout = tier.layout();
        for node in layout.nodes() {
            if let Err(error) = from_node(tier, node, &names, &mut removed.keys).await {
                removed.error = Some(error);
                return removed;
            }
        }
        if Arc::ptr_eq(&layout, &tier.layout()) {
            break;
        }
    }
    removed
}

/// How the keys begin that are to go, and of which database their values are, if of one only.
struct Names {
    value: String,
    lease: String,
    epoch: Option<Epoch>,
}

impl Names {
    fn new(namespace: &str, scope: Option<&Scope>) -> Self {
        let value = scope.map_or_else(|| format!("{namespace}:"), |scope| format!("{namespace}:{scope}:"));
        Self { lease: format!("{namespace}:{{{value}"), value, epoch: None }
    }

    /// Names have no character that means anything in a pattern. It finds a few too many: what a lease is of stands in its
    /// middle.
    fn pattern(&self) -> String {
        format!("*{}*", self.value)
    }

    fn have(&self, key: &[u8]) -> bool {
        key.starts_with(self.value.as_bytes()) || key.starts_with(self.lease.as_bytes())
    }
}

async fn from_node(tier: &Tier, node: &Node, names: &Names, removed: &mut u64) -> Result<(), RemoteError> {
    let mut scan = Scan::default();
    loop {
        let keys = scan.step(tier, node, names).await?;
        for batch in keys.chunks(BATCH) {
            let unlinked = join_all(batch.iter().map(|key| unlink(tier, names, key))).await;
            // Those first that are gone, whatever became of the others.
            *removed += unlinked.iter().flatten().sum::<u64>();
            unlinked.into_iter().collect::<Result<Vec<_>, _>>()?;
            sleep(REST).await;
        }
        if scan.cursor == FIRST {
            return Ok(());
        }
        sleep(REST).await;
    }
}

/// Where a scan begins, and what it is told at its end.
const FIRST: &str = "0";

/// A scan of one server. A cursor means something only to the process that gave it: after a restart or a failover the same
/// name leads to another one, for one connection sooner than for the other. So a scan stays on its connection, and begins
/// anew when that has ended.
struct Scan {
    cursor: String,
    link: Option<Arc<Link>>,
    begun: u32,
}

impl Default for Scan {
    fn default() -> Self {
        Self { cursor: FIRST.to_owned(), link: None, begun: 0 }
    }
}

impl Scan {
    /// The keys of the next step that are to go; one that fails is tried again.
    async fn step(&mut self, tier: &Tier, node: &Node, names: &Names) -> Result<Vec<String>, RemoteError> {
        let mut backoff = Backoff::default();
        let mut tries = 1;
        let answer = loop {
            match self.ask(tier, node, names).await.map_err(|failure| failure.error) {
                Ok(answer) => break answer,
                Err(error) if tries < TRIES && self.begun <= TRIES && passes(tier, &error) => {
                    tries += 1;
                    sleep(backoff.next(false, chance())).await;
                }
                Err(error) => return Err(error),
            }
        };
        let (next, keys) = redis::from_redis_value::<(String, Vec<Vec<u8>>)>(answer)
            .map_err(|_| RemoteError::Refused(Reason::Protocol))?;
        self.cursor = next;
        let keys = keys.into_iter().filter(|key| names.have(key));
        Ok(keys.filter_map(|key| String::from_utf8(key).ok()).collect())
    }

    async fn ask(&mut self, tier: &Tier, node: &Node, names: &Names) -> Result<Value, RedisFailure> {
        let held = self.link.take().filter(|link| !link.is_cut() && !link.is_gone());
        let link = if let Some(link) = held {
            link
        } else {
            FIRST.clone_into(&mut self.cursor);
            self.begun += 1;
            node.pick().ok_or(RemoteError::Away)?
        };
        let mut scan = cmd("SCAN");
        scan.arg(&self.cursor).arg("MATCH").arg(names.pattern()).arg("COUNT").arg(STEP);
        let answer = node.tell_over(tier, &link, Request::of(&scan), tier.command_timeout).await;
        self.link = Some(link);
        answer
    }
}

async fn unlink(tier: &Tier, names: &Names, key: &str) -> Result<u64, RemoteError> {
    if let Some(epoch) = names.epoch
        && key.as_bytes().starts_with(names.value.as_bytes())
        && is_of_another(tier, key, epoch).await?
    {
        return Ok(0);
    }
    let mut unlink: Cmd = cmd("UNLINK");
    unlink.arg(key);
    match persist(tier, || tier.call(key, Request::of(&unlink))).await? {
        Value::Int(removed) => Ok(removed.try_into().unwrap_or(0)),
        _ => Err(RemoteError::Refused(Reason::Protocol)),
    }
}

/// Whether the value says that it is of another database than this one. It does so in the clear, also when it is sealed.
/// What is no value, or of a format that is not known, is nobody's to keep.
async fn is_of_another(tier: &Tier, key: &str, epoch: Epoch) -> Result<bool, RemoteError> {
    let head = || async {
        match tier.call(key, Request::head(key, HEADER)).await {
            Err(failure) if failure.is_foreign() => Ok(Value::Nil),
            answer => answer,
        }
    };
    let Value::BulkString(head) = persist(tier, head).await? else { return Ok(false) };
    Ok(claimed_label(&head.into()).is_some_and(|label| label.epoch != epoch))
}

/// Tries again what time may heal. A server of several may be just beginning; when none is there, that is the answer.
async fn persist<Fut>(tier: &Tier, call: impl Fn() -> Fut) -> Result<Value, RemoteError>
where
    Fut: Future<Output = Result<Value, RedisFailure>>,
{
    let mut backoff = Backoff::default();
    for _ in 1..TRIES {
        match call().await.map_err(|failure| failure.error) {
            Err(error) if passes(tier, &error) => sleep(backoff.next(false, chance())).await,
            outcome => return outcome,
        }
    }
    call().await.map_err(|failure| failure.error)
}

/// Whether it may be over in a moment.
fn passes(tier: &Tier, error: &RemoteError) -> bool {
    match error {
        RemoteError::Timeout | RemoteError::Broken(_) | RemoteError::Refused(Reason::Connecting) => true,
        RemoteError::Away => tier.board.watch().borrow().values,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_of_values_and_leases_of_a_scope_are_told_from_all_others() {
        let names = Names::new("shop", Some(&Scope::new("acme").unwrap()));
        for ours in ["shop:acme:op:1", "shop:{shop:acme:op:1}:lease:2"] {
            assert!(names.have(ours.as_bytes()), "{ours}");
        }
        for others in
            ["shop:acme2:op:1", "myshop:acme:op:1", "shop:{shop:acme2:op:1}:lease:2", "shop:versions", ""]
        {
            assert!(!names.have(others.as_bytes()), "{others}");
        }
    }
}
