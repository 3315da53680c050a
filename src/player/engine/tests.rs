use super::*;
use crate::player::sample;

fn player(settings: Settings, rules: &str) -> Player {
    let asked = [sample::chat(&["a"]), sample::chat(&["b"]), sample::chat(&["c"])];
    let recordings: Vec<_> = asked
        .into_iter()
        .enumerate()
        .map(|(i, r)| sample::answered(i as u32 + 1, r, &["x", "y"]))
        .collect();
    let rules = Rules::parse(rules, "test").unwrap();
    Player::new("s", Arc::new(recordings), rules, settings).unwrap()
}

fn ask(player: &Player, request: &Request) -> Result<u32, String> {
    let canonical = player.canonical(request).unwrap();
    match player.decide(&canonical, &Client { direct: true, ..Client::default() }).unwrap() {
        Decision::Serve { exchange, .. } => Ok(exchange.id),
        Decision::Refuse(report) => Err(report),
        Decision::Upstream(_) => Err("upstream".into()),
        Decision::Fault(action) => Err(format!("{action:?}")),
    }
}

#[test]
fn strict_refuses_what_was_not_recorded() {
    let player = player(Settings::default(), "");
    assert_eq!(ask(&player, &sample::chat(&["b"])), Ok(2));
    let report = ask(&player, &sample::chat(&["d"])).unwrap_err();
    assert!(report.contains("/v1/chat/completions"), "{report}");
    let report = player.report();
    assert_eq!((report.counts.exact, report.counts.refused, report.counts.unused), (1, 1, 2));
    assert_eq!(report.unused, [(1, 0), (3, 0)]);
    assert!(!player.is_done());
}

#[test]
fn warn_serves_the_next_of_the_endpoint() {
    let player = player(Settings { mode: Mode::Warn, ..Settings::default() }, "");
    assert_eq!(ask(&player, &sample::chat(&["new"])), Ok(1));
    assert_eq!(ask(&player, &sample::chat(&["b"])), Ok(2));
    assert_eq!(ask(&player, &sample::chat(&["new"])), Ok(3));
    assert!(ask(&player, &sample::chat(&["new"])).is_err());
    let report = player.report();
    assert_eq!((report.counts.in_sequence, report.counts.refused), (2, 1));
    assert_eq!(report.mismatches[0].outcome, Outcome::Served(1));
}

#[test]
fn the_interface_stands_for_any_base_url() {
    let interface = Some("openai".parse().unwrap());
    let player = player(Settings { interface, ..Settings::default() }, "");
    let mut request = sample::chat(&["a"]);
    request.target = "/some/proxy/chat/completions".into();
    request.authority = "127.0.0.1:1".into();
    assert_eq!(ask(&player, &request), Ok(1));
}

#[test]
fn faults_come_first() {
    let rules = "[[fault]]\nnth = 1\nstatus = 429\n[[fault]]\ncontains = 'zzz'\nserve = 3";
    let player = player(Settings::default(), rules);
    assert!(ask(&player, &sample::chat(&["a"])).unwrap_err().contains("429"));
    assert_eq!(ask(&player, &sample::chat(&["zzz"])), Ok(3));
    assert_eq!(player.report().counts.faults, 2);
}
