//! The command line.

fn main() -> std::process::ExitCode {
    hob::cli::main()
}
