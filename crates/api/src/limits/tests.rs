//! Shares of memory: what one request takes is not there for others, and comes back.

use super::*;

const MIB: usize = 1 << 20;

fn budget() -> Budget {
    Budget::new(32 * MIB, None)
}

#[test]
fn a_budget_follows_what_is_asked_for_and_what_there_is() {
    let usual = Budget { body: 32 * MIB, bodies: 64 * MIB, reserve: 8 * MIB, answers: 32 * MIB, live: 32 * MIB };
    assert_eq!(budget(), usual);
    for (asked_mib, memory_mib, body_mib, bodies_mib) in [
        (32, Some(512), 32, 64),
        (32, Some(256), 32, 64),
        (32, Some(128), 16, 32),
        (32, Some(64), 8, 16),
        (1, None, 1, 64),
        (1, Some(64), 1, 16),
        (128, None, 128, 256),
        (1024, Some(4096), 512, 1024),
    ] {
        let budget = Budget::new(asked_mib * MIB, memory_mib.map(|mib| mib << 20));
        assert_eq!((budget.body, budget.bodies), (body_mib * MIB, bodies_mib * MIB), "{asked_mib} {memory_mib:?}");
    }
    // A limit that is no limit.
    assert_eq!(Budget::new(32 * MIB, Some(u64::MAX)), usual);
}

#[test]
fn what_is_held_is_bounded_and_comes_back() {
    let memory = Memory::new(budget());
    let bodies = budget().bodies;
    let mut first = memory.reserve();
    first.grow(bodies - 1).unwrap();
    first.grow(1).unwrap();
    assert_eq!((first.bytes(), memory.held(), memory.max()), (bodies, bodies, bodies + 2 * budget().reserve));
    let mut second = memory.reserve();
    assert_eq!(second.grow(MEDIUM_BYTES_MAX + 1), Err(OutOfMemory));
    drop(first);
    second.grow(MEDIUM_BYTES_MAX + 1).unwrap();
    drop(second);
    assert_eq!(memory.held(), 0);
}

#[test]
fn large_bodies_leave_memory_to_smaller_ones() {
    let memory = Memory::new(budget());
    let mut large = memory.reserve();
    large.grow(budget().bodies).unwrap();
    assert_eq!(large.grow(1), Err(OutOfMemory));
    // Those of middle size leave some to small ones.
    let fill = |bytes: usize| {
        let mut all = Vec::new();
        loop {
            let mut one = memory.reserve();
            if one.grow(bytes).is_err() {
                return all;
            }
            all.push(one);
        }
    };
    let medium = fill(MEDIUM_BYTES_MAX);
    assert_eq!(medium.len(), budget().reserve / MEDIUM_BYTES_MAX);
    let small = fill(SMALL_BYTES_MAX);
    assert_eq!(small.len(), budget().reserve / SMALL_BYTES_MAX);
    // What grows beyond a share has to leave it to others.
    drop(small);
    let mut growing = memory.reserve();
    growing.grow(SMALL_BYTES_MAX).unwrap();
    assert_eq!(growing.grow(1), Err(OutOfMemory));
}

#[test]
fn an_answer_has_a_part_of_what_is_left_and_a_little_at_least() {
    let memory = Memory::new(budget());
    let all = budget().answers;
    let first = memory.answer(2 * MIB);
    assert_eq!((first.bytes(), memory.answers()), (2 * MIB, (2 * MIB, all)));
    // Each of many holds less than the one before, and so something is left.
    let mut others: Vec<_> = (0..200).map(|_| memory.answer(2 * MIB)).collect();
    assert!(others.is_sorted_by(|one, other| one.bytes() >= other.bytes()));
    assert_eq!(others[199].bytes(), ANSWER_BYTES_MIN / 2);
    let left = all - memory.answers().0;
    assert!((1..=ANSWER_PART * ANSWER_BYTES_MIN).contains(&left), "{left}");
    assert_eq!(memory.answer(7).bytes(), 7);
    // What an answer turns out to have, it holds.
    let mut last = others.remove(199);
    last.settle(ANSWER_BYTES_MIN).unwrap();
    assert_eq!(memory.answers().0, all - left);
    assert_eq!(last.settle(left + 1), Err(OutOfMemory));
    last.settle(left).unwrap();
    assert_eq!(memory.answers().0, all);
    last.settle(MIB / 2).unwrap();
    assert_eq!(memory.answers().0, all - left + MIB / 2);
    drop((first, others));
    let held = last.hold(vec![0; MIB].into()).unwrap();
    let part = held.slice(10..20);
    drop(held);
    assert_eq!((memory.answers().0, part.len()), (MIB, 10));
    drop(part);
    assert_eq!(memory.answers().0, 0);
}

#[tokio::test]
async fn one_large_body_is_parsed_at_a_time_and_small_ones_beside_it() {
    let memory = Memory::new(budget());
    let turn = memory.parsing(32 * MIB).await;
    assert!(turn.is_some() && memory.parsing(MEDIUM_BYTES_MAX).await.is_none());
    let mut next = std::pin::pin!(memory.parsing(MEDIUM_BYTES_MAX + 1));
    assert!(futures_util::poll!(next.as_mut()).is_pending());
    drop(turn);
    assert!(next.await.is_some());
}
