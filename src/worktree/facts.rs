//! Gathers what [`super::method`] decides on: what the repository uses that libgit2 cannot do.
//! Reads only, and runs nothing.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use git2::{Config, ConfigLevel, ObjectType, Oid, Repository};

use super::error::WorktreeError;
use super::method::{Facts, GitFact};
use super::source::Source;
use crate::regular;
use crate::worktree::objects::walk_tree;

/// Bytes of one attributes file that are looked at.
const ATTRIBUTES_BYTES_MAX: usize = 1 << 20;
/// Attributes for the whole machine.
const SYSTEM_ATTRIBUTES: &str = "/etc/gitattributes";

/// What attributes ask for.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    /// Filter drivers, by name.
    pub(super) filters: BTreeSet<String>,
    /// A `working-tree-encoding`.
    pub(super) encoding: bool,
    /// Contents that are written otherwise than they are kept.
    pub(super) conversion: bool,
}

/// Gathers the facts for a worktree from the commit `base`, given in hex.
pub(super) fn gather(
    source: &Source<'_>,
    base: &str,
    unrecorded: Option<String>,
) -> Result<Facts, WorktreeError> {
    let mut facts = Facts {
        unrecorded,
        git: source.git.as_ref().err().cloned().unwrap_or(GitFact::Ready),
        ..Facts::default()
    };
    let config = config_of(source)?;
    let truth = |key: &str| config.get_bool(key).unwrap_or(false);
    facts.sha256 = config.get_string("extensions.objectformat").is_ok_and(|format| format == "sha256");
    facts.reftable = config.get_string("extensions.refstorage").is_ok_and(|format| format == "reftable");
    facts.partial = config.get_string("extensions.partialclone").is_ok() || has_promisor(&config);
    facts.sparse = truth("core.sparsecheckout");
    facts.moved = config.get_string("core.worktree").is_ok();
    facts.unreadable = source.refusal.as_ref().map(|why| format!("something libgit2 does not know ({why})"));
    // In a partial clone a look at the tree could fetch it; the program serves it anyway.
    if let (Some(repo), false) = (&source.repo, facts.partial) {
        let failed =
            |error: git2::Error| WorktreeError::git("read the tree of the base", &source.top, &error);
        let (files, mut wanted) = look_at_tree(repo, base).map_err(failed)?;
        for path in attribute_files(&source.common_dir, &config) {
            if let Ok(text) = regular::read(&path) {
                look_at_attributes(&text, &mut wanted);
            }
        }
        facts.files = files;
        facts.encoding = wanted.encoding;
        let says = |key: &str, value: &str| {
            config.get_string(key).is_ok_and(|said| said.eq_ignore_ascii_case(value))
        };
        facts.conversion = wanted.conversion || says("core.autocrlf", "true") || says("core.eol", "crlf");
        facts.filters = wanted.filters.into_iter().filter(|name| is_driver(&config, name)).collect();
    }
    Ok(facts)
}

/// The effective configuration, or the repository's own files where libgit2 cannot open it.
fn config_of(source: &Source<'_>) -> Result<Config, WorktreeError> {
    let failed =
        |error: git2::Error| WorktreeError::git("read the configuration", &source.common_dir, &error);
    if let Some(repo) = &source.repo {
        return repo.config().and_then(|mut config| config.snapshot()).map_err(failed);
    }
    let mut config = Config::new().map_err(failed)?;
    config.add_file(&source.common_dir.join("config"), ConfigLevel::Local, false).map_err(failed)?;
    config.snapshot().map_err(failed)
}

/// Whether some remote promises objects that are not here.
pub(super) fn has_promisor(config: &Config) -> bool {
    let mut found = false;
    if let Ok(entries) = config.entries(Some("remote\\..*\\.promisor")) {
        // An entry that cannot be read is no promise.
        entries.for_each(|entry| found |= !matches!(entry.value(), Ok("false" | "0" | "no"))).ok();
    }
    found
}

/// Whether the configuration says how to run the filter, or that it must be run.
pub(super) fn is_driver(config: &Config, name: &str) -> bool {
    ["smudge", "process", "clean", "required"]
        .iter()
        .any(|key| config.get_entry(&format!("filter.{name}.{key}")).is_ok())
}

/// Counts the files of a commit and reads its attributes.
fn look_at_tree(repo: &Repository, commit: &str) -> Result<(usize, Wanted), git2::Error> {
    let tree = repo.find_commit(Oid::from_str(commit)?)?.tree()?;
    let (mut files, mut attributes) = (0, Vec::new());
    walk_tree(repo, tree, |_, entry| {
        if entry.kind() == Some(ObjectType::Blob) {
            files += 1;
            if entry.name_bytes() == b".gitattributes" {
                attributes.push(entry.id());
            }
        }
    })?;
    let mut wanted = Wanted::default();
    for id in attributes {
        look_at_attributes(repo.find_blob(id)?.content(), &mut wanted);
    }
    Ok((files, wanted))
}

/// Collects what any line asks for, macros included; which paths it is for does not matter.
pub(super) fn look_at_attributes(text: &[u8], wanted: &mut Wanted) {
    let text = String::from_utf8_lossy(&text[..text.len().min(ATTRIBUTES_BYTES_MAX)]);
    for line in text.lines().filter(|line| !line.trim_start().starts_with('#')) {
        for word in line.split_ascii_whitespace() {
            if let Some(name) = word.strip_prefix("filter=") {
                wanted.filters.insert(name.to_owned());
            }
            wanted.encoding |= word.starts_with("working-tree-encoding=");
            wanted.conversion |= word == "ident" || word.eq_ignore_ascii_case("eol=crlf");
        }
    }
}

/// Attributes that are in no commit.
pub(super) fn attribute_files(common_dir: &Path, config: &Config) -> Vec<PathBuf> {
    let own = config.get_path("core.attributesfile").ok().or_else(|| {
        let home = std::env::var_os("XDG_CONFIG_HOME").filter(|dir| !dir.is_empty()).map(PathBuf::from);
        let home = home.or_else(|| std::env::var_os("HOME").map(|home| Path::new(&home).join(".config")))?;
        Some(home.join("git/attributes"))
    });
    let mut files = vec![common_dir.join("info/attributes"), PathBuf::from(SYSTEM_ATTRIBUTES)];
    files.extend(own);
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_found_wherever_they_stand_in_a_line() {
        let mut wanted = Wanted::default();
        look_at_attributes(
            b"*.bin filter=lfs diff=lfs -text\n[attr]crypt filter=git-crypt\n# x filter=no\n*.txt working-tree-encoding=UTF-16\n",
            &mut wanted,
        );
        assert_eq!(wanted.filters.iter().collect::<Vec<_>>(), ["git-crypt", "lfs"]);
        assert!(wanted.encoding);
    }
}
