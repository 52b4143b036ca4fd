//! The shared tier over real servers and broken networks.
#![allow(missing_docs, reason = "tests are named after what they show")]

mod basics;
mod support;
