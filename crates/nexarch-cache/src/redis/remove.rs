//! Removing keys by their beginning, for operators. No guarantee needs it.

use super::node::{Node, Request};
use super::tier::Tier;
use crate::key::Scope;
use crate::remote::{Reason, RemoteError};
use futures_util::future::try_join_all;
use redis::{Value, cmd};
use std::time::Duration;
use tokio::time::sleep;

/// Keys that the server looks at in one step: well under a millisecond of its only thread.
const STEP: usize = 250;

/// Rest after each step: at most 25,000 keys a second are looked at, so that callers hardly notice.
const REST: Duration = Duration::from_millis(10);

/// Removes the values of a scope, or of the whole namespace, from one server; returns how many were there.
///
/// `SCAN` answers from one server only, and keys of a cluster lie in different slots: so each server is asked, and
/// each key is unlinked by a command of its own, all of a step sent at once.
pub(super) async fn from_node(tier: &Tier, node: &Node, scope: Option<&Scope>) -> Result<u64, RemoteError> {
    // Names have no character that means anything in a pattern.
    let pattern = match scope {
        Some(scope) => format!("{}:{scope}:*", tier.namespace),
        None => format!("{}:*", tier.namespace),
    };
    let (mut cursor, mut removed) = ("0".to_owned(), 0);
    loop {
        let mut scan = cmd("SCAN");
        scan.arg(&cursor).arg("MATCH").arg(&pattern).arg("COUNT").arg(STEP);
        let answer = node
            .call(tier, Request::Plain(&scan), tier.command_timeout)
            .await
            .map_err(|failure| failure.error)?;
        let (next, keys) = redis::from_redis_value::<(String, Vec<Vec<u8>>)>(answer)
            .map_err(|_| RemoteError::Refused(Reason::Protocol))?;
        let unlinked = try_join_all(keys.iter().map(|key| unlink(tier, node, key))).await?;
        removed += unlinked.into_iter().sum::<u64>();
        if next == "0" {
            return Ok(removed);
        }
        cursor = next;
        sleep(REST).await;
    }
}

async fn unlink(tier: &Tier, node: &Node, key: &[u8]) -> Result<u64, RemoteError> {
    let mut unlink = cmd("UNLINK");
    unlink.arg(key);
    match node
        .call(tier, Request::Plain(&unlink), tier.command_timeout)
        .await
        .map_err(|failure| failure.error)?
    {
        Value::Int(removed) => Ok(removed.try_into().unwrap_or(0)),
        _ => Err(RemoteError::Refused(Reason::Protocol)),
    }
}
