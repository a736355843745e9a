//! Decides with what a worktree is made: libgit2, the `git` program, or not at all. Pure.
//!
//! libgit2 is inside us and runs nothing, so it is the first choice; it cannot do everything, and
//! it writes large trees more slowly than the program (measured, see [`PROGRAM_FILES_MIN`]).

/// Tracked files from which the `git` program, where it is good enough, is preferred.
///
/// Medians of seven, release build, two busy cores, a packed repository of files of 4 KiB in 100
/// directories, libgit2 and `git` 2.47: 1,000 files 152 and 139 ms, 5,000 files 329 and 167 ms,
/// 20,000 files 1,375 and 867 ms. (With loose objects there is no difference worth a process:
/// 5,000 files 230 and 252 ms.)
pub const PROGRAM_FILES_MIN: usize = 2_000;

/// The oldest `git` that is used.
pub const GIT_VERSION_MIN: (u32, u32) = (2, 40);

/// What there is of a `git` program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GitFact {
    /// None was found: says where it was looked for.
    Missing(String),
    /// One that is older than [`GIT_VERSION_MIN`]: its version.
    TooOld(String),
    /// One that can be used.
    Ready,
}

/// What is known of a repository before a worktree is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// Its references are in a reftable.
    pub reftable: bool,
    /// Its objects are named by SHA-256.
    pub sha256: bool,
    /// Objects may be missing here and have to be fetched.
    pub partial: bool,
    /// The checkout shows only a part of the tree.
    pub sparse: bool,
    /// `core.worktree` is set, as in a submodule.
    pub moved: bool,
    /// Filter drivers that attributes ask for and the configuration defines.
    pub filters: Vec<String>,
    /// An attribute asks for a `working-tree-encoding`.
    pub encoding: bool,
    /// Contents are written otherwise than they are kept: with other ends of lines, or with their name.
    pub conversion: bool,
    /// Something else that libgit2 gave for a reason not to open it.
    pub unreadable: Option<String>,
    /// A setting that could run a program appeared since we first saw the repository.
    pub unrecorded: Option<String>,
    /// Files in the tree of the base; 0 where it was not counted.
    pub files: usize,
    /// The `git` program.
    pub git: GitFact,
}

impl Default for Facts {
    fn default() -> Self {
        Self {
            reftable: false,
            sha256: false,
            partial: false,
            sparse: false,
            moved: false,
            filters: Vec::new(),
            encoding: false,
            conversion: false,
            unreadable: None,
            unrecorded: None,
            files: 0,
            git: GitFact::Ready,
        }
    }
}

/// What makes the worktree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// libgit2, in this process.
    Git2,
    /// The `git` program.
    Program,
}

/// The decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Choice {
    /// Make it so.
    Use(Method),
    /// Neither can: by the name of what the repository uses, and why the program cannot help.
    Refused {
        /// What the repository uses.
        what: String,
        /// Why that cannot be served.
        why: String,
    },
}

/// Decides.
#[must_use]
pub fn choose(facts: &Facts) -> Choice {
    let Some(what) = beyond_libgit2(facts) else {
        // What git converts, git undoes: better the same program both ways.
        let worth_it = (facts.files >= PROGRAM_FILES_MIN || facts.conversion) && facts.git == GitFact::Ready;
        return Choice::Use(if worth_it { Method::Program } else { Method::Git2 });
    };
    let (major, minor) = GIT_VERSION_MIN;
    let why = match (&facts.git, &facts.unrecorded) {
        (GitFact::Ready, None) => return Choice::Use(Method::Program),
        (GitFact::Ready, Some(setting)) => {
            format!("its setting `{setting}` appeared after hob first saw the repository and is not trusted")
        }
        (GitFact::Missing(place), _) => {
            format!("that needs the `git` program, {major}.{minor} or newer, and none is on {place}")
        }
        (GitFact::TooOld(version), _) => {
            format!("that needs the `git` program, {major}.{minor} or newer, and the one here is {version}")
        }
    };
    Choice::Refused { what, why }
}

/// Whether libgit2 is not to be used on the repository at all.
#[must_use]
pub fn needs_program(facts: &Facts) -> bool {
    beyond_libgit2(facts).is_some()
}

/// The first thing that libgit2 cannot do.
fn beyond_libgit2(facts: &Facts) -> Option<String> {
    if facts.sha256 {
        return Some("sha256 object names".to_owned());
    }
    if facts.reftable {
        return Some("the reftable format".to_owned());
    }
    if facts.partial {
        return Some("a partial clone".to_owned());
    }
    if facts.sparse {
        return Some("a sparse checkout".to_owned());
    }
    if !facts.filters.is_empty() {
        let drivers = if facts.filters.len() == 1 { "driver" } else { "drivers" };
        return Some(format!("the filter {drivers} `{}`", facts.filters.join("`, `")));
    }
    if facts.encoding {
        return Some("the attribute `working-tree-encoding`".to_owned());
    }
    if facts.moved {
        return Some("the setting `core.worktree`".to_owned());
    }
    facts.unreadable.clone()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(facts: &Facts) -> (String, String) {
        match choose(facts) {
            Choice::Refused { what, why } => (what, why),
            Choice::Use(method) => panic!("{facts:?} used {method:?}"),
        }
    }

    /// Every fact that is beyond libgit2, with the word by which it is refused.
    fn needs() -> Vec<(Facts, &'static str)> {
        let base = Facts::default;
        vec![
            (Facts { sha256: true, ..base() }, "sha256"),
            (Facts { reftable: true, ..base() }, "reftable"),
            (Facts { partial: true, ..base() }, "partial"),
            (Facts { sparse: true, ..base() }, "sparse"),
            (Facts { filters: vec!["lfs".into()], ..base() }, "`lfs`"),
            (Facts { encoding: true, ..base() }, "working-tree-encoding"),
            (Facts { moved: true, ..base() }, "core.worktree"),
            (Facts { unreadable: Some("an unknown extension".into()), ..base() }, "extension"),
        ]
    }

    #[test]
    fn a_plain_repository_is_made_by_libgit2_and_a_large_one_by_the_program() {
        let small = Facts { files: PROGRAM_FILES_MIN - 1, ..Facts::default() };
        let large = Facts { files: PROGRAM_FILES_MIN, ..Facts::default() };
        assert_eq!(choose(&small), Choice::Use(Method::Git2));
        assert_eq!(choose(&large), Choice::Use(Method::Program));
    }

    #[test]
    fn a_large_one_without_a_good_program_is_made_by_libgit2() {
        for git in [GitFact::Missing("PATH".into()), GitFact::TooOld("2.30.1".into())] {
            let facts = Facts { files: 1 << 20, git, ..Facts::default() };
            assert_eq!(choose(&facts), Choice::Use(Method::Git2));
        }
    }

    #[test]
    fn what_libgit2_cannot_do_is_done_by_the_program() {
        for (facts, _) in needs() {
            assert_eq!(choose(&facts), Choice::Use(Method::Program), "{facts:?}");
        }
    }

    #[test]
    fn without_a_good_program_it_is_refused_by_name() {
        for (facts, name) in needs() {
            let missing = Facts { git: GitFact::Missing("/nowhere".into()), ..facts.clone() };
            let (what, why) = refused(&missing);
            assert!(what.contains(name) && why.contains("/nowhere"), "{what}: {why}");
            let old = Facts { git: GitFact::TooOld("2.30.1".into()), ..facts };
            let (what, why) = refused(&old);
            assert!(what.contains(name) && why.contains("2.30.1"), "{what}: {why}");
        }
    }

    #[test]
    fn a_setting_that_appeared_later_stops_the_program_only_where_it_would_be_read() {
        let unrecorded = Some("filter.x.smudge".to_owned());
        let plain = Facts { unrecorded: unrecorded.clone(), ..Facts::default() };
        assert_eq!(choose(&plain), Choice::Use(Method::Git2));
        let filtered = Facts { filters: vec!["x".into()], unrecorded, ..Facts::default() };
        assert!(refused(&filtered).1.contains("filter.x.smudge"));
    }
}
