//! qwen-code.

use crate::support::agents::RealAgent;

const AGENT: RealAgent = RealAgent::Qwen;

#[test]
fn three_turns_keep_the_process_and_the_context() {
    super::three_turns(AGENT);
}

#[test]
fn two_chats_do_not_share_the_context() {
    super::two_chats(AGENT);
}

#[test]
fn a_written_file_is_in_the_worktree_and_not_in_the_checkout() {
    super::file_in_worktree(AGENT);
}

#[test]
fn a_cancel_in_mid_stream_keeps_the_process() {
    super::cancel_mid_stream(AGENT);
}

#[test]
fn a_cancel_at_once_after_the_submit_is_not_lost() {
    super::cancel_at_once(AGENT);
}

#[test]
fn permissions_are_asked_and_answered() {
    super::permissions(AGENT);
}

#[test]
fn an_always_is_remembered_by_us_and_for_its_chat() {
    super::always_is_ours(AGENT);
}

#[test]
fn killed_in_mid_turn_it_comes_back_and_remembers() {
    super::killed_mid_turn(AGENT);
}

#[test]
fn a_lost_conversation_is_told() {
    super::lost_conversation(AGENT, ".qwen/projects");
}

#[test]
fn evicted_for_another_chat_it_comes_back_and_remembers() {
    super::evicted_for_another(AGENT);
}
