//! How it is shown.

use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Modifier, Style};
use ratatui::text::Line as TextLine;
use ratatui::widgets::{Block, Borders, Row, Sparkline, Table, Widget};

use crate::report::units::{bytes, count, duration};

/// A process.
#[derive(Clone, Debug, Default)]
pub(super) struct Process {
    pub(super) key: u64,
    pub(super) id: String,
    pub(super) pid: i32,
    pub(super) state: String,
    pub(super) events: u64,
    /// Events for each second.
    pub(super) rate: u64,
    pub(super) command: String,
}

/// A connection.
#[derive(Clone, Debug, Default)]
pub(super) struct Line {
    pub(super) peer: String,
    pub(super) tls: &'static str,
    pub(super) state: &'static str,
    pub(super) sent: u64,
    pub(super) received: u64,
}

/// A call of a model.
#[derive(Clone, Debug, Default)]
pub(super) struct Call {
    pub(super) id: String,
    pub(super) model: String,
    pub(super) state: &'static str,
    /// Pieces so far.
    pub(super) tokens: u64,
    pub(super) first_ns: Option<u64>,
    pub(super) rate: Option<f64>,
}

/// A frame.
#[derive(Clone, Debug, Default)]
pub(super) struct View {
    pub(super) name: String,
    pub(super) command: String,
    pub(super) state: String,
    pub(super) elapsed_ns: u64,
    pub(super) events: u64,
    pub(super) rate: u64,
    pub(super) rates: Vec<u64>,
    pub(super) log_bytes: u64,
    /// Not known before the recording has ended.
    pub(super) redactions: Option<u64>,
    pub(super) mismatches: u64,
    pub(super) processes: Vec<Process>,
    pub(super) connections: Vec<Line>,
    /// Connections that are open.
    pub(super) open: usize,
    pub(super) calls: Vec<Call>,
    pub(super) call_count: usize,
    pub(super) tokens: u64,
    pub(super) token_rate: u64,
}

impl View {
    fn header(&self) -> [String; 2] {
        let redactions = self.redactions.map_or_else(|| "-".into(), count);
        [
            format!(
                "{}: {}, {}  {}",
                self.name,
                self.state,
                duration(self.elapsed_ns),
                self.command
            ),
            format!(
                "{} events ({}/s)  log {}  {} tokens ({}/s)  {} mismatches  \
                 {redactions} redactions",
                count(self.events),
                count(self.rate),
                bytes(self.log_bytes),
                count(self.tokens),
                count(self.token_rate),
                self.mismatches,
            ),
        ]
    }
}

fn table<const N: usize>(
    title: String,
    header: [&'static str; N],
    widths: [Constraint; N],
    rows: Vec<[String; N]>,
    area: Rect,
    buffer: &mut Buffer,
) {
    let bold = Style::new().add_modifier(Modifier::BOLD);
    let table = Table::new(rows.into_iter().map(Row::new), widths)
        .header(Row::new(header).style(bold))
        .block(Block::new().borders(Borders::TOP).title(title));
    Widget::render(table, area, buffer);
}

impl Widget for &View {
    fn render(self, area: Rect, buffer: &mut Buffer) {
        use Constraint::{Fill, Length, Min};
        let lines = |count: usize| Constraint::Max(u16::try_from(count + 2).unwrap_or(u16::MAX));
        let [head, graph, processes, connections, calls] = area.layout(&Layout::vertical([
            Length(2),
            Length(if self.rates.is_empty() { 0 } else { 3 }),
            Fill(1),
            lines(self.connections.len().min(8)),
            lines(self.calls.len().min(12)),
        ]));
        for (line, y) in self.header().into_iter().zip(head.y..) {
            let line_area = Rect { y, height: 1, ..head }.intersection(area);
            TextLine::raw(line).render(line_area, buffer);
        }
        Sparkline::default().data(self.rates.iter().copied()).render(graph, buffer);
        let rows = self.processes.iter().map(|p| {
            let (events, rate) = (count(p.events), count(p.rate));
            [p.id.clone(), p.pid.to_string(), events, rate, p.state.clone(), p.command.clone()]
        });
        table(
            format!("{} processes", self.processes.len()),
            ["ID", "PID", "EVENTS", "EVENTS/S", "STATE", "COMMAND"],
            [Length(10), Length(8), Length(12), Length(9), Length(16), Min(10)],
            rows.collect(),
            processes,
            buffer,
        );
        let rows = self.connections.iter().map(|c| {
            let (sent, received) = (bytes(c.sent), bytes(c.received));
            [c.peer.clone(), c.state.into(), c.tls.into(), sent, received]
        });
        table(
            format!("{} connections open", self.open),
            ["PEER", "STATE", "TLS", "SENT", "RECEIVED"],
            [Min(20), Length(8), Length(9), Length(11), Length(11)],
            rows.collect(),
            connections,
            buffer,
        );
        let rows = self.calls.iter().map(|c| {
            let first = c.first_ns.map_or_else(|| "-".into(), duration);
            let rate = c.rate.map_or_else(|| "-".into(), |rate| format!("{rate:.0}"));
            [c.id.clone(), c.model.clone(), c.state.into(), count(c.tokens), first, rate]
        });
        table(
            format!("{} calls of models", self.call_count),
            ["ID", "MODEL", "STATE", "TOKENS", "TTFT", "TOK/S"],
            [Length(8), Min(20), Length(10), Length(9), Length(9), Length(7)],
            rows.collect(),
            calls,
            buffer,
        );
    }
}
