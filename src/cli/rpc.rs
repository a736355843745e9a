//! `hob rpc`: one raw call of the control socket, for scripts and for the curious.

use clap::Args;
use serde_json::{Value, json};

use super::Outcome;
use super::context::{Ctx, text_or_stdin};
use super::error::{CliError, Exit};

/// Arguments of `hob rpc`.
#[derive(Debug, Args)]
pub struct RpcArgs {
    /// The method, such as `daemon/status`
    pub method: String,
    /// Its parameters as a JSON object; `-` reads them from stdin
    #[arg(value_name = "JSON")]
    pub params: Option<String>,
}

/// Prints the result as JSON: one line with `--json` and to programs, spread out on a terminal.
pub async fn run(ctx: &mut Ctx, args: &RpcArgs) -> Outcome {
    let params = match &args.params {
        Some(text) => parse(&text_or_stdin(std::slice::from_ref(text))?)?,
        None => json!({}),
    };
    let answer = ctx.link().await?.raw(&args.method, params).await?;
    if ctx.out_is_terminal() && !ctx.globals.json {
        let value: Value = serde_json::from_str(answer.get())?;
        ctx.print(format_args!("{value:#}\n"))?;
    } else {
        ctx.print(format_args!("{}\n", answer.get()))?;
    }
    Ok(Exit::Done)
}

fn parse(text: &str) -> Result<Value, CliError> {
    serde_json::from_str(text)
        .map_err(|error| CliError::usage(format!("the parameters are not JSON: {error}")))
}
