//! `nexarch openapi`: the API as a document.

/// Print the OpenAPI document
#[derive(clap::Args)]
#[command(after_help = "Example:\n  nexarch openapi > openapi.json")]
pub(super) struct Args {}

pub(super) fn run(_: &Args) -> anyhow::Result<()> {
    println!("{}", crate::http::openapi::json()?);
    Ok(())
}
