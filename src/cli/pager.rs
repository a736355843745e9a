//! Shows a long text through the person's pager where git would: on a terminal, and only there.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::process::{Command, Stdio};

use super::context::Ctx;
use super::error::CliError;

/// What git uses where nothing is said.
const PAGER: &str = "less";
/// Options of `less` where nothing is said: quit if it fits, keep colours, keep the screen.
const LESS: &str = "FRX";

/// The pager, as a shell command; `None` where there is to be none.
fn chosen(env: &BTreeMap<String, String>) -> Option<String> {
    let said = ["HOB_PAGER", "PAGER"].iter().find_map(|name| env.get(*name));
    let pager = said.map_or(PAGER, |pager| pager.trim());
    (!pager.is_empty() && pager != "cat").then(|| pager.to_owned())
}

/// Prints the text, through the pager on a terminal.
pub fn show(ctx: &mut Ctx, text: &str, no_pager: bool) -> Result<(), CliError> {
    let pager = chosen(&ctx.env).filter(|_| ctx.out_is_terminal() && !no_pager && !text.is_empty());
    let Some(pager) = pager else { return ctx.print(text) };
    #[expect(clippy::disallowed_methods, reason = "a pager is the person's own and no agent")]
    let mut command = Command::new("sh");
    command.arg("-c").arg(&pager).stdin(Stdio::piped());
    if !ctx.env.contains_key("LESS") {
        command.env("LESS", LESS);
    }
    let Ok(mut child) = command.spawn() else { return ctx.print(text) };
    if let Some(mut pipe) = child.stdin.take() {
        // Whoever quits the pager has seen enough.
        pipe.write_all(text.as_bytes()).ok();
    }
    child.wait()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_persons_pager_comes_first_and_cat_is_none() {
        let env =
            |pairs: &[(&str, &str)]| pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        assert_eq!(chosen(&env(&[])).as_deref(), Some("less"));
        assert_eq!(chosen(&env(&[("PAGER", "more")])).as_deref(), Some("more"));
        assert_eq!(chosen(&env(&[("PAGER", "more"), ("HOB_PAGER", "delta")])).as_deref(), Some("delta"));
        assert_eq!(chosen(&env(&[("PAGER", "cat")])), None);
        assert_eq!(chosen(&env(&[("PAGER", "")])), None);
    }
}
