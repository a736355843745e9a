//! Prompts for the built-in agent, so that no other file has to know its language.

/// The name of the built-in agent.
pub const DEMO: &str = "demo";

/// It says a text.
pub fn say(text: &str) -> String {
    format!("say: {text}")
}

/// It says so many words, one every so many milliseconds.
pub fn slow(words: u32, gap_ms: u32) -> String {
    format!("slow: {words} {gap_ms}")
}

/// It says so many KiB of text.
pub fn big(kib: u32) -> String {
    format!("big: {kib}")
}

/// A turn that is still under way when a test looks, and whose end nobody waits for.
pub fn long() -> String {
    slow(5000, 20)
}

/// Its process dies.
pub const CRASH: &str = "crash";

/// It asks a question with this title, and says which answer it got.
pub fn ask(title: &str) -> String {
    format!("ask: {title}")
}

/// It says how many prompts it remembers.
pub const COUNT: &str = "count";
