//! Modes that can be set, or cannot: `choices WORD`, where the word says what becomes of it.
//!
//! `takes`: it is set; `refuses`: an error; `silent`: no answer; `leaves`: it is set, and left again
//! with the next prompt, which it tells.

use super::{answer, line, member, note, refuse, session, update_of};

/// The mode that a conversation begins in.
const FIRST: &str = "ask";

/// The modes, as a member of the answer to `session/new`.
pub(crate) fn offered() -> String {
    format!(
        ",\"modes\":{{\"currentModeId\":\"{FIRST}\",\"availableModes\":[{{\"id\":\"{FIRST}\",\"name\":\"Ask first\"}},\
         {{\"id\":\"auto\",\"name\":\"Go on\",\"description\":\"Without a question\"}}]}}"
    )
}

/// Answers `session/set_mode`.
pub(crate) fn set(word: Option<&str>, id: &str, request: &str) {
    let mode = member(request, "modeId").unwrap_or_default();
    note(&format!("# set_mode {mode}"));
    match word {
        Some("refuses") => refuse(id, -32602, "not today"),
        Some("silent") => {}
        _ => answer(id, "{}"),
    }
}

/// A prompt has come.
pub(crate) fn prompted(word: Option<&str>) {
    if word == Some("leaves") {
        let update = format!("{{\"sessionUpdate\":\"current_mode_update\",\"currentModeId\":\"{FIRST}\"}}");
        line(&update_of(&session(), &update));
    }
}
