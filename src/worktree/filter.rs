//! What went wrong with a filter of the person's (git-lfs, git-crypt): which one, which program, and what
//! to do about it. git itself speaks of remote ends and exit codes. Pure.

use std::path::Path;

use super::error::{WorktreeError, WorktreeErrorKind, shell};

/// What begins what a shell or git says of a program that it does not find.
const NOT_FOUND: [&str; 3] = [": not found", ": command not found", ": No such file or directory"];
/// What git says when a filter that goes on from file to file has died.
const DIED: &str = "the remote end hung up unexpectedly";
/// What git says of a filter that is run for one file.
const FAILED: [&str; 2] = [": smudge filter ", ": clean filter "];
/// What the other end of a connection lacks, and no filter is.
const REMOTE: [&str; 3] = ["git-upload-pack", "git-receive-pack", "ssh"];
/// The longest word of a filter's own that is told, in characters.
const WORD_CHARS_MAX: usize = 200;

/// A filter that is known, and how one gets it.
struct Known {
    program: &'static str,
    install: &'static str,
    retry: &'static str,
}

const KNOWN: [Known; 2] = [
    Known {
        program: "git-lfs",
        install: "install git-lfs (apt install git-lfs, brew install git-lfs), then type: git lfs install",
        retry: "git lfs fetch --all",
    },
    Known {
        program: "git-crypt",
        install: "install git-crypt (apt install git-crypt, brew install git-crypt), then type: git crypt unlock",
        retry: "git crypt unlock",
    },
];

/// What is known of a failure.
#[derive(Debug, PartialEq, Eq)]
struct Failure<'a> {
    /// The file that was put through it.
    file: Option<&'a str>,
    /// The name of the filter.
    name: Option<&'a str>,
    /// Its program, which is not there.
    missing: Option<&'a str>,
    /// What it said itself.
    said: Option<&'a str>,
}

/// The error for a call of git's that a filter ended; `None` if that was something else.
pub(super) fn failure(dir: &Path, complaint: &str) -> Option<WorktreeError> {
    let failure = read(complaint)?;
    let of = match failure.name {
        Some(name) => format!("the filter `{name}`"),
        None => "a filter".to_owned(),
    };
    let what = match failure.file {
        Some(file) => format!("`{file}` goes through {of}"),
        None => format!("files in `{}` go through {of}", dir.display()),
    };
    let known = |program: &str| KNOWN.iter().find(|known| program.starts_with(known.program));
    let (message, hint) = match failure.missing {
        Some(program) => {
            let hint =
                known(program).map_or_else(|| format!("install {program}"), |known| known.install.to_owned());
            let message = format!("{what}, whose program `{program}` is not on the PATH of the daemon");
            (message, format!("{hint}; then start the daemon where it is found: hob down && hob up"))
        }
        None => {
            let said: String =
                failure.said.unwrap_or("it does not say why").chars().take(WORD_CHARS_MAX).collect();
            let retry = KNOWN.iter().find(|known| complaint.contains(known.program)).map(|known| known.retry);
            let hint = format!("git -C {} status; {}", shell(dir), retry.unwrap_or("see its own log"));
            (format!("{what}, and it failed: {said}"), hint)
        }
    };
    let kind = WorktreeErrorKind::Unsupported(of);
    Some(WorktreeError::new(kind, message).hint(hint))
}

fn read(complaint: &str) -> Option<Failure<'_>> {
    let lines = || complaint.lines().map(str::trim);
    let is_own = |line: &&str| line.starts_with("fatal: ") || line.starts_with("error: ");
    let told = lines().find_map(|line| FAILED.iter().find_map(|words| line.split_once(words)));
    let file = told.map(|(file, _)| file.trim_start_matches("fatal: ").trim_start_matches("error: "));
    let name = told.and_then(|(_, rest)| rest.strip_suffix(" failed")).map(|name| name.trim_matches('\''));
    if name.is_none() && !complaint.contains(DIED) {
        return None;
    }
    // `git-lfs filter-process: 1: git-lfs: not found`, `bash: line 1: git-lfs: command not found`
    let missing = lines().find_map(|line| NOT_FOUND.iter().find_map(|words| line.strip_suffix(words)));
    let missing = missing
        .and_then(|line| line.rsplit(": ").next())
        .map(|program| program.trim_start_matches("cannot run "))
        .filter(|program| !REMOTE.contains(program));
    let said = lines().find(|line| !line.is_empty() && !is_own(line));
    // Without a filter, it is a remote end that hung up.
    let is_filter =
        name.is_some() || missing.is_some() || KNOWN.iter().any(|known| complaint.contains(known.program));
    is_filter.then_some(Failure { file, name, missing, said })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_is_told_by_its_name_its_program_and_what_it_said() {
        let cases = [
            (
                "Preparing worktree\ngit-lfs filter-process: 1: git-lfs: not found\nfatal: the remote end hung up unexpectedly",
                Some((None, Some("git-lfs"))),
            ),
            (
                "git-crypt smudge: line 1: git-crypt: command not found\nerror: external filter 'git-crypt smudge' failed 127\nfatal: a: smudge filter git-crypt failed",
                Some((Some("git-crypt"), Some("git-crypt"))),
            ),
            (
                "error: external filter 'own' failed 1\nfatal: a.bin: clean filter 'own' failed",
                Some((Some("own"), None)),
            ),
            (
                "Error downloading object: a.bin\ngit-lfs died\nfatal: the remote end hung up unexpectedly",
                Some((None, None)),
            ),
            ("fatal: the remote end hung up unexpectedly", None),
            ("bash: git-upload-pack: command not found\nfatal: the remote end hung up unexpectedly", None),
            ("fatal: not a git repository", None),
            ("", None),
        ];
        for (complaint, expected) in cases {
            let found = read(complaint).map(|failure| (failure.name, failure.missing));
            assert_eq!(found, expected, "{complaint}");
        }
    }

    #[test]
    fn what_to_install_is_said() {
        let complaint = "x: 1: git-lfs: not found\nfatal: the remote end hung up unexpectedly";
        let error = failure(Path::new("/r"), complaint).unwrap();
        assert!(error.message.contains("`git-lfs` is not on the PATH of the daemon"), "{error}");
        assert!(error.hint.unwrap().contains("apt install git-lfs"));
        let complaint =
            "git-crypt: Error: Unable to open key file\nfatal: a: clean filter 'git-crypt' failed";
        let error = failure(Path::new("/r"), complaint).unwrap();
        assert!(error.message.contains("`git-crypt`, and it failed: git-crypt: Error"), "{error}");
        assert!(error.hint.unwrap().contains("git crypt unlock"));
    }
}
