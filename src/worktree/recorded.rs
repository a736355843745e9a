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
use super::identity::birth;
use super::lock::name_of;
use crate::regular;

/// The first line of a record; a record that begins otherwise is made anew.
const HEADER: &str = "hob repository record 2";
/// That of records that told a repository by its device number.
const FIRST_HEADER: &str = "hob repository record 1";
/// Records that are looked through for a repository that was moved, at most.
const RECORDS_MAX: usize = 4_096;
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
    let identity = RepositoryIdentity::of(common_dir)?;
    let before = match regular::read(&file) {
        Ok(bytes) => parse(&bytes, &identity),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => return Err(WorktreeError::io("read", &file, &error)),
    };
    if let Some((before, is_current)) = before {
        if !is_current {
            write(dir, &file, &render(&identity, &before))?;
        }
        return Ok(compare(&before, &now, file));
    }
    // One that was moved is no new one: what was planted since it was first seen stays what it was.
    let before = of_another_place(dir, &identity).unwrap_or_else(|| now.clone());
    write(dir, &file, &render(&identity, &before))?;
    Ok(compare(&before, &now, file))
}

/// The record of the same repository under another path.
fn of_another_place(dir: &Path, identity: &RepositoryIdentity) -> Option<Settings> {
    identity.birth?;
    let files = fs::read_dir(dir).ok()?.flatten().map(|entry| entry.path());
    let records = files.filter(|path| path.extension().is_some_and(|end| end == "settings"));
    records.take(RECORDS_MAX).find_map(|path| Some(parse(&regular::read(&path).ok()?, identity)?.0))
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

/// What a repository is told by, wherever it lies and whatever number its device has in this boot.
#[derive(Debug, Clone, PartialEq, Eq)]
struct RepositoryIdentity {
    inode: u64,
    /// When its git directory was made, where the file system knows: a repository that was made anew is
    /// another one.
    birth: Option<i64>,
    /// What it was told by in the first records, and is where no birth is known.
    place: String,
}

impl RepositoryIdentity {
    fn of(common_dir: &Path) -> Result<Self, WorktreeError> {
        let found =
            fs::metadata(common_dir).map_err(|error| WorktreeError::io("look at", common_dir, &error))?;
        let place = format!("{}:{}:{}", found.dev(), found.ino(), common_dir.display());
        Ok(Self { inode: found.ino(), birth: birth(&found), place })
    }

    fn text(&self) -> String {
        match self.birth {
            Some(birth) => format!("{}:{birth}", self.inode),
            None => self.place.clone(),
        }
    }

    /// Whether a first record is of this repository: its device number may be that of another boot.
    fn is_first(&self, text: &str) -> bool {
        let without_device = |text: &str| text.split_once(':').map(|(_, rest)| rest.to_owned());
        without_device(text) == without_device(&self.place)
    }
}

fn render(identity: &RepositoryIdentity, settings: &Settings) -> Vec<u8> {
    let mut out = format!("{HEADER}\n{}\0", identity.text()).into_bytes();
    for (key, values) in settings {
        for value in values {
            out.extend_from_slice(format!("{key}\n{value}\0").as_bytes());
        }
    }
    out
}

/// `None` if it is not a whole record of this repository; with it, whether it is written as today.
fn parse(bytes: &[u8], identity: &RepositoryIdentity) -> Option<(Settings, bool)> {
    let text = std::str::from_utf8(bytes).ok()?;
    let mut parts = text.strip_suffix('\0')?.split('\0');
    let (header, whose) = parts.next()?.split_once('\n')?;
    let is_current = match header {
        HEADER if whose == identity.text() => true,
        FIRST_HEADER if identity.is_first(whose) => false,
        _ => return None,
    };
    let mut settings = Settings::new();
    for part in parts {
        let (key, value) = part.split_once('\n')?;
        settings.entry(key.to_owned()).or_default().push(value.to_owned());
    }
    Some((settings, is_current))
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
        let of = |inode: u64, birth: Option<i64>, place: &str| RepositoryIdentity {
            inode,
            birth,
            place: place.to_owned(),
        };
        let bytes = render(&of(2, Some(9), "1:2:/r"), &before);
        let again = Some((before.clone(), true));
        assert_eq!(parse(&bytes, &of(2, Some(9), "1:2:/r")), again);
        assert_eq!(parse(&bytes, &of(2, Some(9), "5:2:/moved")), again, "another number, another place");
        assert_eq!(parse(&bytes, &of(3, Some(9), "1:3:/r")), None);
        assert_eq!(parse(&bytes, &of(2, Some(8), "1:2:/r")), None, "made anew");
        assert_eq!(parse(&bytes[..bytes.len() - 1], &of(2, Some(9), "1:2:/r")), None);
        let unborn = render(&of(2, None, "1:2:/r"), &before);
        assert_eq!(parse(&unborn, &of(2, None, "1:2:/r")), again);
        assert_eq!(parse(&unborn, &of(2, None, "1:2:/other")), None);
    }

    #[test]
    fn a_first_record_is_taken_over_also_when_the_device_has_another_number() {
        let first = b"hob repository record 1\n1:2:/a:b\0filter.a.smudge\ngood\0";
        let at = |place: &str| RepositoryIdentity { inode: 2, birth: Some(9), place: place.to_owned() };
        let taken = Some((settings(&[("filter.a.smudge", "good")]), false));
        assert_eq!(parse(first, &at("1:2:/a:b")), taken);
        assert_eq!(parse(first, &at("7:2:/a:b")), taken);
        assert_eq!(parse(first, &at("1:3:/a:b")), None);
        assert_eq!(parse(first, &at("1:2:/b")), None);
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
