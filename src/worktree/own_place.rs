//! Whether git itself takes a new worktree for what it is. Settings that all worktrees of a repository
//! share can lead git elsewhere from it: to the directory of a submodule, or to none. Then the worktree
//! gets settings of its own, or is not made.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use super::error::{WorktreeError, shell};
use super::git_program::{Call, Git};
use super::source::{Source, path_from};
use super::undo::Names;

/// What git is asked: the top of the working tree, its own git directory, and the shared one.
const QUESTION: [&str; 5] =
    ["rev-parse", "--path-format=absolute", "--show-toplevel", "--absolute-git-dir", "--git-common-dir"];

/// Sees to it that git takes the directory for the top of a worktree, with the entry that was made for it.
///
/// # Errors
/// `Unsupported`, with what git takes it for. Without the program nobody is led elsewhere by it.
pub(super) fn settle(source: &Source<'_>, names: &Names) -> Result<(), WorktreeError> {
    let Ok(git) = &source.git else { return Ok(()) };
    if is_own(git, source, names)? {
        return Ok(());
    }
    if has_own_settings(git, names)? {
        let file = names.admin.join("config.worktree");
        for (key, value) in
            [("core.worktree", names.path.clone().into_os_string()), ("core.bare", "false".into())]
        {
            // From a directory that is no repository's, so that nothing of this one is read.
            let mut call = Call::ask(Path::new("/"), &["config", "--file"]);
            call.args.extend([file.clone().into_os_string(), OsString::from(key), value]);
            git.run(&call)?;
        }
        if is_own(git, source, names)? {
            return Ok(());
        }
    }
    let told = answer(git, names)?.and_then(|lines| lines.into_iter().next());
    let what = match told {
        Some(top) => format!("settings by which git takes `{}` for the top of a new worktree", top.display()),
        None => "settings by which git finds no working tree in a new worktree".to_owned(),
    };
    let hint = format!("git -C {} config --list --show-origin", shell(&source.top));
    Err(WorktreeError::unsupported(&what, &source.top, "work in it would go elsewhere").hint(hint))
}

fn is_own(git: &Git, source: &Source<'_>, names: &Names) -> Result<bool, WorktreeError> {
    let expected = [&names.path, &names.admin, &source.common_dir].map(|path| fs::canonicalize(path).ok());
    let Some(told) = answer(git, names)? else { return Ok(false) };
    let told: Vec<_> = told.iter().map(|path| fs::canonicalize(path).ok()).collect();
    Ok(told == expected && !told.contains(&None))
}

/// What git says of the directory; `None` if it finds no working tree there.
fn answer(git: &Git, names: &Names) -> Result<Option<Vec<PathBuf>>, WorktreeError> {
    let Some(mut out) = git.probe(&Call::ask(&names.path, &QUESTION))? else { return Ok(None) };
    // A path may have ends of lines in it: then it is asked for alone.
    if out.iter().filter(|byte| **byte == b'\n').count() == 3 {
        out.pop();
        return Ok(Some(out.split(|byte| *byte == b'\n').map(|line| path_from(line.to_vec())).collect()));
    }
    let mut found = Vec::new();
    for question in &QUESTION[2..] {
        found.push(path_from(git.line(&Call::ask(&names.path, &[QUESTION[0], QUESTION[1], question]))?));
    }
    Ok(Some(found))
}

/// Whether each worktree of the repository may have settings of its own.
fn has_own_settings(git: &Git, names: &Names) -> Result<bool, WorktreeError> {
    let file = names.admin.join("../../config");
    let mut call = Call::ask(Path::new("/"), &["config", "--type=bool", "--file"]);
    call.args.extend([file.into_os_string(), "extensions.worktreeConfig".into()]);
    Ok(git.probe(&call)?.is_some_and(|out| out.starts_with(b"true")))
}
