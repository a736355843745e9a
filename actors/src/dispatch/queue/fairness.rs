//! In which order chats take turns.

use std::collections::VecDeque;

use super::Word;
use super::tests::{limits, queue};

#[test]
fn between_chats_the_oldest_head_goes_first() {
    let many = &[(1, 1, "a"), (2, 1, "a"), (3, 1, "a"), (4, 2, "a"), (5, 3, "b")];
    // name, held chats, turns at once, of one agent, in which order they begin
    let cases: [(&str, &[&str], usize, usize, &str); 5] = [
        ("one at a time", &[], 1, 0, "1 2 3 4 5"),
        ("two at a time: the second chat does not wait for the whole first", &[], 2, 0, "1 4 2 5 3"),
        ("one of each agent", &[], 8, 1, "1 5 2 3 4"),
        ("who is held is passed by", &["c-1"], 1, 0, "4 5"),
        ("all side by side", &[], 8, 0, "1 4 5 2 3"),
    ];
    for (name, held, max, per_agent, order) in cases {
        let mut queue = queue(many);
        held.iter().for_each(|chat| queue.set_held(&(*chat).into(), Word { held: true, as_of: 1 }));
        let (mut begun, mut running) = (Vec::new(), VecDeque::new());
        loop {
            for task in queue.next(limits(max, per_agent)) {
                queue.begin(&task);
                begun.push(task.as_str()[2..].to_owned());
                running.push_back(task);
            }
            let Some(ended) = running.pop_front() else { break };
            queue.remove(&ended);
        }
        assert_eq!(begun.join(" "), order, "{name}");
    }
}
