//! Tables and histories of who is let in.

use proptest::prelude::*;

use super::super::peer_check::AgentPeer;
use super::*;

const fn agent(attempt: u32) -> Holder {
    Holder::Agent(Some(attempt))
}

fn taken(owner: usize, agents: usize, tree: usize, reserve: usize) -> Taken {
    Taken { owner, agents, tree, reserve }
}

#[test]
fn places_are_given_by_the_kind_of_peer() {
    let owner = Holder::Owner;
    for (name, holder, taken, max, expected) in [
        ("the first", owner, taken(0, 0, 0, 0), 1024, Ok(Service::Whole)),
        ("the last of all", owner, taken(1023, 0, 0, 0), 1024, Ok(Service::Whole)),
        ("one more than all", owner, taken(1024, 0, 0, 0), 1024, Ok(Service::StopOnly)),
        ("beside a full half of agents", owner, taken(511, 512, 512, 0), 1024, Ok(Service::Whole)),
        ("two more than all", owner, taken(1024, 0, 0, 1), 1024, Err(Full::All)),
        ("an agent", agent(1), taken(0, 0, 0, 0), 1024, Ok(Service::Whole)),
        ("its sixteenth", agent(1), taken(0, 15, 15, 0), 1024, Ok(Service::Whole)),
        ("its seventeenth", agent(1), taken(0, 16, 16, 0), 1024, Err(Full::Tree)),
        ("another agent's first", agent(2), taken(0, 16, 0, 0), 1024, Ok(Service::Whole)),
        ("agents beyond their half", agent(2), taken(0, 512, 0, 0), 1024, Err(Full::Agents)),
        ("an agent, the owner has all", agent(1), taken(1024, 0, 0, 0), 1024, Err(Full::All)),
        ("one place, an agent has it", owner, taken(0, 1, 0, 0), 1, Ok(Service::Whole)),
        ("one place, the owner has it", owner, taken(1, 0, 0, 0), 1, Ok(Service::StopOnly)),
        ("one place, for an agent", agent(1), taken(1, 0, 0, 0), 1, Err(Full::All)),
    ] {
        assert_eq!(decide(holder, taken, max), expected, "{name}");
    }
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Owner,
    Agent(u32),
    Leave(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![Just(Step::Owner), (0u32..3).prop_map(Step::Agent), (0usize..40).prop_map(Step::Leave)]
}

proptest! {
    #[test]
    fn whatever_agents_do_the_owner_gets_half_and_can_always_stop_the_daemon(
        max in 1usize..40, steps in proptest::collection::vec(step(), 0..200),
    ) {
        let clients = Arc::new(Clients::default());
        let mut places: Vec<Place> = Vec::new();
        let standing = |attempt| Standing::Agent(AgentPeer {
            attempt: Some(attempt),
            pid: None,
        });
        for step in steps {
            let admitted = match step {
                Step::Leave(n) => {
                    if n < places.len() {
                        places.swap_remove(n);
                    }
                    continue;
                }
                Step::Owner => clients.admit(Standing::Full, max, Duration::MAX),
                Step::Agent(attempt) => clients.admit(standing(attempt), max, Duration::MAX),
            };
            let taken = lock(&clients.0).taken(agent(0));
            match admitted {
                Ok(place) => places.push(place),
                Err(_) if matches!(step, Step::Owner) => {
                    prop_assert!(taken.owner >= max - max / 2, "the owner's half");
                    prop_assert_eq!(taken.reserve, 1);
                }
                Err(_) => {}
            }
            let taken = lock(&clients.0).taken(agent(0));
            prop_assert!(taken.agents <= (max / 2).max(1) && taken.tree <= TREE_CLIENTS_MAX);
            prop_assert!(taken.reserve <= 1);
        }
        drop(places);
        prop_assert_eq!(clients.count(), 0);
    }
}

#[test]
fn who_never_said_a_word_makes_room_and_so_does_who_keeps_the_reserve() {
    let clients = Arc::new(Clients::default());
    let owner = |silence_max| clients.admit(Standing::Full, 1, silence_max);
    let (Ok(first), Ok(reserve)) = (owner(Duration::MAX), owner(Duration::MAX)) else {
        panic!("a place and the reserve")
    };
    assert_eq!((first.service, reserve.service), (Service::Whole, Service::StopOnly));
    assert!(owner(Duration::MAX).is_err());
    first.client.spoke.store(true, Ordering::Relaxed);
    reserve.client.spoke.store(true, Ordering::Relaxed);
    assert!(owner(Duration::ZERO).is_ok_and(|next| next.service == Service::StopOnly));
}
