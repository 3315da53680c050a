//! Network replay: a program runs live, and a player answers its connections.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::net::IpAddr;
use std::sync::Arc;

use super::hermetic::Hermetic;
use super::rules::Glob;
use super::serve::{Answering, Setup};
use super::{Mode, Player};
use crate::error::{Error, Result};
use crate::network::{self, Outcome, known};
use crate::policy::Policy;
use crate::session::Session;
use crate::session::manifest::ByteText;
use crate::stream::Traffic;

/// What runs, beside the player that answers it.
#[derive(Clone, Debug, Default)]
pub struct Live {
    /// Program and arguments, if not the recorded ones.
    pub command: Option<Vec<OsString>>,
    /// Real clock.
    pub clock: bool,
    /// Real randomness.
    pub entropy: bool,
    /// What the program may do.
    pub policy: Policy,
    /// Hosts, with or without port, that are meant to be real.
    pub passthrough: Vec<Glob>,
}

/// Runs the session's program, or another, with this player in place of its network; how it
/// ended, and what it touched.
///
/// # Errors
/// As [`network::run`].
pub fn replay(session: &Session, player: Arc<Player>, live: Live) -> Result<(Outcome, Hermetic)> {
    let mut setup = Setup::new(false);
    let dir = tempfile::tempdir().map_err(Error::io("make a directory for certificates"))?;
    let mut environment: Vec<ByteText> = std::env::vars_os()
        .map(|(name, value)| {
            let parts = [name.as_encoded_bytes(), b"=", value.as_encoded_bytes()];
            ByteText(parts.concat())
        })
        .collect();
    let mut trust = setup.with_trust(dir.path(), &mut environment)?;
    trust.name_as_recorded(&session.manifest().program.env, &mut environment);
    let traffic = session.traffic()?;
    let mut names = known::names(&traffic);
    let layered = layered(&player, &traffic);
    for host in &layered {
        if host.parse::<IpAddr>().is_err() && !names.iter().any(|(name, _)| name == host) {
            names.push((host.clone(), Vec::new()));
        }
    }
    setup.with_names(&names);
    setup.with_spoken(known::spoken(&traffic));
    let (over, asking) = (player.clone(), player.clone());
    let hybrid = player.settings().mode == Mode::Hybrid;
    if hybrid {
        setup.with_upstream(session.dir(), player.redact())?;
    }
    let hosts = live.passthrough;
    let passes = !hosts.is_empty();
    let is_live = move |host: &str| hosts.iter().any(|glob| glob.matches(host));
    let mut lookups = traffic.lookups().to_vec();
    let is_there = |name: &str| player.may_ask(name) || layered.contains(name);
    lookups.retain(|lookup| lookup.succeeded() || !is_there(&lookup.name));
    // A request to a host that was not recorded is to come here, and to be refused or asked of
    // the host. Where some recorded lookups are unknown, they may be such that failed.
    let other_names: Option<network::dns::Fits> = if hybrid {
        Some(Arc::new(move |name: &str| asking.may_ask(name)))
    } else if known::has_all_lookups(&traffic) {
        Some(Arc::new(|_: &str| true))
    } else {
        None
    };
    let outcome = network::run(&network::Replay {
        session,
        command: live.command,
        environment,
        trust: Some(trust),
        live_clock: live.clock,
        live_entropy: live.entropy,
        names,
        lookups,
        other_names,
        live: if passes { Some(Arc::new(is_live)) } else { None },
        served: known::served(&traffic),
        // A real service may be there by now.
        failed: if hybrid { Vec::new() } else { known::failed(&traffic, &layered) },
        answered: known::answered(&traffic)?,
        others: true,
        policy: live.policy,
        answers: Arc::new(Answering::new(player, setup)),
        is_over: &|| over.is_over(),
    })?;
    let hermetic = Hermetic::new(&outcome, &traffic);
    Ok((outcome, hermetic))
}

/// Hosts that only layers have exchanges of.
fn layered(player: &Player, traffic: &Traffic) -> BTreeSet<String> {
    let mut hosts = player.hosts();
    for summary in traffic.summaries() {
        hosts.remove(known::host_of(&summary.authority));
    }
    hosts
}
