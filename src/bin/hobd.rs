//! The daemon.

fn main() -> std::process::ExitCode {
    hob::cli::daemon::hobd()
}
