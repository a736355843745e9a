//! hobd

fn main() {
    if std::env::args().nth(1).as_deref() == Some("keeper") {
        hob::backend::process::keeper_main();
    }
}
