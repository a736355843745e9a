//! Contents that a checkout has otherwise than git keeps them: ends of lines, encodings, a file's own name
//! in it. None of them is a change before anybody changed something, and an edit goes back as git would
//! write it.

use std::fs;

use super::changes::*;
use super::settings::{Making, WAYS, applies, desk, is_untouched};
use super::*;

/// That nothing counts as changed when every file was written anew with the bytes that it has.
async fn is_untouched_when_written_anew(desk: &Desk, what: &str) {
    for entry in walkdir::WalkDir::new(&desk.known.path).into_iter().map(Result::unwrap) {
        let path = entry.path();
        if entry.file_type().is_file()
            && entry.file_name() != ".git"
            && !path.to_string_lossy().contains("many/")
        {
            let bytes = fs::read(path).unwrap();
            fs::write(path, bytes).unwrap();
        }
    }
    assert_eq!(desk.tree().await, desk.last, "{what}: the look after all was written anew");
    assert_eq!(desk.pending().await, [], "{what}");
}

/// A file of every kind that a checkout has otherwise than git keeps it: its name, as the checkout has
/// it, and the same after an edit.
const CONVERTED: [(&str, &[u8], &[u8]); 6] = [
    ("w.utf16", b"h\0i\0\n\0", b"h\0o\0\n\0i\0\n\0"),
    ("crlf.txt", b"one\r\ntwo\r\n", b"one\r\n2\r\n"),
    ("lone.txt", b"pro\rgress\r\ntwo\r\n", b"pro\rgress\r\n2\r\n"),
    ("v.ident", b"/* $Id$ */\nint v;\n", b"/* $Id$ */\nint w;\n"),
    ("mixed.auto", b"a\r\nb\n", b"a\r\nb\nc\n"),
    ("lf.txt2", b"a\nb\n", b"a\nb\nc\n"),
];

const ATTRIBUTES: &str = "*.utf16 text working-tree-encoding=UTF-16LE\n\
    *.txt text eol=crlf\n*.ident ident\n*.auto text=auto\n*.txt2 text eol=lf\n";

fn converted(stage: &Stage) {
    stage.write("a.txt", "one\r\n");
    stage.write("dir/b.txt", "b\r\n");
    for (name, before, _) in CONVERTED {
        stage.write(name, before);
    }
    // Kept with both ends of lines, before any attribute: git leaves it so.
    stage.commit("contents");
    stage.write(".gitattributes", ATTRIBUTES);
    stage.git(&["add", "--renormalize", "*.utf16", "*.txt", "*.ident"]);
    stage.git(&["add", ".gitattributes"]);
    stage.git(&["commit", "--quiet", "-m", "attributes"]);
    // As a checkout of git's has them.
    for entry in ["v.ident", "crlf.txt", "lone.txt", "w.utf16", "a.txt", "dir/b.txt"] {
        fs::remove_file(stage.repo.join(entry)).unwrap();
    }
    stage.git(&["checkout", "--", "."]);
    assert_eq!(status(&stage.repo), Vec::<String>::new());
}

#[tokio::test]
async fn what_a_checkout_has_otherwise_than_git_keeps_it_is_no_change() {
    for making in [Making::AsItComes, Making::Large] {
        let desk = desk(making, converted, &[]).await;
        let what = format!("{making:?}");
        for (name, ..) in CONVERTED {
            let (ours, theirs) = (desk.known.path.join(name), desk.stage.repo.join(name));
            assert_eq!(fs::read(ours).unwrap(), fs::read(theirs).unwrap(), "{what}: {name}");
        }
        is_untouched(&desk, &what).await;
        is_untouched_when_written_anew(&desk, &what).await;
    }
}

#[tokio::test]
async fn an_edit_of_each_goes_back_as_git_would_write_it() {
    for (name, _, after) in CONVERTED {
        let mut desk = desk(Making::AsItComes, converted, &[]).await;
        if name == "v.ident" {
            continue;
        }
        applies(&mut desk, name, after, name).await;
        let seen = status(&desk.stage.repo);
        assert_eq!(seen, [format!(" M {name}")], "{name}");
        // Away and back again.
        desk.discard(all()).await;
    }
}

#[tokio::test]
async fn an_edit_of_a_file_with_its_own_name_in_it_goes_back() {
    let mut desk = desk(Making::AsItComes, converted, &[]).await;
    let text = desk.read("v.ident").replace("int v", "int w");
    assert!(text.contains("$Id: "), "{text}");
    desk.write("v.ident", &text);
    desk.look(&["demo"]).await;
    let pending = desk.pending().await;
    assert_eq!(pending.len(), 1, "{pending:?}");
    let applied = desk.apply(all()).await;
    assert_eq!((applied.conflicts, applied.paths), (vec![], vec!["v.ident".to_owned()]));
    assert!(desk.checkout("v.ident").contains("int w"));
    let written = desk.checkout("v.ident");
    desk.stage.git(&["add", "v.ident"]);
    desk.stage.git(&["checkout-index", "--force", "v.ident"]);
    assert_eq!(desk.checkout("v.ident"), written, "as git writes it");
}

#[tokio::test]
async fn both_changes_of_a_converted_file_are_merged() {
    let many = |at: &[(usize, &str)], end: &str| numbered(at).replace('\n', end);
    for (name, end) in [("text.txt", "\r\n"), ("text.utf16", "\n")] {
        let encode = |text: String| -> Vec<u8> {
            let is_wide = name.ends_with("utf16");
            text.bytes().flat_map(|byte| [Some(byte), is_wide.then_some(0)]).flatten().collect()
        };
        let prepare = |stage: &Stage| {
            stage.write(".gitattributes", ATTRIBUTES);
            stage.write(name, encode(many(&[], end)));
            stage.write("a.txt", "one\r\n");
            stage.write("dir/b.txt", "b\r\n");
        };
        let mut desk = desk(Making::AsItComes, prepare, &[]).await;
        desk.stage.write(name, encode(many(&[(3, "mine")], end)));
        fs::write(desk.known.path.join(name), encode(many(&[(30, "agent")], end))).unwrap();
        desk.look(&["demo"]).await;
        let applied = desk.apply(all()).await;
        assert_eq!(applied.conflicts, [], "{name}");
        let both = encode(many(&[(3, "mine"), (30, "agent")], end));
        assert_eq!(fs::read(desk.stage.repo.join(name)).unwrap(), both, "{name}");
    }
}

#[tokio::test]
async fn a_converted_file_comes_back_as_it_was() {
    for (name, before, after) in CONVERTED.into_iter().filter(|(name, ..)| *name != "v.ident") {
        let mut desk = desk(Making::AsItComes, converted, &[]).await;
        let (place, base) = (desk.known.path.join(name), desk.last.clone());
        fs::write(&place, after).unwrap();
        desk.look(&["demo"]).await;
        let discarded = desk.discard(all()).await;
        assert_eq!((discarded.conflicts, discarded.paths), (vec![], vec![name.to_owned()]));
        assert_eq!(fs::read(&place).unwrap(), before, "{name}");
        // One that is gone altogether.
        fs::remove_file(&place).unwrap();
        desk.look(&["demo"]).await;
        desk.discard(all()).await;
        assert_eq!(fs::read(&place).unwrap(), before, "{name}");
        assert_eq!(desk.look(&[]).await, base, "{name}");
        is_untouched(&desk, name).await;
    }
}

#[tokio::test]
async fn attributes_that_an_edit_brings_along_hold_for_it() {
    let mut desk = desk(Making::AsItComes, |_| (), &[]).await;
    desk.write(".gitattributes", "*.dos text eol=crlf\n");
    fs::write(desk.known.path.join("new.dos"), "a\r\nb\r\n").unwrap();
    desk.look(&["demo"]).await;
    assert_eq!(desk.apply(all()).await.conflicts, []);
    assert_eq!(desk.checkout("new.dos"), "a\r\nb\r\n");
}

#[tokio::test]
async fn settings_for_ends_of_lines_hold_from_the_first_checkout() {
    for making in WAYS {
        let prepare = |stage: &Stage| {
            stage.write("run.sh", "#!/bin/sh\n");
            stage.write(".gitattributes", "*.sh text eol=lf\n");
        };
        let desk = desk(making, prepare, &[("core.autocrlf", "true")]).await;
        let what = format!("{making:?}");
        assert_eq!(
            (desk.read("run.sh"), desk.read("a.txt")),
            ("#!/bin/sh\n".into(), "one\r\n".into()),
            "{what}"
        );
        is_untouched(&desk, &what).await;
    }
}

#[tokio::test]
async fn a_file_that_git_keeps_otherwise_than_its_attributes_say_is_no_change() {
    let wide = "*.utf16 text working-tree-encoding=UTF-16LE\n";
    let cases = WAYS.map(|making| (making, "")).into_iter().chain([(Making::AsItComes, wide)]);
    for (making, more) in cases {
        let prepare = |stage: &Stage| {
            stage.write("old.txt", "a\r\nb\r\n");
            stage.commit("kept with both");
            stage.write(".gitattributes", format!("*.txt text\n{more}"));
        };
        let desk = desk(making, prepare, &[]).await;
        let what = format!("{making:?}");
        assert_eq!(desk.read("old.txt"), "a\r\nb\r\n");
        assert_eq!(desk.tree().await, desk.last, "{what}");
        is_untouched_when_written_anew(&desk, &what).await;
    }
}
