//! `rr-run top`.

mod sample;
mod view;

use std::ffi::OsString;
use std::io::{IsTerminal, Write, stdout};
use std::time::{Duration, Instant};

use ratatui::buffer::Buffer;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyModifiers};
use ratatui::layout::Rect;
use ratatui::widgets::Widget;

use super::StoreArgs;
use crate::error::{Error, Result};
use crate::report::out::{self, written};
use sample::Sampler;

/// How often the view is made anew.
const PERIOD: Duration = Duration::from_secs(1);
/// Size of a frame that is printed.
const PRINTED: (u16, u16) = (110, 40);

/// Show what a running recording or replay does, like top(1).
///
/// Processes, rates of events, connections, tokens as they stream, mismatches, redactions, the
/// log's size. Press q to leave.
#[derive(Debug, clap::Args)]
pub(super) struct Top {
    #[command(flatten)]
    store: StoreArgs,
    /// Print one frame as text and end, as is done if standard output is no terminal
    #[arg(long)]
    once: bool,
    /// Name or directory of the session [default: the latest]
    session: Option<OsString>,
}

impl Top {
    /// Shows the view until it is left; the exit code.
    ///
    /// # Errors
    /// There is no such session, it can't be read, or the terminal fails.
    pub(super) fn run(self) -> Result<u8> {
        let dir = self.store.store()?.locate(self.session.as_deref())?;
        let mut sampler = Sampler::new(dir);
        if self.once || !stdout().is_terminal() {
            let view = sampler.take()?;
            let mut buffer = Buffer::empty(Rect::new(0, 0, PRINTED.0, PRINTED.1));
            view.render(buffer.area, &mut buffer);
            return out::stdout(|out| {
                out.write_all(text(&buffer).as_bytes()).map_err(written)?;
                Ok(0)
            });
        }
        let mut terminal = ratatui::try_init().map_err(Error::io("use the terminal"))?;
        let result = watch(&mut terminal, &mut sampler);
        ratatui::restore();
        let _ = stdout().flush();
        result.map(|()| 0)
    }
}

fn watch(terminal: &mut ratatui::DefaultTerminal, sampler: &mut Sampler) -> Result<()> {
    let failed = || Error::io("use the terminal");
    loop {
        let view = sampler.take()?;
        let drawn = Instant::now();
        terminal.draw(|frame| frame.render_widget(&view, frame.area())).map_err(failed())?;
        while let Some(left) = PERIOD.checked_sub(drawn.elapsed()) {
            if !event::poll(left).map_err(failed())? {
                break;
            }
            match event::read().map_err(failed())? {
                Event::Key(key) => {
                    let interrupt = key.modifiers.contains(KeyModifiers::CONTROL)
                        && key.code == KeyCode::Char('c');
                    if interrupt || matches!(key.code, KeyCode::Char('q') | KeyCode::Esc) {
                        return Ok(());
                    }
                }
                Event::Resize(..) => {
                    let draw = terminal.draw(|frame| frame.render_widget(&view, frame.area()));
                    draw.map_err(failed())?;
                }
                _ => {}
            }
        }
    }
}

/// A frame as text, without empty lines at its end.
fn text(buffer: &Buffer) -> String {
    let mut text = String::new();
    for y in 0..buffer.area.height {
        let line: String = (0..buffer.area.width).map(|x| buffer[(x, y)].symbol()).collect();
        text += line.trim_end();
        text.push('\n');
    }
    text.truncate(text.trim_end().len());
    text.push('\n');
    text
}
