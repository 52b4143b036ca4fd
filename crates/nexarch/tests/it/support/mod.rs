//! What the tests share: a server process, a client, spans in every encoding, a second opinion on their graph.

pub(crate) mod admin;
pub(crate) mod client;
pub(crate) mod encode;
pub(crate) mod events;
pub(crate) mod fields;
pub(crate) mod figures;
pub(crate) mod gated;
pub(crate) mod grpc;
pub(crate) mod home;
#[cfg(feature = "azure")]
pub(crate) mod identity;
pub(crate) mod inside;
pub(crate) mod map;
pub(crate) mod openssl;
pub(crate) mod oracle;
pub(crate) mod routes;
pub(crate) mod sender;
pub(crate) mod server;
pub(crate) mod spans;
pub(crate) mod strace;
pub(crate) mod wait;
