//! Logging in, messages, and how long answers take.

use super::finding::{RedisMistake, Told};
use super::nodes::Node;
use super::{ANSWER, Patient, reach};
use crate::redis::backoff::chance;
use crate::redis::ear::Channels;
use crate::redis::failure::Failure;
use crate::redis::link::Link;
use crate::redis::wire::OnMessage;
use crate::remote::Reason;
use bytes::Bytes;
use redis::cmd;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};

/// Questions whose times are taken.
const QUESTIONS: usize = 20;

/// Above it, server and client are hardly in one region.
const SLOW: Duration = Duration::from_millis(5);

pub(super) async fn login(patient: &Patient<'_>) -> (Told, Option<Link>) {
    match patient.dialer.dial(&patient.endpoint, &patient.stop).await {
        Ok(link) => {
            let user = match (&patient.config.username, &patient.config.password) {
                (Some(user), _) => format!("user {user}"),
                (None, None) if patient.config.tokens.is_some() => "the token's user".to_owned(),
                (None, Some(_)) => "the default user, with a password".to_owned(),
                (None, None) => "without a password".to_owned(),
            };
            let protocol = if patient.dialer.speaks_resp3() { "RESP3" } else { "RESP2" };
            (Told::good(format!("{user}, {protocol}")), Some(link))
        }
        Err(failure) => (refused(patient, failure).await, None),
    }
}

async fn refused(patient: &Patient<'_>, failure: Failure) -> Told {
    let with_token = patient.config.tokens.is_some();
    let mistake = match (failure.code.as_deref(), failure.reason) {
        (None, Reason::Auth) if with_token => RedisMistake::NoToken,
        (Some(_), Reason::Auth) if with_token => RedisMistake::WrongToken,
        (Some("NOAUTH"), _) => RedisMistake::NoPassword,
        (Some("WRONGPASS"), _) | (_, Reason::Auth) => {
            let password = patient.config.password.as_deref();
            match password {
                None => RedisMistake::NoPassword,
                Some(password) if looks_encoded(password) => RedisMistake::EncodedPassword,
                Some(_) => RedisMistake::WrongPassword,
            }
        }
        (Some("ERR"), Reason::Refused) => RedisMistake::TooManyClients,
        (Some(_), Reason::Connecting) => RedisMistake::NotReady,
        (Some("ERR"), _) if patient.config.db != 0 => RedisMistake::Database,
        (None, Reason::Timeout) => RedisMistake::Dropped,
        (None, Reason::Protocol | Reason::Refused)
            if patient.tls.is_none() && reach::speaks_tls(patient).await =>
        {
            return Told::bad(
                RedisMistake::TlsPort,
                format!("port {} speaks TLS only", patient.endpoint.port),
            );
        }
        _ => RedisMistake::NotRedis,
    };
    Told::bad(mistake, failure.detail)
}

/// A key of Azure ends in `=`, and what encodes that and its `+` and `/` is hardly part of a password.
fn looks_encoded(password: &str) -> bool {
    let upper = password.to_ascii_uppercase();
    ["%3D", "%2B", "%2F"].iter().any(|encoded| upper.contains(encoded))
}

/// Publishes on the channel of the namespace and waits until it is back.
pub(super) async fn messages(patient: &Patient<'_>, nodes: &[Node]) -> (Told, Option<()>) {
    let Some(node) = nodes.first() else { return (Told::good("nobody to ask"), None) };
    let lost = |why: String| (Told::warning(RedisMistake::NoMessages, why), None);
    for command in ["PUBLISH", "SUBSCRIBE"] {
        if !patient.config.may(command) {
            return lost(format!("{command} is switched off in the connection string"));
        }
    }
    let channel = format!("{}{}:versions", patient.config.channel_prefix, patient.config.namespace);
    let (sender, mut heard) = mpsc::unbounded_channel();
    let on_message: OnMessage = Arc::new(move |_channel: &[u8], body: Bytes| drop(sender.send(body)));
    let channels = Channels { needed: &channel, welcome: None };
    let listens = patient.dialer.listen(&node.target, &patient.stop, channels, on_message).await;
    let _ear = match listens {
        Ok(ear) => ear,
        Err(failure) => return lost(failure.to_string()),
    };
    // Too short for a message of ours: nobody takes it for one.
    let canary = chance().to_le_bytes();
    let mut publish = cmd("PUBLISH");
    publish.arg(&channel).arg(&canary[..]);
    match timeout(ANSWER, node.link.ask(&publish)).await {
        Ok(Ok(_)) => {}
        Ok(Err(error)) => return lost(format!("PUBLISH {channel}: {}", error.code().unwrap_or("no answer"))),
        Err(_) => return lost(format!("PUBLISH {channel} is not answered")),
    }
    let back = async {
        while let Some(body) = heard.recv().await {
            if body == canary.as_slice() {
                return;
            }
        }
    };
    match timeout(ANSWER, back).await {
        Ok(()) => (Told::good(format!("what is published on {channel} comes back")), Some(())),
        Err(_) => lost(format!("what is published on {channel} does not come back")),
    }
}

pub(super) async fn latency(patient: &Patient<'_>, nodes: &[Node]) -> (Told, Option<()>) {
    let limit = patient.config.effective_command_timeout();
    let mut times = Vec::with_capacity(QUESTIONS);
    for node in nodes.iter().cycle().take(QUESTIONS) {
        let began = Instant::now();
        let answered = timeout(ANSWER.max(limit), node.link.ask(&cmd("PING"))).await;
        if answered.is_err() {
            let detail = format!("{:?} does not answer PING within {:?}", node.target, ANSWER.max(limit));
            return (Told::bad(RedisMistake::Slow, detail), None);
        }
        times.push(began.elapsed());
    }
    times.sort_unstable();
    let (Some(median), Some(most)) = (times.get(times.len() / 2).copied(), times.last().copied()) else {
        return (Told::good("nobody to ask"), None);
    };
    let detail = format!("PING {:.1} ms, at most {:.1} ms of {QUESTIONS}", millis(median), millis(most));
    if median >= limit {
        let detail = format!("{detail}; calls are given up after {:.0} ms", millis(limit));
        return (Told::bad(RedisMistake::Slow, detail), None);
    }
    if median > SLOW {
        return (Told::warning(RedisMistake::Slow, detail), Some(()));
    }
    (Told::good(detail), Some(()))
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}
