//! The settings that git keeps for one worktree alone. Without them a sparse checkout is none, and what
//! was changed in a file that it leaves out is not seen any more.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use super::manifest::{path, text};
use crate::regular;
use crate::worktree::error::WorktreeError;

/// The files, in the git directory of the worktree (gitrepository-layout(5)).
const FILES: [&str; 2] = ["config.worktree", "info/sparse-checkout"];
/// A longer one is left out; these are some lines each.
const BYTES_MAX: u64 = 1 << 20;

/// Every one that there is, as text that can be read back.
pub(super) fn read(admin: &Path, left_out: &mut Vec<String>) -> BTreeMap<String, String> {
    let mut settings = BTreeMap::new();
    for name in FILES {
        match regular::read_up_to(&admin.join(name), BYTES_MAX) {
            Ok(bytes) => drop(settings.insert(name.to_owned(), text(&bytes))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => left_out.push(format!("{name} of the git directory: {error}")),
        }
    }
    settings
}

/// Writes them again.
pub(super) fn write(admin: &Path, settings: &BTreeMap<String, String>) -> Result<(), WorktreeError> {
    for name in FILES {
        let Some(bytes) = settings.get(name) else { continue };
        let file = admin.join(name);
        let above = file.parent().unwrap_or(admin);
        fs::create_dir_all(above)
            .and_then(|()| fs::write(&file, path(bytes)))
            .map_err(|error| WorktreeError::io("write", &file, &error))?;
    }
    Ok(())
}
