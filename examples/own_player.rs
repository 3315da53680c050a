//! Network replay with answers of one's own: every connection gets one HTTP response that says
//! where it was meant to go.
//!
//! `own_player SESSION NAME=IP... -- PROGRAM ARGS...` writes what became of connections and
//! lookups to stderr, at the end.

use std::error::Error;
use std::ffi::OsString;
use std::net::IpAddr;
use std::path::Path;
use std::pin::Pin;
use std::process::ExitCode;
use std::sync::Arc;

use rr_run::network::{self, Accepted, Answers};
use rr_run::session::Session;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

struct Destination;

impl Answers for Destination {
    fn answer(&self, accepted: Accepted) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(async move {
            let mut stream = accepted.stream;
            let _ = stream.read(&mut [0; 4096]).await;
            let body = format!("you wanted {}\n", accepted.destination);
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
            let _ = stream.write_all(format!("{head}{body}").as_bytes()).await;
        })
    }
}

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let session = Session::open(Path::new(&args.next().ok_or("SESSION is missing")?))?;
    let mut names: Vec<(String, Vec<IpAddr>)> = Vec::new();
    for word in args.by_ref().take_while(|word| word != "--") {
        let (name, ip) = word.split_once('=').ok_or("NAME=IP is expected")?;
        names.push((name.to_owned(), vec![ip.parse()?]));
    }
    let command: Vec<OsString> = args.map(OsString::from).collect();
    let outcome = network::run(&network::Replay {
        session: &session,
        command: (!command.is_empty()).then_some(command),
        environment: Vec::new(),
        trust: None,
        live_clock: false,
        live_entropy: false,
        names,
        lookups: Vec::new(),
        other_names: None,
        live: None,
        served: Vec::new(),
        failed: Vec::new(),
        answered: Vec::new(),
        others: true,
        policy: rr_run::policy::Policy::default(),
        answers: Arc::new(Destination),
        is_over: &|| false,
    })?;
    for attempt in &outcome.attempts {
        eprintln!("{:?} {}", attempt.verdict, attempt.destination);
    }
    for (name, known) in &outcome.lookups {
        eprintln!("{} {name}", if *known { "known" } else { "unknown" });
    }
    Ok(ExitCode::from(outcome.code))
}
