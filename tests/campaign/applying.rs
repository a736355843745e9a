//! SIGKILL at every step of an apply, of a discard, and of the adoption of an arena's entry: the next
//! start finishes it or takes it back, and nothing is left beside the person's files.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::points::APPLY;
use super::removal::Scene;
use super::site::{Site, git};
use crate::support::home::Setup;
use crate::support::wait::until;

/// At the first of these the files are not replaced yet; from it on an apply is finished.
const READY: &str = "swap.ready";

fn is_finished(point: &str) -> bool {
    let place = |name: &str| APPLY.iter().position(|point| *point == name).unwrap();
    place(point) >= place(READY)
}

/// What is beside the files of a directory, and nobody's.
fn left_beside(top: &Path) -> Vec<String> {
    let names = fs::read_dir(top).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.starts_with(".hob-swap-")).collect()
}

/// A worktree with three changes that nobody has committed.
fn changed(scene: &mut Scene) -> (Site, String) {
    let (site, session) = scene.site();
    site.write("README.md", "changed\n");
    site.write("src/deep/er/file", "changed\n");
    site.write("made/new", "new\n");
    (site, session)
}

#[test]
#[cfg_attr(not(feature = "campaign"), ignore = "needs the cargo feature `campaign`")]
fn an_apply_that_is_killed_is_finished_or_never_was() {
    let mut scene = Scene::set();
    for point in APPLY {
        let (site, session) = changed(&mut scene);
        scene.die(point, "change/apply", json!({"session": session}));
        let status = git(&site.repo, &["status", "--porcelain", "--untracked-files=all"]);
        let expected = if is_finished(point) { " M README.md\n M src/deep/er/file\n?? made/new" } else { "" };
        assert_eq!(status.trim_end(), expected, "{point}");
        assert_eq!(left_beside(&site.repo), [] as [&str; 0], "{point}");
        let pending = scene.daemon.rpc("change/list", json!({"session": session}));
        let n_pending = if is_finished(point) { 0 } else { 3 };
        assert_eq!(pending.as_array().unwrap().len(), n_pending, "{point}: {pending:#}");
        // Nothing stands in the way of another try.
        scene.daemon.rpc("change/apply", json!({"session": session}));
        assert_eq!(fs::read_to_string(site.repo.join("made/new")).unwrap(), "new\n");
    }
}

#[test]
#[cfg_attr(not(feature = "campaign"), ignore = "needs the cargo feature `campaign`")]
fn a_discard_that_is_killed_is_taken_back_or_done() {
    let mut scene = Scene::set();
    for point in APPLY.iter().filter(|point| !point.contains("record")) {
        let (site, session) = changed(&mut scene);
        scene.die(point, "change/discard", json!({"session": session}));
        let pending = scene.daemon.rpc("change/list", json!({"session": session}));
        let n_pending = pending.as_array().unwrap().len();
        // When what was there before is gone, it is done.
        let expected = if *point == "swap.half_settled" { 0 } else { 3 };
        assert_eq!(n_pending, expected, "{point}: {pending:#}");
        assert_eq!(left_beside(&site.tree), [] as [&str; 0], "{point}");
    }
}

fn adopting() -> Scene {
    let mut setup = Setup::new().config("[reaper]\ninterval = \"1h\"");
    for name in ["left", "right"] {
        let (program, state) = (env!("CARGO_BIN_EXE_hob"), setup.root().join(name));
        let env = format!("{{ WHO = \"{name}\", HOB_DEMO_STATE = \"{}\" }}", state.display());
        setup =
            setup.config(&format!("[agents.{name}]\ncommand = [\"{program}\", \"demo-agent\"]\nenv = {env}"));
    }
    Scene::with(setup)
}

#[test]
#[cfg_attr(not(feature = "campaign"), ignore = "needs the cargo feature `campaign`")]
fn an_adoption_that_is_killed_is_applied_and_decided_or_neither() {
    let mut scene = adopting();
    for (n, point) in APPLY.iter().enumerate() {
        let repo = scene.daemon.repo(&format!("repo-{n}"));
        let asked =
            json!({"agents": ["left", "right"], "prompt": "shell: echo $WHO > who.txt", "repo": repo.str()});
        let arena = scene.daemon.rpc("arena/start", asked)["id"].as_str().unwrap().to_owned();
        let show = |scene: &Scene| scene.daemon.rpc("arena/show", json!({"arena": arena}));
        until("both to end", || {
            let row = show(&scene);
            let is_over = |entry: &Value| entry["state"] == "completed";
            row["entries"].as_array().unwrap().iter().all(is_over).then_some(())
        });
        scene.die(point, "arena/adopt", json!({"arena": arena, "agent": "left"}));
        let row = show(&scene);
        let applied = fs::read_to_string(repo.path.join("who.txt")).unwrap_or_default();
        let expected = if is_finished(point) { ("adopted", "left\n") } else { ("open", "") };
        assert_eq!((row["state"].as_str().unwrap(), applied.as_str()), expected, "{point}");
        assert_eq!(left_beside(&repo.path), [] as [&str; 0], "{point}");
        if row["state"] == "open" {
            scene.daemon.rpc("arena/adopt", json!({"arena": arena, "agent": "left"}));
        }
    }
}
