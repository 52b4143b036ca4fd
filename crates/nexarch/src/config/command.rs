//! What commands for people take from the environment. None of it configures a server.

use std::env;

/// The API key to present, if there is one.
#[expect(clippy::disallowed_methods, reason = "this module is the one that reads the environment")]
pub fn api_key() -> Option<String> {
    env::var("NEXARCH_API_KEY").ok().map(|key| key.trim().to_owned()).filter(|key| !key.is_empty())
}

/// Whether text is to come without colours, whatever it is written to: <https://no-color.org>.
#[expect(clippy::disallowed_methods, reason = "this module is the one that reads the environment")]
pub fn no_color() -> bool {
    env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
}

/// Whether the terminal understands no control sequences at all.
#[expect(clippy::disallowed_methods, reason = "this module is the one that reads the environment")]
pub fn dumb_terminal() -> bool {
    env::var_os("TERM").is_none_or(|value| value.is_empty() || value == "dumb")
}
