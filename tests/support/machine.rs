//! What a test changes about the machine below a running daemon: see `machine.c`, which this
//! compiles and has loaded into the daemon.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::home::Home;

/// Where in the file that the daemon has mapped each wish lies; as in `machine.c`.
const CLOCK_OFFSET_AT: u64 = 0;
const WRITE_ERRNO_AT: u64 = 8;
const BAD_PAIRS_AT: u64 = 12;
const BYTES: usize = 16;

/// The machine as the daemon of a home sees it.
pub struct Machine {
    preload: PathBuf,
    wishes: File,
    wishes_path: PathBuf,
}

impl Machine {
    /// One that does nothing special yet.
    pub fn calm(home: &Home) -> Self {
        let preload = home.root().join("machine.so");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/machine.c");
        let cc = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o"])
            .args([&preload, &source])
            .args(["-ldl", "-lpthread"])
            .output()
            .expect("these tests need a C compiler");
        assert!(cc.status.success(), "cc: {}", String::from_utf8_lossy(&cc.stderr));
        let wishes_path = home.root().join("machine");
        let wishes = File::options().write(true).create_new(true).open(&wishes_path).unwrap();
        wishes.write_all_at(&[0; BYTES], 0).unwrap();
        Self { preload, wishes, wishes_path }
    }

    /// What puts it below a command.
    pub fn below(&self) -> impl Fn(&mut Command) + 'static {
        let (preload, wishes) = (self.preload.clone(), self.wishes_path.clone());
        move |command| _ = command.env("LD_PRELOAD", &preload).env("TEST_MACHINE", &wishes)
    }

    /// The file that is loaded.
    pub fn preload(&self) -> &Path {
        &self.preload
    }

    /// Sets the wall clock so many seconds ahead of the true time, or behind it.
    pub fn set_clock(&self, offset_s: i64) {
        self.wishes.write_all_at(&offset_s.to_ne_bytes(), CLOCK_OFFSET_AT).unwrap();
    }

    /// Lets every write to a file of the database fail with an errno; 0 lets it succeed again.
    pub fn fail_writes(&self, errno: i32) {
        self.wishes.write_all_at(&errno.to_ne_bytes(), WRITE_ERRNO_AT).unwrap();
    }

    /// Lets the thread that starts processes get descriptors that are none.
    pub fn break_spawner(&self) {
        self.wishes.write_all_at(&1_i32.to_ne_bytes(), BAD_PAIRS_AT).unwrap();
    }

    /// Ends that.
    pub fn mend_spawner(&self) {
        self.wishes.write_all_at(&0_i32.to_ne_bytes(), BAD_PAIRS_AT).unwrap();
    }
}
