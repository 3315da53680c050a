//! The arena's lists and keys.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::thread;

use log_format::arena::{
    ARENA_BYTES, DATA_AT, MARKS_AT, Mode, ROOT_KEY, SLOT_COUNT, SlotHeader, child_key,
    marks_offset, pop, push, slot_offset,
};

fn slots(count: usize) -> Vec<SlotHeader> {
    let slot = || SlotHeader {
        state: AtomicU32::new(0),
        next: AtomicU32::new(0),
        proc: AtomicU32::new(0),
        seq: AtomicU32::new(0),
        key: AtomicU64::new(0),
        committed: AtomicU32::new(0),
        first_record: AtomicU32::new(0),
        first_step: AtomicU64::new(0),
    };
    (0..count).map(|_| slot()).collect()
}

#[test]
fn a_list_gives_back_what_was_put_in_last_first() {
    let slots = slots(4);
    let head = AtomicU64::new(0);
    let at = |slot: u32| &slots[slot as usize];
    assert_eq!(pop(&head, at), None);
    for slot in [0, 2, 3] {
        push(&head, slot, at);
    }
    assert_eq!(pop(&head, at), Some(3));
    push(&head, 1, at);
    let rest: Vec<_> = std::iter::from_fn(|| pop(&head, at)).collect();
    assert_eq!(rest, [1, 2, 0]);
}

#[test]
fn every_change_of_a_list_changes_its_head() {
    let slots = slots(1);
    let head = AtomicU64::new(0);
    let at = |slot: u32| &slots[slot as usize];
    push(&head, 0, at);
    let first = head.load(Ordering::Relaxed);
    pop(&head, at);
    push(&head, 0, at);
    assert_ne!(head.load(Ordering::Relaxed), first);
}

#[test]
fn a_damaged_head_is_an_empty_list() {
    let slots = slots(1);
    let head = AtomicU64::new(SLOT_COUNT as u64 + 1);
    assert_eq!(pop(&head, |slot| &slots[slot as usize]), None);
}

#[test]
fn threads_never_get_one_slot_twice() {
    const THREADS: usize = 4;
    const COUNT: u32 = 8;
    let slots = slots(COUNT as usize);
    let head = AtomicU64::new(0);
    let at = |slot: u32| &slots[slot as usize];
    (0..COUNT).for_each(|slot| push(&head, slot, at));
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                for _ in 0..20_000 {
                    let Some(slot) = pop(&head, at) else { continue };
                    assert_eq!(at(slot).state.swap(1, Ordering::Acquire), 0, "slot {slot}");
                    at(slot).state.store(0, Ordering::Release);
                    push(&head, slot, at);
                }
            });
        }
    });
    let left: HashSet<_> = std::iter::from_fn(|| pop(&head, at)).collect();
    assert_eq!(left.len(), COUNT as usize);
}

#[test]
fn keys_of_a_large_tree_differ() {
    let mut keys = HashSet::from([0, ROOT_KEY]);
    let mut parents = vec![ROOT_KEY];
    for _ in 0..3 {
        parents = parents.iter().flat_map(|p| (1..=40).map(|n| child_key(*p, n))).collect();
        for key in &parents {
            assert!(keys.insert(*key), "key {key:x} twice");
        }
    }
}

#[test]
fn keys_are_the_same_in_every_version() {
    // Sessions name their files by them.
    assert_eq!(child_key(ROOT_KEY, 1), 0xe4d9_7177_1b65_2c20);
}

#[test]
fn slots_lie_in_the_file() {
    assert_eq!(slot_offset(0), DATA_AT);
    assert_eq!(slot_offset(SLOT_COUNT), MARKS_AT);
    assert_eq!(marks_offset(0), MARKS_AT);
    assert_eq!(marks_offset(SLOT_COUNT), ARENA_BYTES);
}

#[test]
fn modes_are_read_as_written() {
    for mode in [Mode::Record, Mode::Replay, Mode::Seeded] {
        assert_eq!(Mode::from_u32(mode as u32), Some(mode));
    }
    assert_eq!(Mode::from_u32(0), None);
}
