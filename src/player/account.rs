//! What happened in a run, as data; [`super::report`] shows and keeps it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::engine::Mode;
use super::hermetic::Hermetic;
use super::mismatch::Mismatch;
use super::report::Paid;

/// What happened, in numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Requests.
    pub requests: u64,
    /// Answered by the same canonical request.
    pub exact: u64,
    /// Answered under rules.
    pub by_rule: u64,
    /// Of those, by the rules that changed the request.
    pub rules: BTreeMap<String, u64>,
    /// Answered out of sequence, in warn mode.
    pub in_sequence: u64,
    /// Answered as the user said.
    #[serde(default)]
    pub resolved: u64,
    /// Met a fault.
    pub faults: u64,
    /// Refused.
    pub refused: u64,
    /// Refused as well, but asked of a host that decides nothing.
    #[serde(default)]
    pub optional: u64,
    /// Answered by the real services.
    #[serde(default)]
    pub upstream: u64,
    /// Asked of real services that did not answer.
    #[serde(default)]
    pub unreached: u64,
    /// Clients that could not be answered and should have been.
    #[serde(default)]
    pub unanswered: u64,
    /// Recorded exchanges and turns.
    pub recorded: u64,
    /// Of those, never asked for.
    pub unused: u64,
}

/// The same for one endpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointCounts {
    /// Method, host and path.
    pub endpoint: String,
    /// Recorded.
    pub recorded: u64,
    /// Times that one was served.
    pub served: u64,
    /// Recorded, and never asked for.
    pub unused: u64,
}

/// The account of a run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Report {
    /// Name of the session.
    pub session: String,
    /// How requests that were not recorded were treated.
    pub mode: Mode,
    /// Totals.
    pub counts: Counts,
    /// By endpoint.
    pub endpoints: Vec<EndpointCounts>,
    /// Exchanges that were never asked for, with their turns (0: not of a WebSocket).
    pub unused: Vec<(u32, u32)>,
    /// Requests that did not match.
    pub mismatches: Vec<Mismatch>,
    /// Clients that could not be answered: who, whom they wanted, and why.
    #[serde(default)]
    pub unanswered: Vec<String>,
    /// Whether exchanges that were never asked for are all right.
    #[serde(default)]
    pub allow_unused: bool,
    /// What the exchanges that were served would have cost.
    #[serde(default)]
    pub saved: Paid,
    /// What a network replay touched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hermetic: Option<Hermetic>,
}
