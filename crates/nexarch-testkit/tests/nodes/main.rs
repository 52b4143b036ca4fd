//! Several nodes that share nothing but addresses: one database file, of which none is the owner, and one Redis, each
//! through a proxy of its own and by its own way to the file. In whatever state Redis is: no answer older than promised,
//! and none that failed.
#![allow(missing_docs, reason = "tests are named after what they show")]

mod authority;
mod cluster;
mod cuts;
mod freshness;
mod ledger;
mod node;
mod script;
mod states;
