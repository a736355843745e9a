//! Files that go through a filter on their way to the disk and back (git-lfs, git-crypt): git has other
//! bytes of them than the checkout, so no content of git's is ever written in their place.

use std::path::Path;

use git2::{AttrCheckFlags, AttrValue};

use crate::worktree::error::WorktreeError;
use crate::worktree::facts;
use crate::worktree::source::{Source, bytes_of};

/// What is said of a file that goes through a filter.
pub(super) fn refusal(filter: &str) -> String {
    format!("it goes through the filter `{filter}`, which hob does not run; git takes it over")
}

/// The filter that a file of a checkout goes through, if any.
pub(super) fn filter_of(source: &Source<'_>, path: &Path) -> Result<Option<String>, WorktreeError> {
    let Some(repo) = &source.repo else { return by_program(source, path) };
    let failed = |error: git2::Error| WorktreeError::git("read the attributes", &source.top, &error);
    let config = repo.config().and_then(|mut config| config.snapshot()).map_err(failed)?;
    if !facts::has_drivers(&config) {
        return Ok(None);
    }
    let value = repo.get_attr(path, "filter", AttrCheckFlags::default()).map_err(failed)?;
    let AttrValue::String(name) = AttrValue::from_string(value) else { return Ok(None) };
    Ok(facts::is_driver(&config, name).then(|| name.to_owned()))
}

fn by_program(source: &Source<'_>, path: &Path) -> Result<Option<String>, WorktreeError> {
    let mut call = source.call(&["check-attr", "-z", "--stdin", "filter"]);
    call.stdin = [bytes_of(path), b"\0"].concat();
    let told = source.program()?.run(&call)?;
    // The path, the attribute, its value.
    let value = told.split(|byte| *byte == 0).nth(2).map(|value| String::from_utf8_lossy(value).into_owned());
    Ok(value.filter(|value| !matches!(value.as_str(), "unspecified" | "unset" | "set" | "")))
}
