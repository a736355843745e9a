//! Tests that mount file systems, each in a mount namespace of its own, so that nothing of it is
//! seen outside or stays behind.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

/// Says to the inner run that it is one.
const INSIDE: &str = "TEST_NAMESPACE";

/// Runs a test in a mount namespace: the test calls this first, with its own path, and returns
/// where it says false. It runs this very test again inside. Where no namespace can be made the
/// test is skipped, loudly.
#[track_caller]
pub fn is_inside(test: &str) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        return true;
    }
    let Some(flags) = usable() else {
        // Written past the capture of the test harness, so that it is seen.
        let _ = writeln!(
            std::io::stderr(),
            "SKIPPED {test}: neither `unshare -m` nor `unshare -Urm` may mount here, so no small disk can be made"
        );
        return false;
    };
    let output = Command::new("unshare")
        .arg(flags)
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture", "--test-threads", "1"])
        .env(INSIDE, "1")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "in its namespace:\n{said}\n{complained}");
    assert!(said.contains("1 passed"), "no test is called {test}:\n{said}");
    false
}

/// How a namespace can be made that may mount: as root, or as root of it alone.
fn usable() -> Option<&'static str> {
    let may = |flags: &&str| {
        let mount = ["sh", "-c", "mount -t tmpfs -o size=64k tmpfs /mnt"];
        let tried = Command::new("unshare").arg(flags).args(mount).output();
        tried.is_ok_and(|tried| tried.status.success())
    };
    ["-m", "-Urm"].into_iter().find(may)
}

fn mount(arguments: &[&str], at: &Path) {
    let output = Command::new("mount").args(arguments).arg(at).output().unwrap();
    assert!(output.status.success(), "mount: {}", String::from_utf8_lossy(&output.stderr));
}

/// A small disk: a file system in memory at a directory that exists.
pub struct Disk<'a> {
    at: &'a Path,
}

impl<'a> Disk<'a> {
    /// Mounts one of so many KiB; what lay in the directory is on it.
    pub fn mount(at: &'a Path, kib: u64) -> Self {
        let kept = at.with_extension("kept");
        std::fs::rename(at, &kept).unwrap();
        std::fs::create_dir(at).unwrap();
        mount(&["-t", "tmpfs", "-o", &format!("size={kib}k,mode=700"), "tmpfs"], at);
        let copied = Command::new("cp").arg("-a").arg(kept.join(".")).arg(at).status().unwrap();
        assert!(copied.success());
        std::fs::remove_dir_all(&kept).unwrap();
        Self { at }
    }

    /// Another size.
    pub fn resize(&self, kib: u64) {
        self.remount(&format!("size={kib}k"));
    }

    /// Takes no writes, or takes them again. Nothing on it may be open for writing.
    pub fn set_read_only(&self, read_only: bool) {
        self.remount(if read_only { "ro" } else { "rw" });
    }

    fn remount(&self, option: &str) {
        // With the source named, options that were there are not repeated: some of them, such as
        // the owner, cannot be given from within a namespace.
        mount(&["-o", &format!("remount,{option}"), "tmpfs"], self.at);
    }

    /// The bytes that are free.
    pub fn free(&self) -> u64 {
        let disk = nix::sys::statvfs::statvfs(self.at).unwrap();
        disk.blocks_available() * disk.fragment_size()
    }

    /// Takes up all but so many bytes.
    pub fn fill(&self, but: u64) {
        let filler = std::fs::File::options().create(true).append(true).open(self.at.join("filler")).unwrap();
        let mut filler = std::io::BufWriter::new(filler);
        while self.free() > but {
            match filler.write_all(&[b'x'; 4096]).and_then(|()| filler.flush()) {
                Ok(()) => {}
                // Somebody else took the last of it.
                Err(error) if error.kind() == std::io::ErrorKind::StorageFull => break,
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// Gives back what was taken up.
    pub fn clear(&self) {
        std::fs::remove_file(self.at.join("filler")).unwrap();
    }
}
