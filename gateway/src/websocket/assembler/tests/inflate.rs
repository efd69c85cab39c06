//! Inflates one message bit by bit (RFC 1951, and RFC 7692 section 7.2.2), sharing no code with zlib.

use super::model::Wrong;

/// The most final blocks in one message.
const FINAL_BLOCKS_MAX: u32 = 257;

/// What a message says, if that is at most `bytes_max` bytes.
pub fn inflate(deflated: &[u8], bytes_max: usize) -> Result<Vec<u8>, Wrong> {
    let end = deflated.len() * 8;
    let bytes = [deflated, &[0x00, 0x00, 0xff, 0xff]].concat();
    let mut bits = Bits { bytes: &bytes, at: 0 };
    let mut out = Out { bytes: Vec::new(), bytes_max };
    let mut final_blocks = 0;
    loop {
        let is_final = bits.number(1)? == 1;
        match bits.number(2)? {
            0 => stored(&mut bits, &mut out)?,
            1 => coded(&mut bits, &mut out, &fixed())?,
            2 => {
                let codes = dynamic(&mut bits)?;
                coded(&mut bits, &mut out, &codes)?;
            }
            _ => return Err(Wrong::Protocol),
        }
        if is_final {
            bits.align();
            final_blocks += 1;
            if bits.at >= end {
                return if bits.at == end { Ok(out.bytes) } else { Err(Wrong::Protocol) };
            }
            if final_blocks >= FINAL_BLOCKS_MAX {
                return Err(Wrong::Protocol);
            }
        } else if bits.at == bytes.len() * 8 {
            return Ok(out.bytes);
        }
    }
}

struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Bits<'_> {
    fn bit(&mut self) -> Result<usize, Wrong> {
        let byte = self.bytes.get(self.at / 8).ok_or(Wrong::Protocol)?;
        let bit = byte >> (self.at % 8) & 1;
        self.at += 1;
        Ok(bit.into())
    }

    /// A number, its lowest bit first.
    fn number(&mut self, bits: usize) -> Result<usize, Wrong> {
        (0..bits).try_fold(0, |number, at| Ok(number | self.bit()? << at))
    }

    fn align(&mut self) {
        self.at = self.at.next_multiple_of(8);
    }
}

struct Out {
    bytes: Vec<u8>,
    bytes_max: usize,
}

impl Out {
    fn push(&mut self, byte: u8) -> Result<(), Wrong> {
        if self.bytes.len() == self.bytes_max {
            return Err(Wrong::TooBig);
        }
        self.bytes.push(byte);
        Ok(())
    }

    fn copy(&mut self, length: usize, distance: usize) -> Result<(), Wrong> {
        for _ in 0..length {
            let from = self.bytes.len().checked_sub(distance).ok_or(Wrong::Protocol)?;
            self.push(self.bytes[from])?;
        }
        Ok(())
    }
}

fn stored(bits: &mut Bits<'_>, out: &mut Out) -> Result<(), Wrong> {
    bits.align();
    let length = bits.number(16)?;
    if bits.number(16)? != length ^ 0xffff {
        return Err(Wrong::Protocol);
    }
    for _ in 0..length {
        out.push(bits.number(8)?.to_le_bytes()[0])?;
    }
    Ok(())
}

/// The lengths of each symbol's code, 0 where it has none.
struct Codes {
    literals: Vec<usize>,
    distances: Vec<usize>,
}

fn fixed() -> Codes {
    let literals = (0..288).map(|symbol| match symbol {
        0..=143 => 8,
        144..=255 => 9,
        256..=279 => 7,
        _ => 8,
    });
    Codes { literals: literals.collect(), distances: vec![5; 32] }
}

fn dynamic(bits: &mut Bits<'_>) -> Result<Codes, Wrong> {
    const ORDER: [usize; 19] = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];
    let literals = bits.number(5)? + 257;
    let distances = bits.number(5)? + 1;
    let lengths = bits.number(4)? + 4;
    if literals > 286 || distances > 30 {
        return Err(Wrong::Protocol);
    }
    let mut length_codes = vec![0; 19];
    for symbol in &ORDER[..lengths] {
        length_codes[*symbol] = bits.number(3)?;
    }
    if spare(&length_codes) != 0 {
        return Err(Wrong::Protocol);
    }
    let mut all: Vec<usize> = Vec::new();
    while all.len() < literals + distances {
        let (length, times) = match symbol(bits, &length_codes)? {
            16 => (*all.last().ok_or(Wrong::Protocol)?, 3 + bits.number(2)?),
            17 => (0, 3 + bits.number(3)?),
            18 => (0, 11 + bits.number(7)?),
            length => (length, 1),
        };
        all.extend(vec![length; times]);
    }
    if all.len() > literals + distances || all[256] == 0 {
        return Err(Wrong::Protocol);
    }
    let distances = all.split_off(literals);
    for codes in [&all, &distances] {
        // A code may leave room only where it is one bit, or nothing, long.
        let is_short = codes.iter().all(|length| *length <= 1);
        if spare(codes) < 0 || spare(codes) > 0 && !is_short {
            return Err(Wrong::Protocol);
        }
    }
    Ok(Codes { literals: all, distances })
}

/// How many codes of fifteen bits are left over; less than none if the codes clash.
fn spare(lengths: &[usize]) -> i32 {
    let taken: i32 = lengths.iter().filter(|it| **it > 0).map(|length| 1 << (15 - length)).sum();
    (1 << 15) - taken
}

/// Reads bits until they are the code of a symbol: codes of one length follow each other, and those
/// of the next length follow them with a zero behind (RFC 1951, section 3.2.2).
fn symbol(bits: &mut Bits<'_>, lengths: &[usize]) -> Result<usize, Wrong> {
    let mut code = 0;
    let mut first = 0;
    for length in 1..=15 {
        code = code << 1 | bits.bit()?;
        let mut symbols = (0..lengths.len()).filter(|symbol| lengths[*symbol] == length);
        let count = symbols.clone().count();
        if code < first + count {
            return symbols.nth(code - first).ok_or(Wrong::Protocol);
        }
        first = (first + count) << 1;
    }
    Err(Wrong::Protocol)
}

fn coded(bits: &mut Bits<'_>, out: &mut Out, codes: &Codes) -> Result<(), Wrong> {
    loop {
        match symbol(bits, &codes.literals)? {
            literal @ 0..=255 => out.push(literal.to_le_bytes()[0])?,
            256 => return Ok(()),
            length => {
                let length = length_of(bits, length)?;
                let distance = symbol(bits, &codes.distances)?;
                let distance = distance_of(bits, distance)?;
                out.copy(length, distance)?;
            }
        }
    }
}

/// RFC 1951, section 3.2.5: four symbols for each number of extra bits, but for the ends.
fn length_of(bits: &mut Bits<'_>, symbol: usize) -> Result<usize, Wrong> {
    match symbol {
        257..=264 => Ok(symbol - 254),
        265..=284 => {
            let extra = (symbol - 261) / 4;
            Ok(3 + ((4 + (symbol - 261) % 4) << extra) + bits.number(extra)?)
        }
        285 => Ok(258),
        _ => Err(Wrong::Protocol),
    }
}

/// Two symbols for each number of extra bits.
fn distance_of(bits: &mut Bits<'_>, symbol: usize) -> Result<usize, Wrong> {
    match symbol {
        0..=3 => Ok(symbol + 1),
        4..=29 => {
            let extra = symbol / 2 - 1;
            Ok(1 + ((2 + symbol % 2) << extra) + bits.number(extra)?)
        }
        _ => Err(Wrong::Protocol),
    }
}
