//! `hob config`: the configuration, read here and not asked of a daemon.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::Outcome;
use super::context::Ctx;
use super::error::{CliError, Exit};
use super::render::{DIM, paint};
use crate::config::{Config, ConfigError, ConfigFault, Loaded, Shown};
use crate::path_text;

/// What can be done with the configuration.
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Print the effective whole, with where each value comes from
    Show(NoArgs),
    /// Print where everything lies
    Path(NoArgs),
    /// Say whether the configuration is good; exit 78 where it is not
    Check(NoArgs),
}

/// Nothing besides the global options.
#[derive(Debug, Args)]
pub struct NoArgs {}

/// Runs the command. None needs a daemon.
pub async fn run(ctx: &mut Ctx, command: &ConfigCommand) -> Outcome {
    match command {
        ConfigCommand::Show(_) => {
            let loaded = load(ctx)?;
            warn(ctx, &loaded);
            let shown = loaded.shown();
            let text = if ctx.globals.json { format!("{}\n", as_json(&shown)) } else { render(&shown) };
            ctx.print(text)?;
        }
        ConfigCommand::Path(_) => path(ctx)?,
        ConfigCommand::Check(_) => {
            let loaded = load(ctx)?;
            warn(ctx, &loaded);
            if ctx.globals.json {
                ctx.print("{\"ok\":true}\n")?;
            } else {
                ctx.say("the configuration is good");
            }
        }
    }
    Ok(Exit::Done)
}

fn warn(ctx: &mut Ctx, loaded: &Loaded) {
    for warning in &loaded.config.warnings {
        ctx.say(format_args!("warning: {warning}"));
    }
}

fn load(ctx: &Ctx) -> Result<Loaded, CliError> {
    Ok(Config::load_at(&ctx.paths()?, &ctx.env)?)
}

impl From<ConfigError> for CliError {
    fn from(error: ConfigError) -> Self {
        let (hint, fault) = (error.hint.clone(), error.fault);
        let message = ConfigError { hint: None, ..error }.to_string();
        let exit = match fault {
            ConfigFault::Bad => Exit::Config,
            ConfigFault::Untrusted => Exit::Refused,
        };
        Self { hint, ..Self::new(exit, message) }
    }
}

fn path(ctx: &mut Ctx) -> Result<(), CliError> {
    let paths = ctx.paths()?;
    let places = [
        ("config", &paths.config),
        ("state", &paths.state),
        ("database", &paths.database),
        ("worktrees", &paths.worktrees),
        ("logs", &paths.logs),
        ("socket", &paths.socket),
        ("lock", &paths.lock),
    ];
    if ctx.globals.json {
        let places: serde_json::Map<_, _> =
            places.iter().map(|(name, path)| ((*name).to_owned(), json!(path_text::text(path)))).collect();
        return ctx.print(format_args!("{}\n", Value::Object(places)));
    }
    let places: Vec<_> = places.iter().map(|(name, path)| (*name, path.display().to_string())).collect();
    ctx.print(super::render::facts(&places))
}

fn as_json(shown: &[Shown]) -> Value {
    let one =
        |shown: &Shown| json!({"key": shown.key, "value": shown.value, "origin": shown.origin.to_string()});
    shown.iter().map(one).collect()
}

/// Valid TOML: `key = value  # where it comes from`, the remarks in one column.
fn render(shown: &[Shown]) -> String {
    let lines: Vec<_> = shown.iter().map(|shown| format!("{} = {}", shown.key, shown.value)).collect();
    let width =
        lines.iter().map(|line| line.chars().count()).filter(|width| *width <= REMARK_COLUMN_MAX).max();
    let width = width.unwrap_or_default();
    let remark = |shown: &Shown| paint(DIM, format_args!("# {}", shown.origin));
    lines.iter().zip(shown).map(|(line, shown)| format!("{line:<width$}  {}\n", remark(shown))).collect()
}

/// Lines longer than this do not push the column of remarks to the right.
const REMARK_COLUMN_MAX: usize = 60;

#[cfg(test)]
mod tests {
    use super::super::render::plain;
    use super::*;
    use crate::config::Origin;

    #[test]
    fn every_value_says_where_it_comes_from() {
        let shown = [
            Shown {
                key: "pool.max_live".into(),
                value: "4".into(),
                origin: Origin::File { path: "/c/config.toml".into(), line: 7 },
            },
            Shown { key: "pool.idle_ttl".into(), value: "\"30m\"".into(), origin: Origin::Default },
            Shown {
                key: "dispatch.max_running".into(),
                value: "2".into(),
                origin: Origin::Variable("HOB_DISPATCH__MAX_RUNNING".into()),
            },
        ];
        insta::assert_snapshot!(plain(&render(&shown)), @r#"
        pool.max_live = 4         # /c/config.toml:7
        pool.idle_ttl = "30m"     # default
        dispatch.max_running = 2  # $HOB_DISPATCH__MAX_RUNNING
        "#);
    }
}
