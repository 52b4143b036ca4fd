//! A line of the table of targets.

/// Prints `| what | figure | spread | target | verdict |`; `cargo xtask bench` gathers lines that begin like this.
pub(crate) fn print(what: &str, figure: &str, spread: &str, target: &str, met: bool) {
    let verdict = if met { "met" } else { "MISSED" };
    println!("| {what} | {figure} | {spread} | {target} | {verdict} |");
}
