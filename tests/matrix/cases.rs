//! The states that a worktree can be in, by what a look at it must find.

mod commits;
mod files;
mod hidden;
mod moved;
mod operations;
mod places;
mod safe;

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::time::{Duration, SystemTime};

use super::site::{Site, git, try_git};

/// What a case needs that not every machine has.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    Nothing,
    /// To mount.
    Root,
    /// To be refused something by permission bits.
    NoRoot,
}

/// One state.
pub struct Case {
    pub name: &'static str,
    /// Makes the repository.
    pub prepare: fn(&Site),
    /// Makes the state, in the worktree.
    pub make: fn(&Site),
    /// Kinds of reasons that must be found; nothing at all if it is empty.
    pub kinds: &'static [&'static str],
    pub needs: Needs,
    /// It is made with what is uncommitted in the checkout.
    pub carries: bool,
}

fn plain(site: &Site) {
    site.ordinary(&[]);
}

fn with_remote(site: &Site) {
    site.ordinary(&[]);
    site.remote();
}

const fn case(name: &'static str, make: fn(&Site), kinds: &'static [&'static str]) -> Case {
    Case { name, prepare: plain, make, kinds, needs: Needs::Nothing, carries: false }
}

const fn of(prepare: fn(&Site), mut case: Case) -> Case {
    case.prepare = prepare;
    case
}

const fn carried(mut case: Case) -> Case {
    case.prepare = edited;
    case.carries = true;
    case
}

const fn needs(needs: Needs, mut case: Case) -> Case {
    case.needs = needs;
    case
}

/// Every state.
pub fn all() -> Vec<Case> {
    let mut all = safe::safe();
    all.extend(files::files());
    all.extend(hidden::hidden());
    all.extend(commits::commits());
    all.extend(operations::operations());
    all.extend(places::places());
    all.extend(moved::moved());
    all.extend(repositories());
    all
}

fn nothing(_: &Site) {}

/// With uncommitted work of the person's: an edit, a removal, a new file.
fn edited(site: &Site) {
    site.ordinary(&[]);
    site.write_repo("README.md", "mine\n");
    site.write_repo("notes.txt", "mine\n");
    fs::remove_file(site.repo.join("run.sh")).unwrap();
}

// ---------------------------------------------------------------------------------------------
// Repositories of other kinds

fn crlf(site: &Site) {
    site.ordinary(&[]);
    site.write_repo(".gitattributes", "*.txt text eol=crlf\n");
    site.write_repo("text.txt", "a\r\nb\r\n");
    git(&site.repo, &["add", "."]);
    git(&site.repo, &["commit", "--quiet", "-m", "with both"]);
}

/// As a checkout copied from a machine where names do not differ by case.
fn folding(site: &Site) {
    site.ordinary(&[]);
    git(&site.repo, &["config", "core.ignorecase", "true"]);
}

fn encoded(site: &Site) {
    site.ordinary(&[]);
    site.write_repo(".gitattributes", "*.utf16 text working-tree-encoding=UTF-16LE\n");
    site.write_repo("text.utf16", b"a\0\n\0");
    git(&site.repo, &["add", "."]);
    git(&site.repo, &["commit", "--quiet", "-m", "another encoding"]);
}

fn lfs(site: &Site) {
    site.ordinary(&[]);
    // What `git lfs` would keep of "the real content\n".
    let oid = "06ee9ddab3f4df0bbb21d01a59c3c4b6ee20c0ddb36ce62cf2bb7f5a4a0ac0d3";
    let oid = sha256_of("the real content\n").unwrap_or_else(|| oid.to_owned());
    let pointer = format!("version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\nsize 17\n");
    site.write_repo("data.bin", pointer);
    git(&site.repo, &["add", "."]);
    git(&site.repo, &["commit", "--quiet", "-m", "a pointer"]);
}

fn sha256_of(text: &str) -> Option<String> {
    use sha2::{Digest, Sha256};
    Some(data_encoding::HEXLOWER.encode(&Sha256::digest(text)))
}

fn submodule(site: &Site) {
    site.ordinary(&[]);
    let library = site.dir.join("library");
    fs::create_dir(&library).unwrap();
    git(&library, &["init", "--quiet"]);
    fs::write(library.join("lib"), "lib\n").unwrap();
    git(&library, &["add", "."]);
    git(&library, &["commit", "--quiet", "-m", "lib"]);
    git(&site.repo, &["submodule", "--quiet", "add", library.to_str().unwrap(), "library"]);
    git(&site.repo, &["commit", "--quiet", "-m", "a submodule"]);
}

fn built(site: &Site) {
    site.write("target/debug/deps/a.o", "object");
    site.write("target/debug/:odd *.o", "object");
    site.write("node_modules/left-pad/index.js", "pad");
    site.write("src/__pycache__/x.pyc", "code");
}

/// A name that is disposable, and work below it that git does not ignore.
fn deployed(site: &Site) {
    site.write(".gitignore", "*.ignored\n");
    site.git(&["commit", "--quiet", "-am", "another .gitignore"]);
    git(&site.repo, &["merge", "--quiet", "--ff-only", &site.branch()]);
    site.write("deploy/target/prod.tf", "mine\n");
    site.write("deploy/target/prod.ignored", "made\n");
}

fn checked_out(site: &Site) {
    site.git(&["submodule", "--quiet", "update", "--init"]);
}

fn committed_in_submodule(site: &Site) {
    checked_out(site);
    site.write("library/lib", "changed\n");
    git(&site.tree.join("library"), &["commit", "--quiet", "-am", "unpublished"]);
}

fn cloned(site: &Site, how: &[&str]) {
    let upstream = Site::new(site.dir.join("upstream"));
    upstream.ordinary(&[]);
    for n in 0..3 {
        upstream.write_repo("more", format!("{n}\n"));
        git(&upstream.repo, &["add", "."]);
        git(&upstream.repo, &["commit", "--quiet", "-m", "more"]);
    }
    git(&upstream.repo, &["config", "uploadpack.allowFilter", "true"]);
    let url = format!("file://{}", upstream.repo.display());
    git(&site.dir, &[&["clone", "--quiet"], how, &[&url, "repo"]].concat());
}

fn shallow(site: &Site) {
    cloned(site, &["--depth=1"]);
}

fn partial(site: &Site) {
    cloned(site, &["--filter=blob:none"]);
}

fn reftable(site: &Site) {
    site.ordinary(&["--ref-format=reftable"]);
}

fn sha256(site: &Site) {
    site.ordinary(&["--object-format=sha256"]);
}

fn repositories() -> Vec<Case> {
    vec![
        of(submodule, case("a submodule that is checked out", checked_out, &["nested_repo"])),
        of(
            submodule,
            case(
                "a dirty submodule",
                |s| {
                    checked_out(s);
                    s.write("library/lib", "changed\n");
                },
                &["nested_repo"],
            ),
        ),
        of(submodule, case("a submodule with a commit of its own", committed_in_submodule, &["nested_repo"])),
        of(
            submodule,
            case(
                "a submodule with a commit of its own, put away",
                |s| {
                    committed_in_submodule(s);
                    s.git(&["submodule", "--quiet", "deinit", "--force", "library"]);
                },
                &["nested_repo"],
            ),
        ),
        of(
            submodule,
            case(
                "a submodule with a commit of its own, its checkout removed",
                |s| {
                    committed_in_submodule(s);
                    fs::remove_dir_all(s.tree.join("library")).unwrap();
                },
                &["nested_repo"],
            ),
        ),
        of(shallow, case("committed in a shallow clone", |s| s.commit("work"), &["unpushed"])),
        of(partial, case("changed in a partial clone", |s| s.write("more", "mine\n"), &["dirty"])),
        of(reftable, case("changed in a reftable repository", |s| s.write("run.sh", "x"), &["dirty"])),
        of(reftable, case("untracked in a reftable repository", |s| s.write("new", "x"), &["untracked"])),
        of(
            reftable,
            case("not ignored in a reftable repository, with a disposable name", deployed, &["untracked"]),
        ),
        of(sha256, case("changed in a sha256 repository", |s| s.write("run.sh", "x"), &["dirty"])),
        of(sha256, case("untracked in a sha256 repository", |s| s.write("new", "x"), &["untracked"])),
        case(
            "a sparse checkout, with a change",
            |s| {
                s.git(&["sparse-checkout", "set", "--cone", "src"]);
                s.write("src/lib.rs", "fn other() {}\n");
            },
            &["dirty"],
        ),
        case(
            "a sparse checkout",
            |s| {
                s.git(&["sparse-checkout", "set", "--cone", "src"]);
            },
            &[],
        ),
    ]
}
