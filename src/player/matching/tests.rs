use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::player::sample;
use crate::stream::Request;

fn library(requests: &[Request], rules: &str, options: Options) -> Library {
    let exchange =
        |(i, r): (usize, &Request)| Ok(sample::answered(i as u32 + 1, r.clone(), &["x"]));
    let rules = Rules::parse(rules, "test").unwrap();
    Library::load(requests.iter().enumerate().map(exchange), rules, options).unwrap()
}

fn canonical(request: &Request) -> Canonical {
    Canonical::new(request, &[]).unwrap()
}

fn chat(messages: &[&str]) -> Canonical {
    canonical(&sample::chat(messages))
}

#[test]
fn equal_requests_are_served_in_recorded_order_and_once() {
    let requests = [sample::chat(&["a"]), sample::chat(&["b"]), sample::chat(&["a"])];
    let mut once = library(&requests, "", Options::default());
    assert_eq!(once.find(&chat(&["a"]), Host::Same), Found::Exact(0));
    assert_eq!(once.find(&chat(&["a"]), Host::Same), Found::Exact(2));
    assert_eq!(once.find(&chat(&["a"]), Host::Same), Found::Exhausted(2));
    assert_eq!(once.find(&chat(&["c"]), Host::Same), Found::Nothing);
    assert_eq!(once.entries().iter().map(|e| e.served).collect::<Vec<_>>(), [1, 0, 1]);

    let mut again = library(&requests, "", Options { repeat: true });
    let served: Vec<_> = (0..4).map(|_| again.find(&chat(&["a"]), Host::Any)).collect();
    assert_eq!(served, [0, 2, 0, 2].map(Found::Exact));
}

#[test]
fn rules_come_after_the_exact_request() {
    let rules = "[[rule]]\nname = 'n'\nreplace = [{regex = '[0-9]+', with = 'N'}]";
    let requests = [sample::chat(&["at 1"]), sample::chat(&["at 2"])];
    let mut library = library(&requests, rules, Options::default());
    assert_eq!(library.find(&chat(&["at 2"]), Host::Same), Found::Exact(1));
    assert_eq!(library.find(&chat(&["at 3"]), Host::Same), Found::Rule(0, vec!["n".into()]));
    assert_eq!(library.find(&chat(&["at 4"]), Host::Same), Found::Exhausted(1));
}

#[test]
fn hosts_count_unless_the_client_was_pointed_here() {
    let mut library = library(&[sample::chat(&["a"])], "", Options::default());
    let mut elsewhere = sample::chat(&["a"]);
    elsewhere.authority = "127.0.0.1:8080".into();
    assert_eq!(library.find(&canonical(&elsewhere), Host::Same), Found::Nothing);
    assert_eq!(library.find(&canonical(&elsewhere), Host::Any), Found::Exact(0));
}

#[test]
fn the_nearest_has_the_longest_common_beginning() {
    let requests =
        [sample::chat(&["a"]), sample::chat(&["a", "b", "c"]), sample::chat(&["x", "b", "d"])];
    let mut library = library(&requests, "", Options::default());
    assert_eq!(library.nearest(&chat(&["a", "b", "d"]), Host::Same), Some(1));
    assert_eq!(library.nearest(&chat(&["z"]), Host::Same), Some(0));
    let mut other = chat(&["a"]);
    other.path = "/elsewhere".into();
    assert_eq!(library.nearest(&other, Host::Same), None);
    other.path = "/proxy/chat/completions".into();
    assert!(library.nearest(&other, Host::Same).is_some());
    assert_eq!(library.next_in_sequence(&chat(&["z"]), Host::Same), Some(0));
    assert_eq!(library.next_in_sequence(&other, Host::Same), None);
}

proptest! {
    /// Whatever the order of the questions, each is answered by an exchange that was recorded
    /// for it, in recorded order, no exchange twice; and only unrecorded ones are missed.
    #[test]
    fn answers_are_those_of_the_question(
        recorded in prop::collection::vec(0..6u8, 0..24),
        asked in prop::collection::vec(0..8u8, 0..40),
    ) {
        let request = |n: &u8| sample::chat(&[&format!("question {n}")]);
        let requests: Vec<_> = recorded.iter().map(request).collect();
        let mut library = library(&requests, "", Options::default());
        let mut expected: BTreeMap<u8, Vec<u32>> = BTreeMap::new();
        for (i, n) in recorded.iter().enumerate().rev() {
            expected.entry(*n).or_default().push(i as u32);
        }
        for n in &asked {
            let found = library.find(&canonical(&request(n)), Host::Same);
            let want = expected.get_mut(n).map(Vec::pop);
            match (found, want) {
                (Found::Exact(entry), Some(Some(want))) => prop_assert_eq!(entry, want),
                (Found::Exhausted(_), Some(None)) | (Found::Nothing, None) => {}
                (found, want) => prop_assert!(false, "{found:?} instead of {want:?}"),
            }
        }
        let unused = library.entries().iter().filter(|e| e.served == 0).count();
        prop_assert_eq!(unused, expected.values().map(Vec::len).sum::<usize>());
    }

    /// Of concurrent clients none is answered with another's exchange.
    #[test]
    fn conversations_do_not_mix(order in Just((0..30usize).collect::<Vec<_>>()).prop_shuffle()) {
        let text = |i: usize| format!("client {} turn {}", i % 5, i / 5);
        let requests: Vec<_> = (0..30).map(|i| sample::chat(&[&text(i)])).collect();
        let mut library = library(&requests, "", Options::default());
        for i in order {
            let found = library.find(&chat(&[&text(i)]), Host::Same);
            prop_assert_eq!(found, Found::Exact(i as u32));
        }
    }
}
