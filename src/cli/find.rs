//! Finds what a person meant by a shortened id.
//!
//! An id is tried as it was given first, so that an exact one costs nothing more; only when that
//! names nothing, the daemon is asked which ids begin with it.

use serde_json::{Value, json};

use super::error::CliError;
use super::link::Link;

/// How many candidates an ambiguous prefix shows. The daemon tells at most five.
const CANDIDATES_SHOWN_MAX: usize = 4;

/// Kinds of things that have ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `s-…`
    Session,
    /// `c-…`
    Chat,
    /// `t-…`
    Task,
    /// `u-…`
    Turn,
    /// `p-…`
    Permission,
    /// `w-…`
    Worktree,
    /// `a-…`
    Arena,
}

impl Kind {
    fn word(self) -> &'static str {
        match self {
            Self::Session => "session",
            Self::Chat => "chat",
            Self::Task => "task",
            Self::Turn => "turn",
            Self::Permission => "permission",
            Self::Worktree => "worktree",
            Self::Arena => "arena",
        }
    }
}

/// Makes a call with the id as given; where that names nothing, with the one id that it begins.
pub async fn with_id<T>(
    link: &Link,
    kind: Kind,
    given: &str,
    call: impl AsyncFn(&str) -> Result<T, CliError>,
) -> Result<T, CliError> {
    let missing = match call(given).await {
        Err(error) if error.is_not_found() => error,
        answered => return answered,
    };
    let found: Vec<String> = link.call("id/find", json!({"kind": kind.word(), "prefix": given})).await?;
    match choose(kind, given, found.iter().map(String::as_str))? {
        Some(id) if id != given => call(&id).await,
        _ => Err(missing),
    }
}

/// The whole id of what is meant. Its `show` method is called for that.
pub async fn id(link: &Link, kind: Kind, given: &str) -> Result<String, CliError> {
    let word = kind.word();
    with_id(link, kind, given, async |id| {
        let _: Value = link.call(&format!("{word}/show"), json!({word: id})).await?;
        Ok(id.to_owned())
    })
    .await
}

/// The one of `ids` that is `given`, else the one that begins with it; more than one is a usage
/// error that lists them.
pub fn choose<'a>(
    kind: Kind,
    given: &str,
    ids: impl Iterator<Item = &'a str>,
) -> Result<Option<String>, CliError> {
    let mut matching: Vec<&str> = ids.filter(|id| id.starts_with(given)).collect();
    matching.sort_unstable();
    matching.dedup();
    if given.is_empty() {
        return Ok(None);
    }
    if matching.contains(&given) {
        return Ok(Some(given.to_owned()));
    }
    match matching.as_slice() {
        [] => Ok(None),
        [one] => Ok(Some((*one).to_owned())),
        many => {
            let shown = many[..many.len().min(CANDIDATES_SHOWN_MAX)].join(" ");
            let more = if many.len() > CANDIDATES_SHOWN_MAX { " …" } else { "" };
            Err(CliError::usage(format!(
                "more than one {} begins with `{given}`: {shown}{more}",
                kind.word()
            ))
            .hint("type more of the id"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDS: [&str; 4] = ["c-aa11", "c-aa22", "c-bb11", "c-bb11-longer"];

    #[test]
    fn a_unique_prefix_is_completed() {
        let found = choose(Kind::Chat, "c-aa1", IDS.into_iter()).unwrap();
        assert_eq!(found.as_deref(), Some("c-aa11"));
    }

    #[test]
    fn an_ambiguous_prefix_is_a_usage_error_that_lists_the_candidates() {
        let error = choose(Kind::Chat, "c-aa", IDS.into_iter()).unwrap_err();
        assert_eq!(u8::from(error.exit), 2);
        assert_eq!(error.message, "more than one chat begins with `c-aa`: c-aa11 c-aa22");
    }

    #[test]
    fn an_exact_id_wins_over_longer_ones() {
        let found = choose(Kind::Chat, "c-bb11", IDS.into_iter()).unwrap();
        assert_eq!(found.as_deref(), Some("c-bb11"));
    }

    #[test]
    fn what_begins_nothing_and_the_empty_text_are_not_found() {
        assert_eq!(choose(Kind::Chat, "x", IDS.into_iter()).unwrap(), None);
        assert_eq!(choose(Kind::Chat, "", IDS.into_iter()).unwrap(), None);
    }
}
