//! What the spans of one operation say alike, held once.
//!
//! A service sends the same few dozen combinations of names again and again. Held apart from what differs from span to
//! span, a combination is compared by its address, and copying the facts of a span copies no text.

use std::{
    borrow::Cow,
    collections::{HashMap, HashSet},
    sync::Arc,
};

use super::{Messaging, RemoteKind};
use crate::{Text, hash::Seeded};

/// Most patterns kept, and most texts; then it starts anew. Patterns are of operations and whom they call, so this is
/// rare, unless somebody puts numbers into names.
const MAX_KEPT: usize = 1 << 13;

/// The part of [`super::Facts`] that many spans share.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Pattern {
    /// Operation.
    pub name: Text,
    /// `service.name`, or `unknown_service`.
    pub service: Text,
    /// `service.namespace`, or empty.
    pub namespace: Text,
    /// `deployment.environment.name`, or empty.
    pub environment: Text,
    /// Hash of the instance or host that sent it; part of the identity of R1. 0 when unknown.
    /// The first of `service.instance.id`, `k8s.pod.name`, `host.id`, `host.name` of the resource.
    pub instance: u64,
    /// Name of the remote service as the sender knows it: `service.peer.name`, `peer.service`. Empty when unknown.
    pub peer: Text,
    /// Host of the remote side: lower case, without port, brackets or scheme. Empty when unknown.
    /// To a SERVER span that is its caller, to all others whom they call.
    pub address: Text,
    /// What is spoken: a database system, a messaging system, the provider of a model, an RPC system (`grpc`), `http`,
    /// or empty; of several the first of this list.
    pub protocol: Text,
    /// What kind of remote part the attributes name.
    pub remote_kind: RemoteKind,
    /// Database namespace, messaging destination (a template where there is one; temporary and anonymous ones are all
    /// `(temporary)`), or model; empty otherwise.
    pub target: Text,
    /// What the span does with messages, as its sender says.
    pub messaging: Messaging,
}

impl Pattern {
    fn texts(&self) -> [&Text; 8] {
        let Self { name, service, namespace, environment, peer, address, protocol, target, .. } = self;
        [name, service, namespace, environment, peer, address, protocol, target]
    }
}

/// A pattern as a span says it, before anything is copied: nearly always it is one that is kept already.
pub(super) struct Seen<'a> {
    /// Name, service, namespace, environment, peer, address, protocol, target.
    pub(super) texts: [Cow<'a, str>; 8],
    pub(super) instance: u64,
    pub(super) remote_kind: RemoteKind,
    pub(super) messaging: Messaging,
}

impl<'a> Seen<'a> {
    fn of(pattern: &'a Pattern) -> Self {
        let &Pattern { instance, remote_kind, messaging, .. } = pattern;
        Self { texts: pattern.texts().map(|text| Cow::Borrowed(&**text)), instance, remote_kind, messaging }
    }

    /// Writes all of it, so that two are equal exactly when their bytes are.
    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.instance.to_le_bytes());
        out.extend_from_slice(&[self.remote_kind as u8, self.messaging as u8]);
        for text in &self.texts {
            out.extend_from_slice(&text.len().to_le_bytes());
            out.extend_from_slice(text.as_bytes());
        }
    }
}

/// One copy of each pattern that was seen lately, and of each text in it. Texts of a decoded request are slices of its
/// body; those of a kept pattern are not, so that facts that are remembered keep no body of megabytes.
///
/// ```
/// use std::sync::Arc;
/// use nexarch_core::facts::{Pattern, Patterns};
///
/// let mut patterns = Patterns::default();
/// let cart = || Pattern { service: "cart".into(), ..Pattern::default() };
/// assert!(Arc::ptr_eq(&patterns.keep(cart()), &patterns.keep(cart())));
/// ```
#[derive(Debug, Default)]
pub struct Patterns {
    /// By what was seen, in one piece: its eight texts lie all over memory, and looking at each costs more than all else.
    kept: HashMap<Box<[u8]>, Arc<Pattern>, Seeded>,
    texts: HashSet<Text, Seeded>,
    /// Reused from call to call.
    buffer: Vec<u8>,
}

impl Patterns {
    /// The kept copy of a pattern.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "as given by who made it; nothing else is done with it"
    )]
    pub fn keep(&mut self, pattern: Pattern) -> Arc<Pattern> {
        self.keep_seen(&Seen::of(&pattern))
    }

    /// The same of a pattern that a span says.
    pub(super) fn keep_seen(&mut self, seen: &Seen<'_>) -> Arc<Pattern> {
        let mut written = std::mem::take(&mut self.buffer);
        written.clear();
        seen.write(&mut written);
        let kept = match self.kept.get(&*written) {
            Some(found) => Arc::clone(found),
            None => self.add(seen, &written),
        };
        self.buffer = written;
        kept
    }

    fn add(&mut self, seen: &Seen<'_>, written: &[u8]) -> Arc<Pattern> {
        if self.kept.len() >= MAX_KEPT || self.texts.len() >= MAX_KEPT {
            self.kept.clear();
            self.texts.clear();
        }
        let &Seen { instance, remote_kind, messaging, .. } = seen;
        let texts = seen.texts.each_ref().map(|text| self.copy(text));
        let [name, service, namespace, environment, peer, address, protocol, target] = texts;
        let names = Pattern {
            name,
            service,
            namespace,
            environment,
            peer,
            address,
            protocol,
            target,
            ..Pattern::default()
        };
        let pattern = Arc::new(Pattern { instance, remote_kind, messaging, ..names });
        self.kept.insert(written.into(), Arc::clone(&pattern));
        pattern
    }

    fn copy(&mut self, text: &str) -> Text {
        if text.is_empty() {
            return Text::new();
        }
        if let Some(copy) = self.texts.get(text) {
            return copy.clone();
        }
        let copy = Text::from(text);
        self.texts.insert(copy.clone());
        copy
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(service: &str, name: &str) -> Pattern {
        Pattern { service: service.to_owned().into(), name: name.to_owned().into(), ..Pattern::default() }
    }

    #[test]
    fn kept_texts_do_not_keep_the_request() {
        let body = bytes::Bytes::from("shop GET /cart ".repeat(1_000));
        let cut = |from, to| Text::try_from(body.slice(from..to)).expect("UTF-8");
        let came = Pattern { service: cut(0, 4), name: cut(5, 14), ..Pattern::default() };
        let mut patterns = Patterns::default();
        let kept = patterns.keep(came.clone());
        assert_eq!(*kept, came);
        let inside = |text: &str| body.as_ptr_range().contains(&text.as_ptr());
        assert!(inside(&came.service) && !inside(&kept.service) && !inside(&kept.name));
        // Again, and after another one: the same copy, and one copy of the text that both have.
        let other = patterns.keep(of("shop", "GET /pay"));
        assert!(Arc::ptr_eq(&patterns.keep(came), &kept) && !Arc::ptr_eq(&other, &kept));
        assert_eq!(other.service.as_ptr(), kept.service.as_ptr());
    }

    #[test]
    fn patterns_that_differ_anywhere_are_kept_apart() {
        let base = of("shop", "GET");
        let all = [
            base.clone(),
            Pattern { instance: 1, ..base.clone() },
            Pattern { remote_kind: RemoteKind::Cache, ..base.clone() },
            Pattern { messaging: Messaging::Send, ..base.clone() },
            Pattern { peer: "x".into(), ..base.clone() },
            Pattern { target: "x".into(), ..base.clone() },
            // The same bytes, cut elsewhere.
            of("shopG", "ET"),
        ];
        let mut patterns = Patterns::default();
        let kept: Vec<_> = all.iter().map(|one| patterns.keep(one.clone())).collect();
        assert!(kept.iter().zip(&all).all(|(kept, one)| **kept == *one));
        assert_eq!(patterns.kept.len(), all.len());
    }

    #[test]
    fn it_is_bounded() {
        let mut patterns = Patterns::default();
        let first = patterns.keep(of("shop", "0"));
        for number in 1..3 * MAX_KEPT {
            patterns.keep(of("shop", &number.to_string()));
            assert!(patterns.kept.len() <= MAX_KEPT && patterns.texts.len() <= MAX_KEPT + 8);
        }
        assert_eq!(*patterns.keep(of("shop", "0")), *first);
    }
}
