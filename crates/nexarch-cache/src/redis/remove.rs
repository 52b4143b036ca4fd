//! Removing keys by their beginning, for operators. No guarantee needs it.

use super::backoff::{Backoff, chance};
use super::failure::RedisFailure;
use super::node::Node;
use super::tier::Tier;
use super::wire::Request;
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
pub(super) async fn everywhere(tier: &Tier, scope: Option<&Scope>) -> Removed {
    let names = Names::new(&tier.namespace, scope);
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

/// How the keys begin that are to go.
struct Names {
    value: String,
    lease: String,
}

impl Names {
    fn new(namespace: &str, scope: Option<&Scope>) -> Self {
        let value = scope.map_or_else(|| format!("{namespace}:"), |scope| format!("{namespace}:{scope}:"));
        Self { lease: format!("{namespace}:{{{value}"), value }
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
    let mut cursor = "0".to_owned();
    loop {
        let mut scan = cmd("SCAN");
        scan.arg(&cursor).arg("MATCH").arg(names.pattern()).arg("COUNT").arg(STEP);
        let answer = persist(tier, || node.tell(tier, Request::of(&scan), tier.command_timeout)).await?;
        let (next, keys) = redis::from_redis_value::<(String, Vec<Vec<u8>>)>(answer)
            .map_err(|_| RemoteError::Refused(Reason::Protocol))?;
        let keys: Vec<String> = keys
            .into_iter()
            .filter(|key| names.have(key))
            .filter_map(|key| String::from_utf8(key).ok())
            .collect();
        for batch in keys.chunks(BATCH) {
            let unlinked = join_all(batch.iter().map(|key| unlink(tier, key))).await;
            // Those first that are gone, whatever became of the others.
            *removed += unlinked.iter().flatten().sum::<u64>();
            unlinked.into_iter().collect::<Result<Vec<_>, _>>()?;
            sleep(REST).await;
        }
        if next == "0" {
            return Ok(());
        }
        cursor = next;
        sleep(REST).await;
    }
}

async fn unlink(tier: &Tier, key: &str) -> Result<u64, RemoteError> {
    let mut unlink: Cmd = cmd("UNLINK");
    unlink.arg(key);
    match persist(tier, || tier.call(key, Request::of(&unlink))).await? {
        Value::Int(removed) => Ok(removed.try_into().unwrap_or(0)),
        _ => Err(RemoteError::Refused(Reason::Protocol)),
    }
}

/// Tries again what time may heal. A server of several may be just beginning; when none is there, that is the answer.
async fn persist<Fut>(tier: &Tier, call: impl Fn() -> Fut) -> Result<Value, RemoteError>
where
    Fut: Future<Output = Result<Value, RedisFailure>>,
{
    let mut backoff = Backoff::default();
    for _ in 1..TRIES {
        match call().await.map_err(|failure| failure.error) {
            Err(RemoteError::Timeout | RemoteError::Broken(_) | RemoteError::Refused(Reason::Connecting)) => {
                sleep(backoff.next(false, chance())).await;
            }
            Err(RemoteError::Away) if tier.board.watch().borrow().values => {
                sleep(backoff.next(false, chance())).await;
            }
            outcome => return outcome,
        }
    }
    call().await.map_err(|failure| failure.error)
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
