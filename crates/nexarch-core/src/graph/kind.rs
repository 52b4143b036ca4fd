//! Types of nodes.

use serde::Serialize;

use crate::rollup::Class;

/// Type of a node, as in the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum NodeType {
    /// Sends spans.
    Service,
    /// A database.
    Database,
    /// redis, valkey, memcached.
    Cache,
    /// A messaging destination.
    Queue,
    /// A host or name outside the known services.
    External,
    /// Whoever calls from outside.
    User,
    /// A `GenAI` model, agent or tool.
    Model,
}

impl NodeType {
    /// The name in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Service => "service",
            Self::Database => "database",
            Self::Cache => "cache",
            Self::Queue => "queue",
            Self::External => "external",
            Self::User => "user",
            Self::Model => "model",
        }
    }
}

impl From<Class> for NodeType {
    fn from(class: Class) -> Self {
        match class {
            Class::Service => Self::Service,
            Class::Database | Class::OwnDatabase => Self::Database,
            Class::Cache | Class::OwnCache => Self::Cache,
            Class::Queue => Self::Queue,
            Class::Model | Class::Agent | Class::Tool => Self::Model,
            Class::User => Self::User,
            Class::Peer
            | Class::Host
            | Class::Loopback
            | Class::External
            | Class::Unresolved
            | Class::Other => Self::External,
        }
    }
}
