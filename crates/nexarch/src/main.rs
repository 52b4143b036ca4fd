//! The `nexarch` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    nexarch::cli::main()
}
