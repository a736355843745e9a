//! The settings of a repository that can run a program, as they were when we first saw it, that
//! is before any agent of ours could write to it. Later calls of the `git` program use these.
//!
//! Only the repository's own files count: what a person sets for all repositories is theirs.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use git2::{Config, ConfigLevel};

use super::error::WorktreeError;
use super::lock::name_of;

/// The first line of a record; a record that begins otherwise is made anew.
const HEADER: &str = "hob repository record 1";
/// Settings of one repository that are recorded.
const SETTINGS_MAX: usize = 4_096;

/// Names the remote of a partial clone.
const PARTIAL_CLONE: &str = "extensions.partialclone";
/// Beginnings of settings that say how objects are fetched.
const TRANSPORT: &[&str] = &[
    "core.sshcommand",
    "core.gitproxy",
    "core.askpass",
    "core.alternaterefscommand",
    "credential.",
    "url.",
    "protocol.",
    "ssh.",
    "http.",
    "https.",
    "fetch.",
];

/// Name to values, in the order in which they are written.
type Settings = BTreeMap<String, Vec<String>>;

/// What holds for the repository now.
#[derive(Debug, Default)]
pub(super) struct Recorded {
    /// Settings to pass, as they were.
    pub(super) settings: Vec<(String, String)>,
    /// A setting that is there now and was not then.
    pub(super) unrecorded: Option<String>,
    /// The file of the record.
    pub(super) file: PathBuf,
    /// Settings whose value is another one now.
    pub(super) changed: Vec<String>,
}

/// Reads the record of a repository, or makes it if this is the first time that it is seen.
pub(super) fn recorded(dir: &Path, common_dir: &Path) -> Result<Recorded, WorktreeError> {
    let file = dir.join(format!("{}.settings", name_of(common_dir)));
    let now = settings_of(common_dir)?;
    let identity = identity(common_dir)?;
    let before = match fs::read(&file) {
        Ok(bytes) => parse(&bytes, &identity),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => return Err(WorktreeError::io("read", &file, &error)),
    };
    let Some(before) = before else {
        write(dir, &file, &render(&identity, &now))?;
        return Ok(compare(&now, &now, file));
    };
    Ok(compare(&before, &now, file))
}

/// What of `before` to pass, and how `now` differs. Pure.
fn compare(before: &Settings, now: &Settings, file: PathBuf) -> Recorded {
    let settings = before
        .iter()
        .flat_map(|(key, values)| values.iter().map(|value| (key.clone(), value.clone())))
        .collect();
    Recorded {
        settings,
        unrecorded: now.keys().find(|key| !before.contains_key(*key)).cloned(),
        changed: before
            .iter()
            .filter(|(key, values)| now.get(*key) != Some(values))
            .map(|(key, _)| key.clone())
            .collect(),
        file,
    }
}

/// The repository's own settings that matter.
fn settings_of(common_dir: &Path) -> Result<Settings, WorktreeError> {
    let failed = |error: git2::Error| WorktreeError::git("read the configuration", common_dir, &error);
    let mut config = Config::new().map_err(failed)?;
    let levels = [("config", ConfigLevel::Local), ("config.worktree", ConfigLevel::Worktree)];
    for (name, level) in levels {
        let path = common_dir.join(name);
        if path.is_file() {
            config.add_file(&path, level, false).map_err(failed)?;
        }
    }
    let mut all = Vec::new();
    let entries = config.entries(None).map_err(failed)?;
    entries
        .for_each(|entry| {
            let key = String::from_utf8_lossy(entry.name_bytes()).into_owned();
            let value = if entry.has_value() {
                String::from_utf8_lossy(entry.value_bytes()).into_owned()
            } else {
                "true".into()
            };
            all.push((key, value));
        })
        .map_err(failed)?;
    Ok(select(all))
}

/// Keeps what can run a program: filter drivers everywhere, and in a partial clone what decides
/// how and from where missing objects are fetched. Pure.
fn select(all: Vec<(String, String)>) -> Settings {
    let promisors: Vec<String> = all.iter().filter_map(|(key, value)| promisor(key, value)).collect();
    let mut kept = Settings::new();
    for (key, value) in all {
        let harmless = [".fetch", ".push", ".tagopt", ".prune"].iter().any(|end| key.ends_with(end));
        let fetches = promisors.iter().any(|remote| key.starts_with(remote)) && !harmless;
        let transport = key == PARTIAL_CLONE || TRANSPORT.iter().any(|start| key.starts_with(start));
        let wanted = key.starts_with("filter.") || fetches || (!promisors.is_empty() && transport);
        if wanted && kept.len() < SETTINGS_MAX {
            kept.entry(key).or_default().push(value);
        }
    }
    kept
}

/// The start of the names of a remote's settings, if this setting makes it one that missing
/// objects are fetched from.
fn promisor(key: &str, value: &str) -> Option<String> {
    if key == PARTIAL_CLONE {
        return Some(format!("remote.{value}."));
    }
    let remote = key.strip_suffix(".promisor").or_else(|| key.strip_suffix(".partialclonefilter"))?;
    Some(format!("{remote}."))
}

/// Path, device and inode: a repository made anew at the same path is another one.
fn identity(common_dir: &Path) -> Result<String, WorktreeError> {
    let found = fs::metadata(common_dir).map_err(|error| WorktreeError::io("look at", common_dir, &error))?;
    Ok(format!("{}:{}:{}", found.dev(), found.ino(), common_dir.display()))
}

fn render(identity: &str, settings: &Settings) -> Vec<u8> {
    let mut out = format!("{HEADER}\n{identity}\0").into_bytes();
    for (key, values) in settings {
        for value in values {
            out.extend_from_slice(format!("{key}\n{value}\0").as_bytes());
        }
    }
    out
}

/// `None` if it is not a whole record of this repository.
fn parse(bytes: &[u8], identity: &str) -> Option<Settings> {
    let text = std::str::from_utf8(bytes).ok()?;
    let mut parts = text.strip_suffix('\0')?.split('\0');
    if parts.next()? != format!("{HEADER}\n{identity}") {
        return None;
    }
    let mut settings = Settings::new();
    for part in parts {
        let (key, value) = part.split_once('\n')?;
        settings.entry(key.to_owned()).or_default().push(value.to_owned());
    }
    Some(settings)
}

/// Whole or not at all: beside, then renamed into place.
fn write(dir: &Path, file: &Path, bytes: &[u8]) -> Result<(), WorktreeError> {
    let beside = file.with_extension("new");
    let done = fs::create_dir_all(dir).and_then(|()| {
        let mut out = fs::File::create(&beside)?;
        out.write_all(bytes)?;
        out.sync_all()?;
        fs::rename(&beside, file)
    });
    done.map_err(|error| WorktreeError::io("write", file, &error))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(pairs: &[(&str, &str)]) -> Settings {
        select(pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect())
    }

    #[test]
    fn only_what_can_run_a_program_is_recorded() {
        let plain =
            settings(&[("filter.lfs.smudge", "s"), ("remote.origin.url", "u"), ("core.sshcommand", "c")]);
        assert_eq!(plain.keys().collect::<Vec<_>>(), ["filter.lfs.smudge"]);
        let partial = settings(&[
            ("remote.origin.promisor", "true"),
            ("remote.origin.url", "u"),
            ("remote.origin.fetch", "+refs/*"),
            ("remote.other.url", "o"),
            ("core.sshcommand", "c"),
        ]);
        assert_eq!(
            partial.keys().collect::<Vec<_>>(),
            ["core.sshcommand", "remote.origin.promisor", "remote.origin.url"]
        );
    }

    #[test]
    fn a_remote_that_only_the_extension_names_is_one_to_fetch_from() {
        let named = settings(&[("extensions.partialclone", "evil"), ("remote.evil.uploadpack", "program")]);
        assert_eq!(named.keys().collect::<Vec<_>>(), ["extensions.partialclone", "remote.evil.uploadpack"]);
    }

    #[test]
    fn a_record_reads_back_and_belongs_to_one_repository() {
        let before = settings(&[("filter.a.smudge", "one\ntwo = three"), ("filter.a.smudge", "")]);
        let bytes = render("1:2:/r", &before);
        assert_eq!(parse(&bytes, "1:2:/r"), Some(before));
        assert_eq!(parse(&bytes, "1:3:/r"), None);
        assert_eq!(parse(&bytes[..bytes.len() - 1], "1:2:/r"), None);
    }

    #[test]
    fn what_was_changed_is_passed_as_it_was_and_what_was_added_is_named() {
        let before = settings(&[("filter.a.smudge", "good")]);
        let now = settings(&[("filter.a.smudge", "evil"), ("filter.b.process", "evil")]);
        let found = compare(&before, &now, PathBuf::new());
        assert_eq!(found.settings, [("filter.a.smudge".to_owned(), "good".to_owned())]);
        assert_eq!(found.changed, ["filter.a.smudge"]);
        assert_eq!(found.unrecorded.as_deref(), Some("filter.b.process"));
    }
}
