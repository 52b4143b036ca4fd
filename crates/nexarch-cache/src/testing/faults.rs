//! What may go wrong between a node and its shared tier.

use crate::remote::Reason;
use std::time::Duration;

/// The faults of one node's connection; the default is none. Probabilities are 0 to 1, per call or message.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Faults {
    /// Known to be away: every call ends at once, nothing is heard.
    pub away: Option<Reason>,
    /// Messages neither come nor go, and it is known.
    pub deaf: bool,
    /// How long a call takes, shortest and longest.
    pub delay: (Duration, Duration),
    /// After how long a call is given up.
    pub deadline: Duration,
    /// A call breaks; whether it was carried out is a matter of chance, too.
    pub breaks: f64,
    /// What is read was altered, cut short, or is noise.
    pub garbles: f64,
    /// What is read stood under another key.
    pub swaps: f64,
    /// A write is confirmed and did not happen.
    pub forgets: f64,
    /// A message to this node is lost.
    pub loses: f64,
    /// A message to this node comes twice.
    pub doubles: f64,
    /// How long a message to this node takes, shortest and longest; they overtake each other.
    pub lags: (Duration, Duration),
}

impl Default for Faults {
    fn default() -> Self {
        Self {
            away: None,
            deaf: false,
            delay: (Duration::ZERO, Duration::ZERO),
            deadline: Duration::from_millis(100),
            breaks: 0.0,
            garbles: 0.0,
            swaps: 0.0,
            forgets: 0.0,
            loses: 0.0,
            doubles: 0.0,
            lags: (Duration::ZERO, Duration::ZERO),
        }
    }
}
