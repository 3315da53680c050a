//! The calls of models in a session.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::call::{CallEnd, CallId, LlmCall, LlmRequest};
use super::performance::{StreamPerformance, performance};
use super::replay::{ReplayTiming, StreamReplay};
use super::token::StreamToken;
use super::traffic::Traffic;
use super::{Tls, llm_calls};
use crate::error::{Error, Result};
use crate::session::Session;

/// A recorded call and its tokens, to be given out again.
#[derive(Debug)]
pub struct ReplayedCall {
    /// The call.
    pub call: LlmCall,
    /// Its tokens, in time.
    pub stream: StreamReplay,
}

/// What a session holds for replaying streams.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ReplayStatistics {
    /// Connections.
    pub connections: u64,
    /// Those whose bytes nothing here can read.
    pub opaque_connections: u64,
    /// Exchanges of any kind.
    pub exchanges: u64,
    /// Calls of models, and unknown streams.
    pub calls: u64,
    /// Calls whose answers came as streams.
    pub streamed_calls: u64,
    /// Calls whose answers are whole.
    pub complete_calls: u64,
    /// Calls that ended with the service's error.
    pub failed_calls: u64,
    /// Calls that broke off, or had not ended.
    pub unfinished_calls: u64,
    /// Pieces of all answers.
    pub tokens: u64,
    /// Tokens of the prompts, as the providers counted.
    pub input_tokens: u64,
    /// Tokens of the answers, as the providers counted.
    pub output_tokens: u64,
    /// What replaying all answers in recorded timing one after another takes, nanoseconds.
    pub stream_ns: u64,
    /// Calls by model.
    pub models: BTreeMap<String, u64>,
}

/// Calls of models in a session.
///
/// ```no_run
/// use rr_run::session::Session;
/// use rr_run::stream::{CallId, ReplayTiming};
/// # fn f() -> rr_run::error::Result<()> {
/// let session = Session::open("/sessions/latest".as_ref())?;
/// for token in session.replay_stream(CallId::from(1), ReplayTiming::Recorded)? {
///     print!("{}", token.text);
/// }
/// # Ok(()) }
/// ```
impl Session {
    /// The call with this id.
    ///
    /// # Errors
    /// [`Error::Usage`] if there is no such call, [`Error::Damaged`] or the system's.
    ///
    /// ```no_run
    /// # fn f(session: &rr_run::session::Session) -> rr_run::error::Result<()> {
    /// let call = session.llm_call(7.into())?;
    /// println!("{:?}: {}", call.model(), call.text());
    /// # Ok(()) }
    /// ```
    pub fn llm_call(&self, id: CallId) -> Result<LlmCall> {
        call_of(&self.traffic()?, id)
    }

    /// The tokens of a call, as they came.
    ///
    /// # Errors
    /// As [`Session::llm_call`].
    ///
    /// ```no_run
    /// # fn f(session: &rr_run::session::Session) -> rr_run::error::Result<()> {
    /// for token in session.get_stream_tokens(7.into())? {
    ///     println!("{:?} {:?}", token.arrival(), token.text);
    /// }
    /// # Ok(()) }
    /// ```
    pub fn get_stream_tokens(&self, id: CallId) -> Result<Vec<StreamToken>> {
        Ok(self.llm_call(id)?.tokens)
    }

    /// The tokens of a call, given out in time.
    ///
    /// # Errors
    /// As [`Session::llm_call`].
    ///
    /// ```no_run
    /// # use rr_run::stream::ReplayTiming;
    /// # fn f(session: &rr_run::session::Session) -> rr_run::error::Result<()> {
    /// let twice_as_fast = session.replay_stream(7.into(), ReplayTiming::Scaled(0.5))?;
    /// twice_as_fast.for_each(|token| print!("{}", token.text));
    /// # Ok(()) }
    /// ```
    pub fn replay_stream(&self, id: CallId, timing: ReplayTiming) -> Result<StreamReplay> {
        Ok(StreamReplay::new(self.get_stream_tokens(id)?, timing))
    }

    /// A call, and its tokens given out in time.
    ///
    /// # Errors
    /// As [`Session::llm_call`].
    ///
    /// ```no_run
    /// # use rr_run::stream::ReplayTiming;
    /// # fn f(session: &rr_run::session::Session) -> rr_run::error::Result<()> {
    /// let replayed = session.replay_streaming_llm_call(7.into(), ReplayTiming::Instant)?;
    /// let text: String = replayed.stream.map(|token| token.text).collect();
    /// assert_eq!(text, replayed.call.text());
    /// # Ok(()) }
    /// ```
    pub fn replay_streaming_llm_call(
        &self,
        id: CallId,
        timing: ReplayTiming,
    ) -> Result<ReplayedCall> {
        let call = self.llm_call(id)?;
        let stream = StreamReplay::new(call.tokens.clone(), timing);
        Ok(ReplayedCall { call, stream })
    }

    /// How fast the answers came, by model and altogether.
    ///
    /// # Errors
    /// As [`Session::llm_call`].
    ///
    /// ```no_run
    /// # fn f(session: &rr_run::session::Session) -> rr_run::error::Result<()> {
    /// for model in session.analyze_stream_performance()?.models {
    ///     println!("{} {:?}", model.model, model.time_to_first_token);
    /// }
    /// # Ok(()) }
    /// ```
    pub fn analyze_stream_performance(&self) -> Result<StreamPerformance> {
        let mut calls = Vec::new();
        self.each_llm_call(|mut call| {
            // Texts are not needed, and may be long.
            call.request = LlmRequest { model: call.request.model, ..LlmRequest::default() };
            call.outputs.clear();
            call.tokens.iter_mut().for_each(|token| token.text = String::new());
            calls.push(call);
        })?;
        Ok(performance(&calls))
    }

    /// What the session holds for replaying streams.
    ///
    /// # Errors
    /// As [`Session::llm_call`].
    ///
    /// ```no_run
    /// # fn f(session: &rr_run::session::Session) -> rr_run::error::Result<()> {
    /// let statistics = session.get_replay_statistics()?;
    /// println!("{} calls, {} tokens", statistics.calls, statistics.tokens);
    /// # Ok(()) }
    /// ```
    pub fn get_replay_statistics(&self) -> Result<ReplayStatistics> {
        let traffic = self.traffic()?;
        let opaque = |tls: &Tls| matches!(tls, Tls::Opaque { .. });
        let mut sum = ReplayStatistics {
            connections: traffic.connections().len() as u64,
            opaque_connections: traffic.connections().iter().filter(|c| opaque(&c.tls)).count()
                as u64,
            exchanges: traffic.summaries().len() as u64,
            ..ReplayStatistics::default()
        };
        for exchange in traffic.exchanges() {
            for call in llm_calls(&exchange?)? {
                sum.add(&call);
            }
        }
        Ok(sum)
    }

    /// Decodes all calls, one after another.
    ///
    /// # Errors
    /// As [`Session::llm_call`].
    pub fn each_llm_call(&self, mut each: impl FnMut(LlmCall)) -> Result<()> {
        for exchange in self.traffic()?.exchanges() {
            llm_calls(&exchange?)?.into_iter().for_each(&mut each);
        }
        Ok(())
    }
}

impl ReplayStatistics {
    fn add(&mut self, call: &LlmCall) {
        self.calls += 1;
        self.streamed_calls += u64::from(call.streamed);
        match call.end {
            CallEnd::Complete => self.complete_calls += 1,
            CallEnd::Failed => self.failed_calls += 1,
            CallEnd::Open | CallEnd::Cut(_) => self.unfinished_calls += 1,
        }
        self.tokens += call.tokens.len() as u64;
        self.input_tokens += call.usage.input_tokens.unwrap_or(0);
        self.output_tokens += call.usage.output_tokens.unwrap_or(0);
        self.stream_ns += call.timing.total_ns;
        if let Some(model) = call.model() {
            *self.models.entry(model.to_owned()).or_default() += 1;
        }
    }
}

/// The call with this id.
///
/// # Errors
/// As [`Session::llm_call`].
pub fn call_of(traffic: &Traffic, id: CallId) -> Result<LlmCall> {
    let calls = llm_calls(&traffic.exchange(id.exchange)?)?;
    let count = calls.len();
    calls.into_iter().find(|call| call.id == id).ok_or_else(|| {
        Error::Usage(match count {
            0 => format!("exchange {} is no call of a model", id.exchange),
            _ => format!("exchange {} has no call {}, only {count}", id.exchange, id.turn),
        })
    })
}
