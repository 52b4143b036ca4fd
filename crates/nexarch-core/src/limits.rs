//! Every limit that keeps one tenant's data bounded (rule R13), in one place. Nothing beyond a limit is dropped without
//! being counted: names share a visible "other", cut attributes and truncated answers say so.
//!
//! | what | limit | beyond it |
//! |---|---|---|
//! | nodes of one type in a slot of a rollup | [`MAX_NODES`] | share the node `(other)` of type and environment |
//! | environments of folded nodes | [`MAX_ENVIRONMENTS`] | share the environment `(other)` |
//! | operations of a service, of a slot | [`MAX_SERVICE_OPERATIONS`], [`MAX_OPERATIONS`] | share the operation `(other)` |
//! | pairs of nodes that call each other | [`MAX_EDGES`] | go to the node `(other)` of the target's type |
//! | flows of messages of a slot | [`MAX_FLOWS`] | go from and to the nodes `(other)` |
//! | links into its own trace that a span keeps | [`crate::facts::MAX_NEAR_LINKS`] | are counted as messages |
//! | protocols of a pair | [`MAX_PROTOCOLS`] | share the protocol `(other)` |
//! | learned addresses | [`MAX_LEARNED`] | are not learned |
//! | cells while a window is read | [`MAX_READ_CELLS`] | the same folding, on the way |
//! | flows of a map | [`MAX_MAP_FLOWS`] | are not listed, counted in `folded_flows` |
//! | edges of a map | [`MAX_MAP_EDGES`] | go to "other …", counted in `folded_edges` |
//! | attributes of a list | [`MAX_ATTRIBUTES`] | the first are kept, the others counted |
//! | all attributes of a resource, of a scope | [`MAX_SHARED_BYTES`] | those that inference reads are kept first, the others counted |
//! | a key, a name | [`MAX_KEY_BYTES`], [`MAX_NAME_BYTES`] | cut at a character, counted |
//! | a text or bytes as value | [`MAX_VALUE_BYTES`] | cut, counted |
//! | elements of a list in a value | [`MAX_ELEMENTS`] | the first are kept, the others counted |
//! | events, links of a span | [`MAX_EVENTS`], [`MAX_LINKS`] | the first are kept, the others counted |
//! | spans, bytes of a trace's answer | [`MAX_TRACE_SPANS`], [`MAX_TRACE_BYTES`] | `truncated` |

/// Nodes of one class: as many services as the map can show.
pub const MAX_NODES: usize = 2_000;

/// Environments in which nodes are folded apart. Real tenants have fewer than ten.
pub const MAX_ENVIRONMENTS: usize = 64;

/// Operations of one service. With templates (`GET /cart/{id}`) services have some hundred; without, one for each user.
pub const MAX_SERVICE_OPERATIONS: usize = 500;

/// Operations of all services of a slot: about 1 MB of cells.
pub const MAX_OPERATIONS: usize = 10_000;

/// Pairs of nodes of a slot: five for each of [`MAX_NODES`] services.
pub const MAX_EDGES: usize = 10_000;

/// Flows of messages (from a service through a queue to a service) of a slot: as many as there may be edges.
pub const MAX_FLOWS: usize = MAX_EDGES;

/// Flows that a map lists, the busiest.
pub const MAX_MAP_FLOWS: usize = 1_000;

/// Protocols of one pair of nodes. Real pairs speak one or two.
pub const MAX_PROTOCOLS: usize = 8;

/// Addresses that pairs showed to be services.
pub const MAX_LEARNED: usize = 5_000;

/// Cells held while a window is added up, before folding starts: about 50 MB. Slots that are within the limits may
/// differ from each other without end.
pub const MAX_READ_CELLS: usize = 100_000;

/// Edges of a map: more cannot be told apart in any drawing, and the answer stays below 2 MB.
pub const MAX_MAP_EDGES: usize = 5_000;

/// Attributes of one list (span, event, link, resource, scope). SDKs stop at 128 by default.
pub const MAX_ATTRIBUTES: usize = 512;

/// Bytes of all attributes of a resource, and of those of a scope. Spans share them, so a sender pays for them once, but
/// the store writes them for each hour and again for each thousand spans. SDKs send a few kilobytes.
pub const MAX_SHARED_BYTES: usize = 128 << 10;

/// Bytes of an attribute's key. Names of the semantic conventions have up to 60.
pub const MAX_KEY_BYTES: usize = 256;

/// Bytes of a span's or event's name, and of a status message.
pub const MAX_NAME_BYTES: usize = 4_096;

/// Bytes of one text, or of opaque bytes, as a value: room for a stack trace or a prompt.
pub const MAX_VALUE_BYTES: usize = 64 << 10;

/// Elements of one list inside a value.
pub const MAX_ELEMENTS: usize = 4_096;

/// Events of a span. SDKs stop at 128 by default.
pub const MAX_EVENTS: usize = 1_024;

/// Links of a span; a batch may have one for each message.
pub const MAX_LINKS: usize = 1_024;

/// Spans in the answer to one trace: more than anybody reads, and about 10 MB.
pub const MAX_TRACE_SPANS: usize = 10_000;

/// Bytes of attributes, events and links in the answer to one trace, roughly.
pub const MAX_TRACE_BYTES: usize = 32 << 20;
