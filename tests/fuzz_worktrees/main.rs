//! Random histories of git and file operations in a worktree, then what the reaper does to it, then its
//! way back: nothing may be missing, neither from the trash nor from the salvage alone.
//!
//! `cargo test` runs a few with a printed seed; `HOB_FUZZ_HISTORIES=1000` runs many, `HOB_FUZZ_SEED`
//! repeats a seed.

#![expect(clippy::unwrap_used, reason = "in a test a panic is the report")]
#![expect(clippy::disallowed_methods, reason = "tests start programs and look again, the product does not")]
#![expect(unreachable_pub, reason = "a program whose modules are each other's library")]

#[path = "../matrix/site.rs"]
#[expect(dead_code, reason = "it holds what the matrix needs as well")]
mod site;

mod steps;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use fastrand::Rng;
use hob::worktree::{CreateRequest, Known, Worktrees};

use site::Site;

/// Histories where nothing is said.
const HISTORIES: u64 = 20;
/// Steps of one, at most.
const STEPS_MAX: usize = 14;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// Another git that prunes the repository all the while.
struct Pruning {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Pruning {
    fn begin(repo: &Path) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (repo, stopped) = (repo.to_owned(), Arc::clone(&stop));
        let thread = thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                site::try_git(&repo, &["prune", "--expire=now"]);
            }
        });
        Self { stop, thread: Some(thread) }
    }
}

impl Drop for Pruning {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

/// A repository with settings that make git see other files than the disk has.
fn prepare(site: &Site, rng: &mut Rng) {
    site.ordinary(&[]);
    site.write_repo(".gitattributes", "*.utf16 text working-tree-encoding=UTF-16LE\n");
    site::git(&site.repo, &["add", "."]);
    site::git(&site.repo, &["commit", "--quiet", "-m", "attributes"]);
    for setting in ["core.ignorecase", "core.precomposeunicode", "index.sparse"] {
        let value = if rng.u8(..4) == 0 { "true" } else { "false" };
        site::git(&site.repo, &["config", setting, value]);
    }
    // What may be carried along.
    site.write_repo("run.sh", "#!/bin/sh\necho carried\n");
    site.write_repo("notes.txt", "carried\n");
}

/// A step of git's or of the file system's, or one of hob's own.
async fn step(site: &Site, worktrees: &Worktrees, known: &Known, rng: &mut Rng) -> String {
    match rng.u8(..12) {
        0 => format!("put away ({})", worktrees.stash(known, None).await.is_ok()),
        1 => format!("bring back ({})", worktrees.unstash(known, None).await.is_ok()),
        _ => steps::step(site, rng),
    }
}

async fn make(site: &mut Site, worktrees: &Worktrees, carry_changes: bool) -> Known {
    let located = worktrees.locate(&site.repo).await.unwrap();
    let common_dir = located.common_dir.clone();
    let request = CreateRequest { id: "w-fuzz".into(), located, base: None, carry_changes };
    let created = worktrees.create(request).await.unwrap();
    (site.tree, site.id) = (created.path.clone(), "w-fuzz".to_owned());
    Known {
        id: "w-fuzz".into(),
        path: created.path,
        branch: created.branch,
        base_commit: created.base_commit,
        common_dir,
        top: site.repo.clone(),
        identity: created.identity,
        baseline: None,
        made_with: None,
    }
}

/// What git says of index and HEAD, without times.
fn said(site: &Site) -> Vec<String> {
    let ask = |arguments: &[&str]| {
        let output = site::try_git(&site.tree, arguments);
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    vec![
        ask(&["ls-files", "--stage"]),
        ask(&["ls-files", "-v"]),
        ask(&["rev-parse", "HEAD"]),
        ask(&["symbolic-ref", "--quiet", "HEAD"]),
        ask(&["diff", "--cached", "--name-status"]),
    ]
}

/// What differs, but for what cannot be in a tree: directories, and what git itself writes anew.
fn missing(before: &BTreeMap<String, String>, after: &BTreeMap<String, String>, all: bool) -> Vec<String> {
    let is_of_git = |name: &str| name == "index" || name == "file .git" || name == "file ";
    // A pipe is in no salvage, which says so.
    let is_special = |was: &str| was.starts_with("4") || was.starts_with("10") && !was.starts_with("100");
    let wanted = before.iter().filter(|(name, was)| all || (!is_of_git(name) && !is_special(was)));
    let lost = wanted.filter(|(name, was)| after.get(*name) != Some(was));
    lost.map(|(name, was)| format!("{name}: {was:.80} is {:?}", after.get(name))).collect()
}

async fn history(seed: u64) -> Result<(), String> {
    let dir = tempfile::tempdir().unwrap();
    let mut rng = Rng::with_seed(seed);
    let mut site = Site::new(dir.path().join("site"));
    prepare(&site, &mut rng);
    let worktrees = Worktrees::new(site.dir.join("worktrees"), Arc::new(Vec::new));
    let mut known = make(&mut site, &worktrees, rng.bool()).await;
    let mut done = Vec::new();
    for _ in 0..rng.usize(1..=STEPS_MAX) {
        done.push(step(&site, &worktrees, &known, &mut rng).await);
    }
    let (manifest, told) = (site.manifest(), said(&site));
    // Asking may have refreshed the times in the index.
    let manifest = BTreeMap::from_iter(manifest.into_iter().chain([("index".to_owned(), index(&site))]));
    let failed = |what: &str, why: String| format!("seed {seed}: {what}: {why}\nafter {done:#?}");
    let disposable = ["target".to_owned()];
    let _pruning = (rng.u8(..4) == 0).then(|| Pruning::begin(&site.repo));

    let salvaged = worktrees.salvage(&known, &disposable).await.map_err(|e| failed("salvage", e.message))?;
    worktrees.to_trash(&known, &salvaged).await.map_err(|e| failed("to the trash", e.message))?;
    worktrees.restore(&known).await.map_err(|e| failed("restore from the trash", e.message))?;
    let lost = missing(&manifest, &site.manifest(), true);
    if !lost.is_empty() {
        return Err(failed("lost on the way to the trash and back", lost.join("\n")));
    }

    let salvaged =
        worktrees.salvage(&known, &disposable).await.map_err(|e| failed("salvage again", e.message))?;
    worktrees.to_trash(&known, &salvaged).await.map_err(|e| failed("to the trash again", e.message))?;
    worktrees.purge(&known).await.map_err(|e| failed("purge", e.message))?;
    assert!(!Path::new(&known.path).exists());
    let back = worktrees.restore(&known).await.map_err(|e| failed("restore from the salvage", e.message))?;
    known.identity = back.identity;
    let lost = missing(&manifest, &site.manifest(), false);
    if !lost.is_empty() {
        return Err(failed("not in the salvage", lost.join("\n")));
    }
    let lost = worktrees.heal(known.common_dir.clone()).await.map_err(|e| failed("heal", e.message))?;
    let is_kept = |text: &String| text.contains("refs/hob/salvage") || text.contains("refs/hob/stash");
    if let Some(lost) = lost.into_iter().find(is_kept) {
        return Err(failed("a ref of ours lost something", lost));
    }
    let now = said(&site);
    if now != told {
        return Err(failed("the index or HEAD is another", format!("{told:#?}\nis\n{now:#?}")));
    }
    Ok(())
}

fn index(site: &Site) -> String {
    std::fs::read(site.admin().join("index")).unwrap_or_default().escape_ascii().to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_missing_after_the_trash_and_after_the_purge() {
    let seed = number("HOB_FUZZ_SEED").unwrap_or_else(|| fastrand::u64(..1 << 40));
    let n_histories = number("HOB_FUZZ_HISTORIES").unwrap_or(HISTORIES);
    eprintln!("HOB_FUZZ_SEED={seed}, {n_histories} histories");
    let mut failures = Vec::new();
    for n in 0..n_histories {
        failures.extend(history(seed + n).await.err());
    }
    assert!(failures.is_empty(), "{} of {n_histories}:\n{}", failures.len(), failures.join("\n\n"));
}
