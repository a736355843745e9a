//! opencode, as an agent on stdio.

use crate::support::agents::RealAgent;

const AGENT: RealAgent = RealAgent::Opencode;

#[test]
fn three_turns_keep_the_process_and_the_context() {
    super::three_turns(AGENT);
}

#[test]
fn a_cancel_in_mid_stream_keeps_the_process() {
    super::cancel_mid_stream(AGENT);
}
