//! stub
use clap::Args;

use super::Outcome;
use super::context::Ctx;
use super::error::Exit;

/// About.
pub const ABOUT: &str = "demo";

/// Arguments of `hob demo`.
#[derive(Debug, Args)]
pub struct DemoArgs {}

/// Runs.
pub async fn run(_ctx: &mut Ctx, _args: &DemoArgs) -> Outcome {
    Ok(Exit::Done)
}
