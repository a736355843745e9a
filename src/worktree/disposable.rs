//! Directories whose ignored content can be made again: by their names, by what makes them, and by what it
//! puts there. The rule is pure; the one look at the disk is beside it.
//!
//! A name alone says little: `src/target/mod.rs` is somebody's work, and `target/debug` beside a
//! `Cargo.toml` is not. A name that a person configured, and whose maker is not known here, is taken by
//! the person's word.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};

/// What lies in a directory of caches that says so itself.
const CACHE_TAG: &str = "CACHEDIR.TAG";
/// What builds into `target`, by what it reads.
const BUILDS: [&str; 3] = ["Cargo.toml", "pom.xml", "build.sbt"];

type Names = BTreeSet<OsString>;

/// What makes the content of a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Maker {
    /// Cargo and its like.
    Build,
    /// npm and its like.
    Packages,
    /// Python, an environment.
    Environment,
    /// Python, compiled modules.
    Compiled,
    /// Whatever the person thought of.
    Configured,
}

/// What makes a directory of this name again, with these names beside it and these in it.
fn maker(name: &OsStr, beside: &Names, inside: &Names) -> Option<Maker> {
    let has = |names: &Names, wanted: &str| names.contains(OsStr::new(wanted));
    let is_python = |name: &OsString| Path::new(name).extension() == Some(OsStr::new("py"));
    let (maker, is_there) = match name.to_str() {
        Some("target") => {
            let is_built = BUILDS.iter().any(|build| has(beside, build)) || has(inside, CACHE_TAG);
            (Maker::Build, is_built)
        }
        Some("node_modules") => (Maker::Packages, has(beside, "package.json")),
        Some(".venv") => (Maker::Environment, has(inside, "pyvenv.cfg")),
        Some("__pycache__") => (Maker::Compiled, beside.iter().any(is_python)),
        _ => (Maker::Configured, true),
    };
    is_there.then_some(maker)
}

/// Whether a maker puts something there, by its path in the directory. What lies directly in it is made
/// only if it is known; a build, and a manager of packages, have directories of their own.
fn makes(maker: Maker, path: &Path) -> bool {
    let name = path.file_name().and_then(OsStr::to_str).unwrap_or_default();
    let is_below = path.components().count() > 1;
    let is_hidden = name.starts_with('.') || name == CACHE_TAG;
    match maker {
        Maker::Build | Maker::Packages => is_below || is_hidden,
        Maker::Environment => is_below || is_hidden || matches!(name, "pyvenv.cfg" | "lib64"),
        Maker::Compiled => name.ends_with(".pyc") || name.ends_with(".pyo"),
        Maker::Configured => true,
    }
}

/// A directory whose ignored content can be made again.
#[derive(Debug, Clone)]
pub(super) struct Disposable {
    maker: Maker,
    folder: PathBuf,
}

impl Disposable {
    /// A directory, if it is one: `folder` from the top, with these names beside it.
    pub(super) fn of(top: &Path, folder: &Path, configured: &[String], beside: &Names) -> Option<Self> {
        let name = folder.file_name()?;
        if !configured.iter().any(|configured| name == configured.as_str()) {
            return None;
        }
        // What cannot be read says nothing of what makes it.
        let inside = fs::read_dir(top.join(folder)).into_iter().flatten().flatten();
        let inside = inside.map(|entry| entry.file_name()).collect();
        maker(name, beside, &inside).map(|maker| Self { maker, folder: folder.to_owned() })
    }

    /// Whether something in it, by its path from the top, can be made again.
    pub(super) fn makes(&self, path: &Path) -> bool {
        path.strip_prefix(&self.folder).is_ok_and(|path| makes(self.maker, path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Names {
        names.iter().map(OsString::from).collect()
    }

    #[test]
    fn a_name_counts_where_what_makes_it_is_there() {
        use Maker::{Build, Compiled, Configured, Environment, Packages};
        for (name, beside, inside, made_by) in [
            ("target", &["Cargo.toml"][..], &["debug"][..], Some(Build)),
            ("target", &["pom.xml"], &["classes"], Some(Build)),
            ("target", &["lib.rs"], &["CACHEDIR.TAG"], Some(Build)),
            ("target", &["lib.rs"], &["mod.rs"], None),
            ("target", &[], &[], None),
            ("node_modules", &["package.json"], &["left-pad"], Some(Packages)),
            ("node_modules", &["index.js"], &["left-pad"], None),
            (".venv", &["main.py"], &["pyvenv.cfg", "bin"], Some(Environment)),
            (".venv", &["main.py"], &["notes.md"], None),
            ("__pycache__", &["a.py"], &["a.pyc"], Some(Compiled)),
            ("__pycache__", &["a.rs"], &["a.pyc"], None),
            ("dist", &[], &["anything"], Some(Configured)),
        ] {
            assert_eq!(maker(OsStr::new(name), &names(beside), &names(inside)), made_by, "{name} {beside:?}");
        }
    }

    #[test]
    fn what_no_maker_puts_there_is_somebodys() {
        for (maker, path, is_made) in [
            (Maker::Build, "debug/deps/a.o", true),
            (Maker::Build, ".rustc_info.json", true),
            (Maker::Build, "CACHEDIR.TAG", true),
            (Maker::Build, "notes.md", false),
            (Maker::Packages, "left-pad/index.js", true),
            (Maker::Packages, ".package-lock.json", true),
            (Maker::Packages, "patch.js", false),
            (Maker::Environment, "bin/python", true),
            (Maker::Environment, "pyvenv.cfg", true),
            (Maker::Environment, "plan.md", false),
            (Maker::Compiled, "a.cpython-312.pyc", true),
            (Maker::Compiled, "a.py", false),
            (Maker::Configured, "anything", true),
        ] {
            assert_eq!(makes(maker, Path::new(path)), is_made, "{maker:?} {path}");
        }
    }
}
