//! How one event becomes one line.
//!
//! A field may hold what a client sent. So it is cut, and nothing in it can end the line, colour a
//! terminal or turn the direction of the text. Writing to a String never fails, so results are dropped.

use std::{
    cell::RefCell,
    fmt::{self, Write as _},
    io::Write as _,
};

use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
};
use tracing_appender::non_blocking::NonBlocking;
use tracing_subscriber::{
    fmt::{
        format::Writer,
        time::{FormatTime as _, SystemTime},
    },
    layer::{Context, Layer},
};

use super::Format;

/// The longest value of a field, in bytes.
const VALUE_BYTES_MAX: usize = 256;

/// Writes every event that passes the filter.
#[derive(Debug)]
pub(super) struct Lines {
    pub(super) format: Format,
    pub(super) writer: NonBlocking,
}

thread_local! {
    /// The line and the value being built, so that a busy log allocates nothing per event.
    static BUFFERS: RefCell<(String, Value)> = RefCell::default();
}

impl<S: Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        BUFFERS.with(|buffers| {
            // Busy only if a field's Display logs in turn: that inner event is left out.
            let Ok(mut buffers) = buffers.try_borrow_mut() else { return };
            let (line, value) = &mut *buffers;
            line.clear();
            match self.format {
                Format::Text => text(event, line, value),
                Format::Json => json(event, line, value),
            }
            // The writer drops and counts what does not fit; there is nobody to tell.
            let _ = self.writer.clone().write_all(line.as_bytes());
        });
    }
}

fn text(event: &Event<'_>, line: &mut String, value: &mut Value) {
    now(line);
    let _ = write!(line, " {} ", event.metadata().level());
    event.record(&mut Visitor { part: Part::Message, format: Format::Text, line, value });
    event.record(&mut Visitor { part: Part::Fields, format: Format::Text, line, value });
    line.push('\n');
}

fn json(event: &Event<'_>, line: &mut String, value: &mut Value) {
    let metadata = event.metadata();
    line.push_str("{\"timestamp\":\"");
    now(line);
    let _ = write!(line, "\",\"level\":\"{}\",\"message\":", metadata.level());
    let start = line.len();
    event.record(&mut Visitor { part: Part::Message, format: Format::Json, line, value });
    if line.len() == start {
        line.push_str("\"\"");
    }
    line.push_str(",\"target\":");
    quote_json(metadata.target(), line);
    event.record(&mut Visitor { part: Part::Fields, format: Format::Json, line, value });
    line.push_str("}\n");
}

/// The time in UTC (RFC 3339, microseconds).
fn now(line: &mut String) {
    let _ = SystemTime.format_time(&mut Writer::new(line));
}

/// Which part of an event is being written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Message,
    Fields,
}

struct Visitor<'a> {
    part: Part,
    format: Format,
    line: &'a mut String,
    value: &'a mut Value,
}

impl Visitor<'_> {
    /// Writes what comes before a value; false if the field belongs to the other part.
    fn begin(&mut self, field: &Field) -> bool {
        let is_message = field.name() == "message";
        if is_message != (self.part == Part::Message) {
            return false;
        }
        if !is_message {
            let _ = match self.format {
                Format::Text => write!(self.line, " {}=", field.name()),
                Format::Json => write!(self.line, ",\"{}\":", field.name()),
            };
        }
        true
    }

    fn text(&mut self, field: &Field, text: fmt::Arguments<'_>) {
        if !self.begin(field) {
            return;
        }
        self.value.set(text);
        match self.format {
            Format::Json => quote_json(&self.value.text, self.line),
            Format::Text if self.part == Part::Message => escape(&self.value.text, self.line),
            Format::Text if self.value.is_plain() => self.line.push_str(&self.value.text),
            Format::Text => quote_text(&self.value.text, self.line),
        }
    }

    /// Writes a value that needs no quotes in either format.
    fn bare(&mut self, field: &Field, value: impl fmt::Display) {
        if self.begin(field) {
            let _ = write!(self.line, "{value}");
        }
    }
}

impl Visit for Visitor<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.text(field, format_args!("{value}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.text(field, format_args!("{value:?}"));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        // JSON has no NaN and no infinity.
        if value.is_finite() {
            self.bare(field, value);
        } else {
            self.text(field, format_args!("{value}"));
        }
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.bare(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.bare(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.bare(field, value);
    }
}

/// The text of one field, cut while it is written: a long one costs no more than a short one.
#[derive(Debug, Default)]
struct Value {
    text: String,
    is_cut: bool,
}

impl Value {
    fn set(&mut self, text: fmt::Arguments<'_>) {
        self.text.clear();
        self.is_cut = false;
        // A Display that fails leaves what it wrote until then.
        let _ = self.write_fmt(text);
        if self.is_cut {
            self.text.push('…');
        }
    }

    /// Whether the text can stand in a line without quotes.
    fn is_plain(&self) -> bool {
        let plain = |c: char| !c.is_whitespace() && c != '"' && c != '=' && !is_hidden(c);
        !self.text.is_empty() && self.text.chars().all(plain)
    }
}

impl fmt::Write for Value {
    fn write_str(&mut self, part: &str) -> fmt::Result {
        let room = if self.is_cut { 0 } else { VALUE_BYTES_MAX - self.text.len() };
        let fits = part.floor_char_boundary(room);
        self.text.push_str(&part[..fits]);
        self.is_cut |= fits < part.len();
        Ok(())
    }
}

/// Whether a character does something instead of being seen.
fn is_hidden(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

fn quote_text(text: &str, line: &mut String) {
    line.push('"');
    escape(text, line);
    line.push('"');
}

fn escape(text: &str, line: &mut String) {
    for c in text.chars() {
        if is_hidden(c) || c == '"' || c == '\\' {
            line.extend(c.escape_debug());
        } else {
            line.push(c);
        }
    }
}

fn quote_json(text: &str, line: &mut String) {
    line.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => line.extend(['\\', c]),
            '\n' => line.push_str("\\n"),
            c if is_hidden(c) => {
                let _ = write!(line, "\\u{:04x}", u32::from(c));
            }
            c => line.push(c),
        }
    }
    line.push('"');
}
