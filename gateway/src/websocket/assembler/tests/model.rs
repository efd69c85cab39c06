//! What a client's bytes say, in the plainest way: all of them in memory, one frame after the other.
//!
//! It shares no code with the gateway, so that both would have to be wrong alike. Only which kind of
//! wrong a client did is told, since words may change. The fuzz targets use it too.

use super::inflate::inflate;

/// What was said, or what ended the connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<(u16, String)>),
    Wrong(Wrong),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrong {
    Protocol,
    NotText,
    TooBig,
    TooManyFragments,
}

/// What a client may send.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    pub message_bytes_max: u64,
    pub fragments_max: u32,
    pub deflate: bool,
}

/// Reads up to the end, a close, or the first wrong.
pub fn read(bytes: &[u8], rules: &Rules) -> Vec<Said> {
    let mut said = Vec::new();
    let mut begun = None;
    let mut rest = bytes;
    while let Some((frame, after)) = Frame::split(rest) {
        rest = after;
        match frame.read(&mut begun, rules) {
            Ok(None) if frame.is_whole() => {}
            Ok(None) => break,
            Ok(Some(close @ Said::Close(_))) => {
                said.push(close);
                break;
            }
            Ok(Some(event)) => said.push(event),
            Err(wrong) => {
                said.push(Said::Wrong(wrong));
                break;
            }
        }
    }
    said
}

/// Whether a reader said what the model says. Where an inflated message is both too big and corrupt,
/// the reader may have seen the one or the other.
pub fn is_said(by_reader: &[Said], by_model: &[Said], rules: &Rules) -> bool {
    let either = |wrong: &Said| match wrong {
        Said::Wrong(Wrong::TooBig) if rules.deflate => Said::Wrong(Wrong::Protocol),
        said => said.clone(),
    };
    by_reader == by_model
        || by_model.last() == Some(&Said::Wrong(Wrong::TooBig))
            && by_reader.iter().map(either).eq(by_model.iter().map(either))
}

/// A frame whose header is whole; its payload may be cut by the end.
struct Frame {
    is_final: bool,
    is_compressed: bool,
    opcode: u8,
    /// What is wrong whatever the frame is for: no mask, other reserved bits, a length in more
    /// bytes than it needs or with its highest bit set.
    is_odd: bool,
    declared: u64,
    payload: Vec<u8>,
}

/// A message that has begun.
struct Begun {
    is_text: bool,
    is_compressed: bool,
    fragments: u32,
    declared: u64,
    payload: Vec<u8>,
}

impl Frame {
    fn split(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let (&first, rest) = bytes.split_first()?;
        let (&second, rest) = rest.split_first()?;
        let (declared, least, rest) = match second & 0x7f {
            126 => {
                let (length, rest) = rest.split_first_chunk::<2>()?;
                (u16::from_be_bytes(*length).into(), 126, rest)
            }
            127 => {
                let (length, rest) = rest.split_first_chunk::<8>()?;
                (u64::from_be_bytes(*length), 0x1_0000, rest)
            }
            length => (length.into(), 0, rest),
        };
        let is_masked = second & 0x80 != 0;
        let (mask, rest) = if is_masked { rest.split_first_chunk::<4>()? } else { (&[0; 4], rest) };
        let there = usize::try_from(declared).unwrap_or(usize::MAX).min(rest.len());
        let (masked, rest) = rest.split_at(there);
        let frame = Self {
            is_final: first & 0x80 != 0,
            is_compressed: first & 0x40 != 0,
            opcode: first & 0x0f,
            is_odd: !is_masked || first & 0x30 != 0 || declared < least || declared >> 63 != 0,
            declared,
            payload: masked.iter().zip(mask.iter().cycle()).map(|(byte, key)| byte ^ key).collect(),
        };
        Some((frame, rest))
    }

    fn is_whole(&self) -> bool {
        self.payload.len() as u64 == self.declared
    }

    fn read(&self, begun: &mut Option<Begun>, rules: &Rules) -> Result<Option<Said>, Wrong> {
        if self.is_odd {
            return Err(Wrong::Protocol);
        }
        match self.opcode {
            0..=2 => self.data(begun, rules),
            8..=10 => self.control(),
            _ => Err(Wrong::Protocol),
        }
    }

    fn control(&self) -> Result<Option<Said>, Wrong> {
        if !self.is_final || self.is_compressed || self.declared > 125 {
            return Err(Wrong::Protocol);
        }
        if !self.is_whole() {
            return Ok(None);
        }
        Ok(Some(match self.opcode {
            8 => Said::Close(close(&self.payload)?),
            9 => Said::Ping(self.payload.clone()),
            _ => Said::Pong(self.payload.clone()),
        }))
    }

    fn data(&self, begun: &mut Option<Begun>, rules: &Rules) -> Result<Option<Said>, Wrong> {
        let is_first = self.opcode != 0;
        if is_first == begun.is_some() || self.is_compressed && !(rules.deflate && is_first) {
            return Err(Wrong::Protocol);
        }
        let mut message = begun.take().unwrap_or(Begun {
            is_text: self.opcode == 1,
            is_compressed: self.is_compressed,
            fragments: 0,
            declared: 0,
            payload: Vec::new(),
        });
        message.declared = message.declared.saturating_add(self.declared);
        // A deflated message may be longer on the wire, by an eighth and 64 bytes.
        let more = if message.is_compressed { rules.message_bytes_max / 8 + 64 } else { 0 };
        if message.declared > rules.message_bytes_max.saturating_add(more) {
            return Err(Wrong::TooBig);
        }
        message.fragments += 1;
        if message.fragments > rules.fragments_max {
            return Err(Wrong::TooManyFragments);
        }
        message.payload.extend(&self.payload);
        if message.is_text && !message.is_compressed {
            can_be_text(&message.payload)?;
        }
        if self.is_final && self.is_whole() {
            return message.end(rules).map(Some);
        }
        *begun = Some(message);
        Ok(None)
    }
}

impl Begun {
    fn end(self, rules: &Rules) -> Result<Said, Wrong> {
        let mut payload = self.payload;
        if self.is_compressed {
            let bytes_max = usize::try_from(rules.message_bytes_max).unwrap_or(usize::MAX);
            payload = inflate(&payload, bytes_max)?;
        }
        if self.is_text { text(payload).map(Said::Text) } else { Ok(Said::Binary(payload)) }
    }
}

fn text(bytes: Vec<u8>) -> Result<String, Wrong> {
    String::from_utf8(bytes).map_err(|_| Wrong::NotText)
}

/// Whether something can follow that makes a text of it.
fn can_be_text(bytes: &[u8]) -> Result<(), Wrong> {
    match std::str::from_utf8(bytes) {
        Err(error) if error.error_len().is_some() => Err(Wrong::NotText),
        _ => Ok(()),
    }
}

fn close(payload: &[u8]) -> Result<Option<(u16, String)>, Wrong> {
    let Some((code, reason)) = payload.split_first_chunk::<2>() else {
        return if payload.is_empty() { Ok(None) } else { Err(Wrong::Protocol) };
    };
    let code = u16::from_be_bytes(*code);
    let may_be_sent = match code {
        1000..=1014 => ![1004, 1005, 1006].contains(&code),
        3000..=4999 => true,
        _ => false,
    };
    if !may_be_sent {
        return Err(Wrong::Protocol);
    }
    Ok(Some((code, text(reason.to_vec())?)))
}
