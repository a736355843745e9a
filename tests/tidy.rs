//! House rules that no lint knows: what a file begins with and how long it is, which layer may
//! name what, and that the documents speak of files that exist. Runs nothing of hob's.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// A file longer than this does more than one thing.
const FILE_LINES_MAX: usize = 400;
/// Where Rust lies.
const RUST_FOLDERS: [&str; 4] = ["src", "actors", "tests", "benches"];
/// What the core may depend on.
const CORE_DEPENDENCIES: [&str; 4] = ["ractor", "thiserror", "tokio", "tracing"];
/// Where a process other than an agent may be started, besides `src/backend/process`.
const MAY_START_PROGRAMS: [&str; 7] = [
    "src/backend/process",
    "src/backend/demo_agent/shell.rs",
    "src/worktree/git_program.rs",
    "src/cli/pager.rs",
    "src/cli/start.rs",
    "src/daemon/init.rs",
    "src/sys.rs",
];
/// Folders whose content the documents may name.
const NAMED_FOLDERS: [&str; 8] =
    ["src/", "actors/", "docs/", "tests/", "migrations/", "benches/", ".ci/", ".cargo/"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// All files below a folder with that extension, relative to the root, in order.
fn files(folder: &str, extension: &str) -> Vec<PathBuf> {
    let built = |name: &str| name == "target" || name == "node_modules";
    let entries = walkdir::WalkDir::new(root().join(folder)).sort_by_file_name().into_iter();
    let entries = entries.filter_entry(|entry| !entry.file_name().to_str().is_some_and(built));
    // A folder that does not exist has no files; that it must exist is said elsewhere.
    let paths = entries.filter_map(Result::ok).map(walkdir::DirEntry::into_path);
    let wanted = paths.filter(|path| path.extension().is_some_and(|found| found == extension));
    wanted.filter_map(|path| path.strip_prefix(root()).map(Path::to_owned).ok()).collect()
}

fn rust_files() -> Vec<PathBuf> {
    RUST_FOLDERS.iter().flat_map(|folder| files(folder, "rs")).collect()
}

fn documents() -> Vec<PathBuf> {
    let mut found = files("docs", "md");
    found.extend(["README.md", "CHANGELOG.md"].map(PathBuf::from));
    found
}

/// One word or sign of Rust, without comments and with literals taken out, and its line.
struct Token {
    text: String,
    line: usize,
}

/// The code of a file. Documentation and texts are no code.
fn tokens(path: &Path) -> Vec<Token> {
    let stream: TokenStream =
        read(path).parse().unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut found = Vec::new();
    flatten(stream, &mut found);
    found
}

fn flatten(stream: TokenStream, found: &mut Vec<Token>) {
    for tree in stream {
        let line = tree.span().start().line;
        let mut push = |text: String| found.push(Token { text, line });
        match tree {
            TokenTree::Ident(word) => push(word.to_string()),
            TokenTree::Punct(sign) => push(sign.to_string()),
            TokenTree::Literal(_) => push("literal".to_owned()),
            TokenTree::Group(group) => {
                let (open, close) = match group.delimiter() {
                    Delimiter::Parenthesis => ("(", ")"),
                    Delimiter::Brace => ("{", "}"),
                    Delimiter::Bracket => ("[", "]"),
                    Delimiter::None => ("", ""),
                };
                push(open.to_owned());
                flatten(group.stream(), found);
                found.push(Token { text: close.to_owned(), line });
            }
        }
    }
}

/// Every place of a sequence of words and signs, written with spaces between them.
fn places(path: &Path, sequence: &str) -> Vec<String> {
    let wanted: Vec<&str> = sequence.split(' ').collect();
    let tokens = tokens(path);
    let hits =
        tokens.windows(wanted.len()).filter(|window| window.iter().map(|token| &token.text).eq(&wanted));
    hits.map(|window| format!("{}:{}: {sequence}", path.display(), window[0].line)).collect()
}

/// Where one of the sequences occurs in files that may not have it.
fn forbidden(sequences: &[&str], may: impl Fn(&Path) -> bool) -> Vec<String> {
    let paths = rust_files().into_iter().filter(|path| !may(path));
    paths
        .flat_map(|path| {
            sequences.iter().flat_map(move |sequence| places(&path, sequence)).collect::<Vec<_>>()
        })
        .collect()
}

fn none(found: Vec<String>, rule: &str) {
    assert!(found.is_empty(), "{rule}:\n  {}", found.join("\n  "));
}

#[test]
fn the_walk_finds_this_file_and_the_core() {
    let found = rust_files();
    for expected in ["tests/tidy.rs", "src/lib.rs", "actors/src/lib.rs"] {
        assert!(found.contains(&PathBuf::from(expected)), "{expected} was not found");
    }
}

#[test]
fn every_file_opens_by_saying_what_it_does() {
    let silent = rust_files().into_iter().filter(|path| !read(path).starts_with("//! "));
    none(silent.map(|path| path.display().to_string()).collect(), "files that do not open with `//!`");
}

#[test]
fn no_file_is_longer_than_one_thing_needs() {
    let lines = |path: &Path| read(path).lines().count();
    let long = rust_files().into_iter().filter(|path| lines(path) > FILE_LINES_MAX);
    none(
        long.map(|path| format!("{}: {} lines", path.display(), lines(&path))).collect(),
        "files over 400 lines",
    );
}

#[test]
fn lints_are_expected_with_a_reason_and_never_allowed() {
    none(forbidden(&["# [ allow", "# ! [ allow"], |_| false), "write #[expect(…, reason = \"…\")]");
    let unexplained = rust_files().into_iter().flat_map(|path| {
        let tokens = tokens(&path);
        let opens =
            |n: usize| tokens[n].text == "[" && tokens.get(n + 1).is_some_and(|next| next.text == "expect");
        let starts: Vec<usize> = (0..tokens.len()).filter(|n| opens(*n)).collect();
        let explained = |n: &usize| {
            tokens[*n..].iter().take_while(|token| token.text != "]").any(|token| token.text == "reason")
        };
        let silent = starts
            .into_iter()
            .filter(|n| !explained(n))
            .map(|n| format!("{}:{}", path.display(), tokens[n].line));
        silent.collect::<Vec<_>>()
    });
    none(unexplained.collect(), "an expected lint needs a reason");
}

#[test]
fn nothing_is_left_for_later() {
    none(forbidden(&["todo !", "unimplemented !", "dbg !"], |_| false), "finish or delete");
}

#[test]
fn unsafe_code_lies_in_one_file() {
    none(forbidden(&["unsafe"], |path| path == Path::new("src/sys.rs")), "only src/sys.rs");
}

#[test]
fn programs_are_started_where_it_is_said_that_they_are() {
    let may = |path: &Path| {
        !path.starts_with("src") && !path.starts_with("actors")
            || is_test(path)
            || MAY_START_PROGRAMS
                .iter()
                .any(|place| path.to_str().is_some_and(|path| path.starts_with(place)))
    };
    none(
        forbidden(&["Command :: new", "process :: Command", "posix_spawn"], may),
        "only backend/process starts agents",
    );
}

/// A file of tests within a package's sources.
fn is_test(path: &Path) -> bool {
    path.file_stem().is_some_and(|stem| stem == "tests")
        || path.components().any(|part| part.as_os_str() == "tests")
}

#[test]
fn only_the_store_knows_the_database() {
    let may = |path: &Path| {
        path.starts_with("src/store") || path.starts_with("tests") || path.starts_with("benches")
    };
    none(forbidden(&["rusqlite", "rusqlite_migration"], may), "only src/store names the database");
}

#[test]
fn only_the_worktrees_know_git() {
    let may = |path: &Path| {
        let demo = path.to_str().is_some_and(|path| path.starts_with("src/cli/demo"));
        demo || path.starts_with("src/worktree") || path.starts_with("tests") || path.starts_with("benches")
    };
    none(forbidden(&["git2"], may), "only src/worktree and the demo name git");
}

#[test]
fn what_others_can_put_in_a_place_is_opened_in_one_file() {
    // A path of the system, directories that are opened to make them durable, and two with tests of their own.
    let exceptions = [
        "preflight/mounts.rs",
        "remove/salvage.rs",
        "changes/swap/record.rs",
        "remove/purge.rs",
        "changes/swap.rs",
    ];
    let may = |path: &Path| {
        let Ok(inside) = path.strip_prefix("src/worktree") else { return true };
        is_test(path) || exceptions.iter().any(|exception| inside == Path::new(exception))
    };
    let found = forbidden(&["fs :: read (", "fs :: read_to_string", "File :: open", "fs :: copy"], may);
    none(found, "only src/regular.rs opens what may be a pipe");
}

#[test]
fn the_core_touches_nothing_of_the_world() {
    let may = |path: &Path| !path.starts_with("actors");
    let found = forbidden(
        &["serde", "serde_json", "rusqlite", "git2", "nix", "libc", "std :: fs", "std :: net"],
        may,
    );
    none(found, "nothing in actors/ names the world");
}

#[test]
fn the_core_depends_on_four_crates() {
    let manifest: toml::Table = read("actors/Cargo.toml").parse().unwrap();
    let names = |table: &str| -> BTreeSet<String> {
        manifest
            .get(table)
            .and_then(toml::Value::as_table)
            .into_iter()
            .flat_map(toml::Table::keys)
            .cloned()
            .collect()
    };
    assert_eq!(names("dependencies"), CORE_DEPENDENCIES.map(str::to_owned).into());
    assert_eq!(names("build-dependencies"), BTreeSet::new());
    assert!(!manifest.contains_key("target"), "no dependencies by platform either");
}

/// Texts in single backticks outside of fenced blocks, and targets of links, with their line.
fn mentions(document: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut fenced = false;
    for (n, line) in document.lines().enumerate() {
        fenced ^= line.trim_start().starts_with("```");
        if fenced {
            continue;
        }
        let spans = line.split('`').skip(1).step_by(2);
        let links = line.split("](").skip(1).filter_map(|rest| rest.split([')', '#']).next());
        let local =
            links.filter(|link| !link.is_empty() && !link.contains("://")).map(|link| format!("link:{link}"));
        found.extend(spans.map(str::to_owned).chain(local).map(|text| (n + 1, text)));
    }
    found
}

/// Whether what a document mentions is a file of ours that does not exist.
fn is_missing(document: &Path, mention: &str, rust: &[PathBuf]) -> bool {
    if let Some(link) = mention.strip_prefix("link:") {
        return !root().join(document).with_file_name(link).exists();
    }
    let plain = mention.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-/".contains(&byte));
    if !plain {
        return false;
    }
    if NAMED_FOLDERS.iter().any(|folder| mention.starts_with(folder)) {
        return !root().join(mention).exists();
    }
    mention.ends_with(".rs") && !rust.iter().any(|path| path.ends_with(mention))
}

#[test]
fn the_documents_name_only_files_that_exist() {
    let rust = rust_files();
    let missing = documents().into_iter().flat_map(|document| {
        let mentions = mentions(&read(&document)).into_iter();
        let missing = mentions.filter(|(_, mention)| is_missing(&document, mention, &rust));
        missing.map(|(line, mention)| format!("{}:{line}: {mention}", document.display())).collect::<Vec<_>>()
    });
    none(missing.collect(), "the documents name what is not there");
}

#[test]
fn a_missing_file_in_a_document_would_be_seen() {
    let readme = Path::new("README.md");
    for missing in ["src/nowhere.rs", "docs/nowhere.md", "nowhere.rs", "link:docs/nowhere.md"] {
        assert!(is_missing(readme, missing, &rust_files()), "{missing} passed");
    }
    for fine in ["src/lib.rs", "lib.rs", "hob.sock", "link:docs/contract.md", "src/<name>.rs"] {
        assert!(!is_missing(readme, fine, &rust_files()), "{fine} did not pass");
    }
}

#[test]
fn continuous_integration_runs_what_the_readme_tells_to_run() {
    let readme = read("README.md");
    let first = readme.split("```sh\n").nth(1).and_then(|rest| rest.split("```").next());
    let commands: Vec<&str> =
        first.unwrap_or_default().lines().filter(|line| line.starts_with("cargo ")).collect();
    assert!(commands.len() >= 2, "the README begins with the commands to try");
    let script = read(".ci/run");
    for command in commands {
        let command = command.split(" #").next().unwrap_or(command).trim();
        assert!(script.lines().any(|line| line.trim() == command), ".ci/run does not run `{command}`");
    }
    let mode = fs::metadata(root().join(".ci/run")).unwrap().permissions().mode();
    assert_eq!(mode & 0o111, 0o111, ".ci/run is not executable");
}

/// The fields of a struct in a source file, as they are written.
fn fields(source: &str, name: &str) -> Vec<String> {
    let body = source.split_once(&format!("pub struct {name} {{")).map(|(_, rest)| rest);
    let body = body.and_then(|rest| rest.split_once("\n}")).map(|(body, _)| body);
    let body = body.unwrap_or_else(|| panic!("there is no struct {name}"));
    let field = |line: &str| {
        let name = line.trim().strip_prefix("pub ")?.split_once(':')?.0;
        Some(name.trim_start_matches("r#").to_owned())
    };
    body.lines().filter_map(field).collect()
}

/// Whether a source reads that field of something that is called so.
fn reads(source: &str, owner: &str, field: &str) -> bool {
    let wanted = format!("{owner}.{field}");
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    source.match_indices(&wanted).any(|(at, _)| {
        let (before, after) = (source[..at].chars().next_back(), source[at + wanted.len()..].chars().next());
        !before.is_some_and(is_word) && !after.is_some_and(is_word)
    })
}

#[test]
fn every_key_of_the_configuration_has_a_reader() {
    // Those that only take, check or show what was written read nothing for its sake.
    let none = ["sections.rs", "agents.rs", "check.rs", "load.rs", "warnings.rs", "units.rs", "tests.rs"];
    let is_reader = |path: &PathBuf| {
        let path = path.to_str().unwrap_or_default();
        !none.iter().any(|name| path == format!("src/config/{name}")) && !path.contains("/tests")
    };
    let readers = files("src", "rs").into_iter().chain(files("actors/src", "rs")).filter(is_reader);
    let readers: String = readers.map(|path| read(&path).replace("r#move", "move")).collect();
    let sections = read("src/config/sections.rs");
    let (agents, permissions) = (read("src/config/agents.rs"), read("src/config/permissions.rs"));
    // The struct, where it is, and what its readers call it.
    let structs = [
        ("Control", &sections, &["control"][..]),
        ("Pool", &sections, &["pool"]),
        ("Dispatch", &sections, &["dispatch", "limits"]),
        ("Health", &sections, &["health"]),
        ("Restart", &sections, &["restart"]),
        ("Watchdog", &sections, &["watchdog"]),
        ("Process", &sections, &["process"]),
        ("Journal", &sections, &["journal"]),
        ("Worktrees", &sections, &["worktrees", "section"]),
        ("Reaper", &sections, &["reaper"]),
        ("Hooks", &sections, &["hooks"]),
        ("Permissions", &permissions, &["permissions", "self"]),
        ("AgentConfig", &agents, &["agent"]),
    ];
    for (name, source, owners) in structs {
        let fields = fields(source, name);
        assert!(!fields.is_empty(), "{name}");
        for field in fields {
            let has_reader = owners.iter().any(|owner| reads(&readers, owner, &field));
            assert!(has_reader, "nobody reads `{field}` of {name}: it is a setting without effect");
        }
    }
}
