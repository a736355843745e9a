//! Places beside those of turns that wait, and who goes when there are too many.

use super::tests::{facts, key};
use super::*;
use Standing::{Busy, Free, Leaving};

#[test]
fn whom_a_turn_waits_for_gets_a_place_where_nobody_can_go() {
    let keys: Vec<_> = (0..9).map(key).collect();
    let slot = || Admission::Wait(Wait::Slot);
    // name, standings of c-0…, max, turns that wait, behind, admission, evicted
    type Case<'a> = (&'a str, &'a [Standing], usize, usize, bool, Admission, Option<usize>);
    let cases: [Case<'_>; 7] = [
        ("nobody waits for it", &[Busy], 1, 0, false, slot(), None),
        ("beside the one that waits", &[Busy], 1, 1, false, Admission::Go, None),
        ("before an older stranger", &[Busy], 1, 1, true, Admission::Go, None),
        ("as many as wait and no more", &[Busy, Busy], 1, 1, false, slot(), None),
        ("a chain of waits", &[Busy, Busy], 1, 2, false, Admission::Go, None),
        ("who is idle goes first", &[Busy, Free], 1, 2, false, slot(), Some(1)),
        ("who leaves is waited for", &[Busy, Leaving], 2, 1, false, slot(), None),
    ];
    for (name, standings, max_live, n_lent, behind, admission, evict) in cases {
        let expected = Decision { admission, evict: evict.map(|n| keys[n].clone()).into_iter().collect() };
        let claim = Claim { behind, n_lent };
        assert_eq!(admit(&facts(&keys, standings, max_live), &keys[8], None, claim), expected, "{name}");
    }
}

#[test]
fn what_is_over_the_cap_goes_as_soon_as_it_is_idle() {
    let keys: Vec<_> = (0..9).map(key).collect();
    let cases: [(&str, &[Standing], usize, Option<usize>); 4] = [
        ("within", &[Free, Busy], 2, None),
        ("over", &[Busy, Free], 1, Some(1)),
        ("over, and all at work", &[Busy, Busy], 1, None),
        ("one goes already", &[Busy, Free, Leaving], 2, None),
    ];
    for (name, standings, max_live, goes) in cases {
        let goes: Vec<_> = goes.map(key).into_iter().collect();
        assert_eq!(shed(&facts(&keys, standings, max_live)), goes, "{name}");
    }
}
