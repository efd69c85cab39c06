//! One thing that is wrong with a manifest: where, what it is, and what would be right.

use std::fmt;

/// The most findings that are reported of one manifest; who has more has another kind of file.
pub const FINDINGS_MAX: usize = 100;

const SHOWN_CHARS_MAX: usize = 64;

/// One thing that is wrong with a manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Where in the manifest, such as `spec.limits.messageRate.burst`; empty where it is the manifest as a whole.
    pub path: String,
    /// The line of the text, from 1, where one is known.
    pub line: Option<usize>,
    /// The column of the line, from 1 and in characters, where it is known.
    pub column: Option<usize>,
    /// What stands there, cut to 64 characters; empty where nothing does.
    pub value: String,
    /// What is wrong with it.
    pub problem: String,
    /// What would be right.
    pub right: String,
}

/// `line 12, column 15: spec.pongWait is 5: not a duration; must be ..`
impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, line, column, value, problem, right } = self;
        if let Some(line) = line {
            write!(f, "line {line}")?;
            if let Some(column) = column {
                write!(f, ", column {column}")?;
            }
            f.write_str(": ")?;
        }
        f.write_str(path)?;
        if !value.is_empty() {
            write!(f, " is {value}")?;
        }
        if !path.is_empty() {
            f.write_str(": ")?;
        }
        f.write_str(problem)?;
        if right.is_empty() { Ok(()) } else { write!(f, "; {right}") }
    }
}

/// At most 64 characters of a text, none of them a control character: it goes into logs and terminals.
pub(super) fn shown(text: &str) -> String {
    let mut shown: String = text.chars().take(SHOWN_CHARS_MAX).flat_map(plain).collect();
    if text.chars().nth(SHOWN_CHARS_MAX).is_some() {
        shown.push('…');
    }
    shown
}

fn plain(c: char) -> Vec<char> {
    if c.is_control() { c.escape_default().collect() } else { vec![c] }
}
