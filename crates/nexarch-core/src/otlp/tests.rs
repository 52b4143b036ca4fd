//! Tests of the decoders and encoders.

pub(crate) mod arbitrary;
mod expansion;
mod fixtures;
mod hostile;
mod json;
mod oracle;
mod protobuf;
mod roundtrip;
mod rules;
