//! Telling of a replay.

use std::time::Instant;

use super::create::{
    EventContext, create_replay_mismatch_event, create_replay_start_event, create_replay_stop_event,
};
use super::event::{ReplayEvent, ReplayMode};
use super::source::{Options, Seen, observe};
use super::watch::{Follower, Telemetry};
use crate::error::{Error, Result};
use crate::launch::setup::now_ns;
use crate::player::Report;
use crate::session::{Manifest, Session};

/// A replay that is told of.
pub struct Telling {
    followers: Vec<Follower>,
    context: EventContext,
    started: Instant,
}

impl Telemetry {
    /// Tells that a replay begins; none if nothing is to be told.
    ///
    /// # Errors
    /// A file can't be written.
    pub fn replay(&self, manifest: &Manifest, mode: ReplayMode) -> Result<Option<Telling>> {
        let mut followers = self.followers(manifest)?;
        if followers.is_empty() {
            return Ok(None);
        }
        let replay_mode = Some(mode);
        let context =
            EventContext { started_ns: now_ns(), replay_mode, ..EventContext::new(manifest) };
        for Follower { observer, .. } in &mut followers {
            observer.event(create_replay_start_event(&context, manifest))?;
            observer.round(None)?;
        }
        Ok(Some(Telling { followers, context, started: Instant::now() }))
    }
}

impl Telling {
    /// Tells how the replay went: of a process replay that was exact also what happened in it,
    /// with the times of the recording; of a network replay each request that did not match.
    ///
    /// # Errors
    /// The session can't be read, or a file not be written.
    pub fn finish(
        self,
        session: &Session,
        outcome: &Result<u8>,
        network: Option<&Report>,
    ) -> Result<()> {
        let Telling { followers, context, started } = self;
        let time_ns = started.elapsed().as_nanos() as u64;
        for Follower { mut observer, options, content } in followers {
            let mut detail = ReplayEvent {
                exit_code: Some(outcome.as_ref().map_or_else(Error::exit_code, |code| *code)),
                ..ReplayEvent::default()
            };
            if let Some(report) = network {
                let counts = &report.counts;
                detail.matched = Some(counts.exact + counts.by_rule + counts.in_sequence);
                detail.mismatched = Some(report.mismatches.len() as u64);
                for mismatch in &report.mismatches {
                    let headline = mismatch.headline();
                    let told = create_replay_mismatch_event(&context, time_ns, &headline, None);
                    observer.event(told)?;
                }
            } else if let Err(Error::Diverged { step, .. }) = outcome {
                let what = "the program did not do what was recorded";
                let told = create_replay_mismatch_event(&context, time_ns, what, Some(*step));
                observer.event(told)?;
                detail.mismatched = Some(1);
            } else if outcome.is_ok() {
                let started_ns = session.manifest().started_ns;
                let context = EventContext { started_ns, content, ..context.clone() };
                let options = Options { recording: false, ..options };
                observe(session, &context, options, &mut Seen::default(), observer.as_mut())?;
                detail.mismatched = Some(0);
            }
            observer.event(create_replay_stop_event(&context, time_ns, detail))?;
            observer.round(Some(session.manifest()))?;
        }
        Ok(())
    }
}
