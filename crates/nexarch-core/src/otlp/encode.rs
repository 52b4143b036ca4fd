//! Spans as OTLP requests: for generated load, export and tests. What is written decodes to the same spans.

pub(super) mod json;
pub(super) mod protobuf;

use std::sync::Arc;

use rustc_hash::FxHashMap;

use crate::span::{Resource, Scope, Span};

/// Spans of one resource, by scope.
struct Group<'a> {
    resource: &'a Resource,
    scopes: Vec<(&'a Scope, Vec<&'a Span>)>,
}

/// Groups by the identity of the shared resource and scope, in the order in which they first occur.
fn groups(spans: &[Span]) -> Vec<Group<'_>> {
    let mut groups: Vec<Group<'_>> = Vec::new();
    let mut group_of = FxHashMap::default();
    let mut scope_of = FxHashMap::default();
    for span in spans {
        let group = *group_of.entry(Arc::as_ptr(&span.resource)).or_insert_with(|| {
            groups.push(Group { resource: &span.resource, scopes: Vec::new() });
            groups.len() - 1
        });
        let scopes = &mut groups[group].scopes;
        let scope = *scope_of.entry((group, Arc::as_ptr(&span.scope))).or_insert_with(|| {
            scopes.push((&*span.scope, Vec::new()));
            scopes.len() - 1
        });
        scopes[scope].1.push(span);
    }
    groups
}
