//! Short names for nodes in formats whose identifiers are plain.

use std::collections::HashSet;

use crate::graph::ArchitectureMap;

/// Longest slug before it is made unique, in characters.
const LONGEST: usize = 40;

/// One identifier for each node of a map, in its order: `service_checkout`, `database_orders_db`. ASCII letters, digits
/// and underscores, unique, and never a word that a format keeps for itself. Readable, so that two exports of one
/// architecture differ where the architecture does.
pub(super) fn slugs(map: &ArchitectureMap) -> Vec<String> {
    let mut taken = HashSet::with_capacity(map.nodes.len());
    map.nodes
        .iter()
        .map(|node| {
            let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
            let short: String = node.id.chars().take(LONGEST).map(plain).collect();
            let base = format!("{}_{short}", node.kind.as_str());
            let numbered = (2u32..).map(|number| format!("{base}__{number}"));
            let free = std::iter::once(base.clone()).chain(numbered).find(|slug| !taken.contains(slug));
            let slug = free.unwrap_or(base);
            taken.insert(slug.clone());
            slug
        })
        .collect()
}
