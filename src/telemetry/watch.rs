//! Following a recording while it goes on.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::create::EventContext;
use super::lines::Lines;
#[cfg(feature = "otlp")]
use super::otlp::{Endpoint, Otlp};
use super::source::{Observer, Options, Seen, observe};
use crate::error::{Error, Result};
use crate::session::{Manifest, Session};

/// Shortest and longest time between two looks at a recording.
const PAUSE: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(30));
/// A look takes at most this part of the time: the pause after it is so many times as long.
const PAUSE_FACTOR: u32 = 12;

/// Something that follows a recording.
pub struct Follower {
    /// Who is told.
    pub observer: Box<dyn Observer + Send>,
    /// Which events.
    pub options: Options,
    /// Whether texts are told. They are told at the end only, when all that is to be redacted is
    /// known.
    pub content: bool,
}

/// Where the events of a recording or replay are told.
#[derive(Clone, Debug, Default)]
pub struct Telemetry {
    /// File of JSON lines.
    pub file: Option<PathBuf>,
    /// Endpoint of an OpenTelemetry collector.
    #[cfg(feature = "otlp")]
    pub otlp: Option<Endpoint>,
    /// Whether texts are told.
    pub content: bool,
}

impl Telemetry {
    /// Those who are told; none if nothing is to be told.
    ///
    /// # Errors
    /// A file can't be created.
    pub fn followers(&self, manifest: &Manifest) -> Result<Vec<Follower>> {
        let mut followers = Vec::new();
        if let Some(path) = &self.file {
            followers.push(Follower {
                observer: Box::new(Lines::create(path)?),
                options: Options { recording: true, io: true },
                content: self.content,
            });
        }
        #[cfg(feature = "otlp")]
        if let Some(endpoint) = &self.otlp {
            followers.push(Follower {
                observer: Box::new(Otlp::new(endpoint, manifest, self.content)?),
                options: Options { recording: false, io: false },
                content: self.content,
            });
        }
        #[cfg(not(feature = "otlp"))]
        let _ = manifest;
        Ok(followers)
    }
}

#[derive(Default)]
struct Stop {
    asked: Mutex<bool>,
    bell: Condvar,
}

impl Stop {
    /// Waits; whether it is time to stop.
    fn wait(&self, time: Duration) -> bool {
        let asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.bell.wait_timeout_while(asked, time, |asked| !*asked);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }

    fn ask(&self) {
        *self.asked.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.bell.notify_all();
    }
}

/// A thread that looks at a recording again and again, and tells what is new.
pub struct Watch {
    stop: Arc<Stop>,
    thread: JoinHandle<State>,
}

struct State {
    dir: PathBuf,
    context: EventContext,
    followers: Vec<(Follower, Seen)>,
    /// What kept a follower from going on, the first time.
    failure: Option<Error>,
}

impl Watch {
    /// Follows the session in `dir`, whose manifest was written; without followers nothing is
    /// done.
    ///
    /// # Errors
    /// No thread can be started.
    pub fn start(
        dir: &Path,
        manifest: &Manifest,
        followers: Vec<Follower>,
    ) -> Result<Option<Watch>> {
        if followers.is_empty() {
            return Ok(None);
        }
        let state = State {
            dir: dir.to_owned(),
            context: EventContext::new(manifest),
            followers: followers.into_iter().map(|f| (f, Seen::default())).collect(),
            failure: None,
        };
        let stop = Arc::new(Stop::default());
        let stopped = stop.clone();
        let thread = std::thread::Builder::new()
            .name("telemetry".into())
            .spawn(move || state.follow(&stopped))
            .map_err(Error::io("start a thread for telemetry"))?;
        Ok(Some(Watch { stop, thread }))
    }

    /// Stops looking, and tells what is left of the session, which is finished now.
    ///
    /// # Errors
    /// What kept a follower from going on, the first time.
    pub fn finish(self) -> Result<()> {
        self.stop.ask();
        let ended = self.thread.join();
        let mut state = ended.map_err(|_| Error::Machine {
            doing: "follow the recording for telemetry".into(),
            reason: "its thread has ended".into(),
        })?;
        match Session::open(&state.dir) {
            Ok(session) => state.look(&session, true),
            Err(e) => state.failure = state.failure.or(Some(e)),
        }
        state.failure.map_or(Ok(()), Err)
    }
}

impl State {
    fn follow(mut self, stop: &Stop) -> State {
        let live = self.followers.iter().any(|(follower, _)| !follower.content);
        let mut pause = PAUSE.0;
        while !stop.wait(pause) {
            let began = Instant::now();
            if live && let Ok(session) = Session::open(&self.dir) {
                self.look(&session, false);
            }
            pause = (began.elapsed() * PAUSE_FACTOR).clamp(PAUSE.0, PAUSE.1);
        }
        self
    }

    fn look(&mut self, session: &Session, finished: bool) {
        let State { context, followers, failure, .. } = self;
        for (follower, seen) in followers {
            let Follower { observer, options, content } = follower;
            if *content && !finished {
                continue;
            }
            let context = EventContext { content: *content, ..context.clone() };
            let told = observe(session, &context, *options, seen, observer.as_mut());
            let told = told.and_then(|_| observer.round(finished.then(|| session.manifest())));
            // A look at a recording that goes on may fail, and the next one not.
            if let Err(e) = told
                && finished
            {
                failure.get_or_insert(e);
            }
        }
    }
}
