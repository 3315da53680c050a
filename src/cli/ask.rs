//! `--interactive`: shows a request that was not recorded beside the nearest one that was, and has
//! the user say what is to be done.

use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Mutex;

use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyModifiers};
use ratatui::crossterm::execute;
use ratatui::crossterm::terminal::{
    EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};
use ratatui::layout::{Constraint, Layout};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span, Text};
use ratatui::widgets::{Block, Paragraph, Wrap};
use serde_json::Value;
use similar::{ChangeTag, TextDiff};

use crate::error::{Error, Result};
use crate::player::report;
use crate::player::resolution::{self, Answer, Asks, Question, Resolution};
use crate::player::rules::{Rule, Rules};
use crate::report::out::tell;

type Screen = Terminal<CrosstermBackend<File>>;

/// Asks on the terminal that the process belongs to, and keeps the answers with the session.
#[derive(Debug)]
pub(super) struct Asking {
    session: PathBuf,
    terminal: Mutex<File>,
}

impl Asking {
    /// For a session in this directory.
    ///
    /// # Errors
    /// There is no terminal.
    pub(super) fn new(session: PathBuf) -> Result<Asking> {
        let terminal = File::options().read(true).write(true).open("/dev/tty");
        let terminal = terminal
            .map_err(|e| Error::Usage(format!("--interactive needs a terminal to ask on: {e}")))?;
        Ok(Asking { session, terminal: Mutex::new(terminal) })
    }

    fn decide(&self, terminal: &File, question: &Question<'_>) -> Result<Answer> {
        let failed = || Error::io("use the terminal");
        let tty = terminal.try_clone().map_err(failed())?;
        enter(&tty).map_err(failed())?;
        let screen = Terminal::new(CrosstermBackend::new(tty)).map_err(failed());
        let answer = screen.and_then(|mut screen| Page::new(question).run(&mut screen));
        leave(terminal).map_err(failed())?;
        answer
    }

    fn keep(&self, question: &Question<'_>, answer: &Answer) -> Result<()> {
        match answer {
            Answer::Serve(exchange) => {
                let request = resolution::text(question.request);
                report::resolve(&self.session, &Resolution { request, serve: *exchange })
            }
            Answer::Accept(rules) => report::accept(&self.session, rules),
            Answer::Refuse | Answer::Upstream => Ok(()),
        }
    }
}

impl Asks for Asking {
    fn ask(&self, question: &Question<'_>) -> Answer {
        let Ok(terminal) = self.terminal.lock() else { return Answer::Refuse };
        let answer = self.decide(&terminal, question);
        let kept = answer.and_then(|answer| self.keep(question, &answer).map(|()| answer));
        kept.unwrap_or_else(|e| {
            tell!("rr-run: failed to {e}");
            Answer::Refuse
        })
    }
}

fn enter(mut terminal: &File) -> std::io::Result<()> {
    enable_raw_mode()?;
    execute!(terminal, EnterAlternateScreen)
}

fn leave(mut terminal: &File) -> std::io::Result<()> {
    execute!(terminal, LeaveAlternateScreen)?;
    disable_raw_mode()
}

/// One line of both requests, and whether it differs.
struct Row {
    recorded: Option<String>,
    asked: Option<String>,
    changed: bool,
}

/// What is on the screen.
struct Page<'a> {
    question: &'a Question<'a>,
    rows: Vec<Row>,
    scroll: usize,
    /// Which exchange is marked, while one is chosen.
    chosen: Option<usize>,
    /// What went wrong with the last answer.
    remark: Option<String>,
}

impl<'a> Page<'a> {
    fn new(question: &'a Question<'a>) -> Page<'a> {
        let mismatch = question.mismatch;
        let recorded = mismatch.recorded.as_ref().unwrap_or(&Value::Null);
        let rows = rows(recorded, &mismatch.request);
        // From the first difference on, with some lines before it.
        let first = rows.iter().position(|row| row.changed).unwrap_or(0);
        Page { question, rows, scroll: first.saturating_sub(3), chosen: None, remark: None }
    }

    fn run(mut self, screen: &mut Screen) -> Result<Answer> {
        let failed = || Error::io("use the terminal");
        loop {
            screen.draw(|frame| self.draw(frame)).map_err(failed())?;
            let Event::Key(key) = event::read().map_err(failed())? else { continue };
            if key.modifiers.contains(KeyModifiers::CONTROL) && key.code == KeyCode::Char('c') {
                return Ok(Answer::Refuse);
            }
            let answer = match self.chosen {
                Some(at) => self.choose(at, key.code),
                None => self.pressed(key.code, screen)?,
            };
            if let Some(answer) = answer {
                return Ok(answer);
            }
        }
    }

    /// A key while an exchange is chosen.
    fn choose(&mut self, at: usize, key: KeyCode) -> Option<Answer> {
        let last = self.question.exchanges.len().saturating_sub(1);
        match key {
            KeyCode::Up | KeyCode::Char('k') => self.chosen = Some(at.saturating_sub(1)),
            KeyCode::Down | KeyCode::Char('j') => self.chosen = Some((at + 1).min(last)),
            KeyCode::Enter => {
                return self.question.exchanges.get(at).map(|(id, _)| Answer::Serve(*id));
            }
            _ => self.chosen = None,
        }
        None
    }

    /// A key.
    fn pressed(&mut self, key: KeyCode, screen: &mut Screen) -> Result<Option<Answer>> {
        const PAGE: usize = 20;
        let mismatch = self.question.mismatch;
        self.remark = None;
        match key {
            KeyCode::Up | KeyCode::Char('k') => self.scroll = self.scroll.saturating_sub(1),
            KeyCode::Down | KeyCode::Char('j') => self.scroll += 1,
            KeyCode::PageUp => self.scroll = self.scroll.saturating_sub(PAGE),
            KeyCode::PageDown => self.scroll += PAGE,
            KeyCode::Char('n') if mismatch.nearest.is_some() => {
                return Ok(mismatch.nearest.map(Answer::Serve));
            }
            KeyCode::Char('s') if !self.question.exchanges.is_empty() => self.chosen = Some(0),
            KeyCode::Char('i') if !mismatch.rules.is_empty() => {
                return Ok(Some(Answer::Accept(mismatch.rules.clone())));
            }
            KeyCode::Char('e') if mismatch.nearest.is_some() => match edited(mismatch, screen)? {
                Ok(rules) => match resolution::refuted(mismatch, self.question.rules, &rules) {
                    None => return Ok(Some(Answer::Accept(rules))),
                    why => self.remark = why,
                },
                Err(why) => self.remark = Some(why),
            },
            KeyCode::Char('u') if self.question.upstream => return Ok(Some(Answer::Upstream)),
            KeyCode::Char('r' | 'q') | KeyCode::Esc => return Ok(Some(Answer::Refuse)),
            _ => {}
        }
        self.scroll = self.scroll.min(self.rows.len().saturating_sub(1));
        Ok(None)
    }

    fn draw(&self, frame: &mut ratatui::Frame<'_>) {
        let mismatch = self.question.mismatch;
        let mut head = vec![Line::styled(mismatch.headline(), Modifier::BOLD)];
        head.extend(mismatch.program.iter().map(|by| Line::from(format!("asked by {by}"))));
        head.extend(mismatch.words.iter().take(3).map(|words| Line::from(words.as_str())));
        let keys = self.keys();
        let heights = [
            Constraint::Length(head.len() as u16 + 2),
            Constraint::Min(3),
            Constraint::Length(if self.remark.is_some() { 2 } else { 1 }),
        ];
        let [top, middle, bottom] = Layout::vertical(heights).areas(frame.area());
        frame.render_widget(Paragraph::new(head).wrap(Wrap { trim: true }), top);
        if let Some(chosen) = self.chosen {
            frame.render_widget(self.list(chosen, middle.height.into()), middle);
        } else {
            let [left, right] = Layout::horizontal([Constraint::Fill(1); 2]).areas(middle);
            let nearest = mismatch
                .nearest
                .map_or("nothing like it".to_owned(), |n| format!("recorded: exchange {n}"));
            let old = self.side(|row| row.recorded.as_deref(), Color::Red);
            frame.render_widget(old.block(Block::bordered().title(nearest)), left);
            let new = self.side(|row| row.asked.as_deref(), Color::Green);
            frame.render_widget(new.block(Block::bordered().title("asked")), right);
        }
        let remark = self.remark.iter().map(|why| Line::styled(why.as_str(), Color::Red));
        let lines: Vec<Line<'_>> = remark.chain([Line::from(keys)]).collect();
        frame.render_widget(Paragraph::new(lines), bottom);
    }

    fn side(&self, of: impl Fn(&Row) -> Option<&str>, color: Color) -> Paragraph<'_> {
        let line = |row: &Row| {
            let style = if row.changed { Style::new().fg(color) } else { Style::new() };
            Line::from(Span::styled(of(row).unwrap_or_default().to_owned(), style))
        };
        let lines: Vec<Line<'_>> = self.rows.iter().skip(self.scroll).map(line).collect();
        Paragraph::new(Text::from(lines))
    }

    fn list(&self, chosen: usize, height: usize) -> Paragraph<'_> {
        let line = |(at, (id, text)): (usize, &(u32, String))| {
            let style = if at == chosen { Modifier::REVERSED } else { Modifier::empty() };
            Line::styled(format!("{id:>5}  {text}"), style)
        };
        let from = chosen.saturating_sub(height.saturating_sub(3));
        let all = self.question.exchanges.iter().enumerate();
        let lines: Vec<Line<'_>> = all.skip(from).map(line).collect();
        Paragraph::new(lines).block(Block::bordered().title("which exchange answers it?"))
    }

    fn keys(&self) -> String {
        if self.chosen.is_some() {
            return "Enter serve  Up/Down choose  Esc back".into();
        }
        let mismatch = self.question.mismatch;
        let offers = [
            (mismatch.nearest.is_some(), "n serve the nearest"),
            (!self.question.exchanges.is_empty(), "s serve another"),
            (!mismatch.rules.is_empty(), "i ignore from now on"),
            (mismatch.nearest.is_some(), "e edit a rule"),
            (self.question.upstream, "u ask the real service"),
            (true, "r refuse"),
            (true, "Up/Down scroll"),
        ];
        let offered: Vec<&str> = offers.iter().filter(|(is, _)| *is).map(|(_, key)| *key).collect();
        offered.join("  ")
    }
}

/// Both requests line by line, equal lines side by side.
fn rows(recorded: &Value, asked: &Value) -> Vec<Row> {
    let text = |value: &Value| match value {
        Value::Null => String::new(),
        value => serde_json::to_string_pretty(value).unwrap_or_default().replace("\\n", "\\n\n"),
    };
    let (old, new) = (text(recorded), text(asked));
    let diff = TextDiff::from_lines(&old, &new);
    let mut rows: Vec<Row> = Vec::new();
    // The first row of a change whose right side is still empty.
    let mut open = 0;
    for change in diff.iter_all_changes() {
        let line = change.value().trim_end_matches('\n').to_owned();
        match change.tag() {
            ChangeTag::Equal => {
                rows.push(Row { recorded: Some(line.clone()), asked: Some(line), changed: false });
                open = rows.len();
            }
            ChangeTag::Delete => {
                rows.push(Row { recorded: Some(line), asked: None, changed: true });
            }
            ChangeTag::Insert => match rows.get_mut(open) {
                Some(row) => {
                    row.asked = Some(line);
                    open += 1;
                }
                None => {
                    rows.push(Row { recorded: None, asked: Some(line), changed: true });
                    open = rows.len();
                }
            },
        }
    }
    rows
}

/// The rules that the user makes of the suggested ones in an editor, or why there are none.
fn edited(
    mismatch: &crate::player::mismatch::Mismatch,
    screen: &mut Screen,
) -> Result<Result<Vec<Rule>, String>> {
    const EMPTY: &str = "[[rule]]\nname = \"\"\n# ignore = [\"/metadata\"]\n";
    let failed = || Error::io("edit a rule");
    let mut file = tempfile::Builder::new().suffix(".toml").tempfile().map_err(failed())?;
    let suggested = match mismatch.rules.as_slice() {
        [] => EMPTY.to_owned(),
        rules => Rules::render(rules)?,
    };
    file.write_all(suggested.as_bytes()).map_err(failed())?;
    let editor = ["VISUAL", "EDITOR"].into_iter().find_map(|name| std::env::var(name).ok());
    let editor = editor.unwrap_or_else(|| "vi".into());
    let tty = File::options().read(true).write(true).open("/dev/tty").map_err(failed())?;
    leave(&tty).map_err(failed())?;
    // Editors are often given with arguments.
    let ended = Command::new("sh")
        .args(["-c", "exec $0 \"$1\"", &editor])
        .arg(file.path())
        .stdin(tty.try_clone().map_err(failed())?)
        .stdout(tty.try_clone().map_err(failed())?)
        .status();
    enter(&tty).map_err(failed())?;
    screen.clear().map_err(failed())?;
    if !ended.is_ok_and(|status| status.success()) {
        return Ok(Err(format!("the editor `{editor}` has failed")));
    }
    // By its name: many editors write a new file in its place.
    let text = std::fs::read_to_string(file.path()).map_err(failed())?;
    Ok(resolution::rules(&text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn equal_lines_stand_side_by_side() {
        let rows = rows(&json!({"a": 1, "b": 2, "c": 3}), &json!({"a": 1, "b": 9, "c": 3, "d": 4}));
        let shown: Vec<_> = rows
            .iter()
            .map(|r| {
                (r.recorded.as_deref().unwrap_or(""), r.asked.as_deref().unwrap_or(""), r.changed)
            })
            .collect();
        assert!(shown.contains(&("  \"a\": 1,", "  \"a\": 1,", false)));
        assert!(shown.contains(&("  \"b\": 2,", "  \"b\": 9,", true)));
        assert!(shown.contains(&("", "  \"d\": 4", true)));
        assert_eq!(rows.len(), 6);
    }
}
