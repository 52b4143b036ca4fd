//! What a cell is about: typed keys over interned nodes and texts.

/// What a node of the map is, as far as the spans of one trace can say.
///
/// The five texts of a node are `[environment, namespace, name, system, detail]`; what a class does not use is
/// empty. Typed parts, not a joined text: a name may hold any separator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Class {
    /// A service that sent spans.
    Service = 0,
    /// A database at an address: name = address, detail = database namespace.
    Database = 1,
    /// A database without an address (in-process, or on this host): namespace and name of the owning service.
    OwnDatabase = 2,
    /// As [`Class::Database`], for redis, valkey, memcached.
    Cache = 3,
    /// As [`Class::OwnDatabase`], for caches.
    OwnCache = 4,
    /// A messaging destination: name = destination.
    Queue = 5,
    /// A `GenAI` model: name = model.
    Model = 6,
    /// Whoever calls from outside.
    User = 7,
    /// A name that the caller gave its remote service; namespace of the *caller*. A service when one of this name
    /// is known, else external: decided when read, because it depends on more than one trace.
    Peer = 8,
    /// A host that the caller named; namespace of the *caller*. Decided when read, like [`Class::Peer`].
    Host = 9,
    /// A loopback address of a service: never the same thing for two services.
    Loopback = 10,
    /// A `GenAI` agent: namespace of the service that runs it, name = agent.
    Agent = 11,
    /// A tool of agents: namespace of the service that runs it, name = tool.
    Tool = 12,
    /// Made when read, never stored: a host or name outside the known services.
    External = 13,
    /// Made when read, never stored: the private addresses that no pair has explained.
    Unresolved = 14,
    /// Made when read, never stored: what the caps of R13 folded together; name = type.
    Other = 15,
}

impl Class {
    /// The classes that are stored, by number.
    pub(super) const STORED: [Self; 13] = [
        Self::Service,
        Self::Database,
        Self::OwnDatabase,
        Self::Cache,
        Self::OwnCache,
        Self::Queue,
        Self::Model,
        Self::User,
        Self::Peer,
        Self::Host,
        Self::Loopback,
        Self::Agent,
        Self::Tool,
    ];
}

/// A node by interned texts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeKey {
    /// What it is.
    pub class: Class,
    /// `[environment, namespace, name, system, detail]`, indices of texts.
    pub parts: [u32; 5],
}

/// How a call is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Via {
    /// A client and a server span: R2 (a).
    Pair = 0,
    /// Spans of the callee below a client span, its entry span missing: R2 (b).
    Below = 1,
    /// Spans of the callee below a span of the caller that is no client span.
    Parent = 2,
    /// A client span alone: R4, R6, and the sending leg of R7.
    Out = 3,
    /// A server span alone: R5, and the receiving leg of R7.
    In = 4,
}

impl Via {
    /// All, by number.
    pub(super) const ALL: [Self; 5] = [Self::Pair, Self::Below, Self::Parent, Self::Out, Self::In];

    /// Does the caller's half exist, so that its duration is the edge's?
    pub fn has_client(self) -> bool {
        matches!(self, Self::Pair | Self::Below | Self::Out)
    }
}

/// Things worth telling about the spans of a service (rule R12).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Note {
    /// An entry span whose parent is absent.
    Orphan = 0,
    /// As before, and the sender says that the parent was local.
    LostLocal = 1,
    /// A client span without a server span: its target comes from attributes.
    Unanswered = 2,
    /// A client span without a server span that names no target: no edge.
    Untargeted = 3,
    /// A span without a kind.
    Kindless = 4,
    /// A span without a service name, or with the one that an SDK makes up.
    Nameless = 5,
    /// A span that says how many it stands for. Most senders say nothing, so that is not worth a cell.
    Sampled = 6,
    /// A server half that starts before its client half.
    Skewed = 7,
    /// An entry span with a parent, but without a client half.
    Unreached = 8,
    /// A link into another trace that leads to nothing that is stored.
    Unlinked = 9,
}

impl Note {
    /// All, by number.
    pub(super) const ALL: [Self; 10] = [
        Self::Orphan,
        Self::LostLocal,
        Self::Unanswered,
        Self::Untargeted,
        Self::Kindless,
        Self::Nameless,
        Self::Sampled,
        Self::Skewed,
        Self::Unreached,
        Self::Unlinked,
    ];
}

/// What calls carry beside themselves. A cell of it counts the calls that say so, and sums the amount where cells of
/// calls sum durations: Σ weight · amount, in 1/256.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Amount {
    /// Messages of one operation beyond the first (rule R7): one is the rule, and not worth a cell.
    Messages = 0,
    /// Tokens that went into a model (rule R8).
    InputTokens = 1,
    /// Tokens that came out of a model.
    OutputTokens = 2,
}

impl Amount {
    /// All, by number.
    pub(super) const ALL: [Self; 3] = [Self::Messages, Self::InputTokens, Self::OutputTokens];
}

/// What a cell counts. Nodes and texts are indices of the table that holds the cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Key {
    /// Stored spans of a service, by their own start.
    Spans(u32),
    /// Requests of a service (analysis: its in-sides), by start of the in-side.
    Request(u32),
    /// Requests of a service by operation (text).
    Operation(u32, u32),
    /// Requests that entered the system at a service.
    Entry(u32),
    /// Calls `source → target` by protocol (text), counted as the callee saw them, by start of the server half;
    /// durations are the server's, a call failed when either half did.
    Call(Via, u32, u32, u32),
    /// Requests `source → target` by protocol (text), counted as the caller saw them, by start of the client half.
    Client(Via, u32, u32, u32),
    /// An address (text) that a pair showed to be a service (node), in an environment (text) of the caller.
    Learned(u32, u32, u32),
    /// Something to tell about the spans of a service.
    Note(Note, u32),
    /// Messages from a service through a queue to a service (nodes), by start of the receiving span; durations are the
    /// times in the queue.
    Flow(u32, u32, u32),
    /// An amount that calls `source → target` by protocol (text) carry.
    Amount(Amount, u32, u32, u32),
    /// Those of [`Key::Entry`] that failed: with both histograms it is known how many requests failed *or* took longer than
    /// a limit, for any limit.
    Failed(u32),
}

/// Head of [`Key::Flow`]: the first sub-kind of what had none.
const FLOW: u8 = 1 << 3;

/// Head of the first [`Key::Amount`].
const AMOUNT: u8 = 1 | 1 << 3;

/// Head of [`Key::Failed`].
const FAILED: u8 = 3 | 1 << 3;

/// Which fields of a key are nodes (true) or texts (false), for those that it uses.
pub(super) type Shape = &'static [bool];

impl Key {
    /// Flattened for the codec: kind and sub-kind in one byte, up to three references, and what those are.
    pub(super) fn flatten(self) -> (u8, [u32; 3], Shape) {
        let (head, refs) = match self {
            Self::Spans(a) => (0, [a, 0, 0]),
            Self::Request(a) => (1, [a, 0, 0]),
            Self::Operation(a, b) => (2, [a, b, 0]),
            Self::Entry(a) => (3, [a, 0, 0]),
            Self::Call(via, a, b, c) => (4 | (via as u8) << 3, [a, b, c]),
            Self::Client(via, a, b, c) => (5 | (via as u8) << 3, [a, b, c]),
            Self::Learned(a, b, c) => (6, [a, b, c]),
            Self::Note(note, a) => (7 | (note as u8) << 3, [a, 0, 0]),
            Self::Flow(a, b, c) => (FLOW, [a, b, c]),
            Self::Amount(amount, a, b, c) => (AMOUNT + ((amount as u8) << 3), [a, b, c]),
            Self::Failed(a) => (FAILED, [a, 0, 0]),
        };
        (head, refs, Self::shape(head))
    }

    /// The shape that a head byte announces, if it is a known one.
    pub(super) fn shape(head: u8) -> Shape {
        match (head & 7, head >> 3) {
            (0, 1) => &[true, true, true],
            (4 | 5, _) | (1, 1..) => &[true, true, false],
            (6, _) => &[true, false, false],
            (2, _) => &[true, false],
            _ => &[true],
        }
    }

    /// Back from [`Self::flatten`].
    pub(super) fn unflatten(head: u8, [a, b, c]: [u32; 3]) -> Option<Self> {
        let sub = usize::from(head >> 3);
        if head == FLOW {
            return Some(Self::Flow(a, b, c));
        }
        if head == FAILED {
            return Some(Self::Failed(a));
        }
        if head & 7 == AMOUNT & 7 && sub > 0 {
            return Some(Self::Amount(*Amount::ALL.get(sub - 1)?, a, b, c));
        }
        if sub != 0 && !matches!(head & 7, 4 | 5 | 7) {
            return None;
        }
        Some(match head & 7 {
            0 => Self::Spans(a),
            1 => Self::Request(a),
            2 => Self::Operation(a, b),
            3 => Self::Entry(a),
            4 => Self::Call(*Via::ALL.get(sub)?, a, b, c),
            5 => Self::Client(*Via::ALL.get(sub)?, a, b, c),
            6 => Self::Learned(a, b, c),
            _ => Self::Note(*Note::ALL.get(sub)?, a),
        })
    }
}
