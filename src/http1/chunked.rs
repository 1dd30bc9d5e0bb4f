//! The chunked transfer coding, read strictly (RFC 9112 section 7.1).
//!
//! Finds out which bytes are framing and which are data. [`crate::http1::merged_chunks`] makes a plain coding from
//! that.

/// The most hexadecimal digits of a chunk's size.
const MAX_SIZE_DIGITS: u8 = 16;

/// The error for a body that is not in chunked coding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the body's chunked coding is malformed")]
pub(crate) struct Malformed;

/// The limits for one side.
#[derive(Debug)]
struct Limits {
    /// The most bytes of chunk extensions. RFC 9112 section 7.1.1 asks for a limit.
    extensions: u32,
    /// The limit of the extensions applies to each chunk, not to all chunks of a body together.
    for_each_chunk: bool,
    /// The most bytes of a trailer section.
    trailers: u32,
    /// White space may follow a size. Some old servers write it.
    blanks: bool,
}

const OF_REQUESTS: Limits =
    Limits { extensions: 4 * 1024, for_each_chunk: false, trailers: 8 * 1024, blanks: false };

/// The limits for an app, which is trusted more than a client, and may stream for days.
const OF_ANSWERS: Limits =
    Limits { extensions: 16 * 1024, for_each_chunk: true, trailers: 64 * 1024, blanks: true };

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// The number of hexadecimal digits so far.
    Size(u8),
    Blank,
    Extension,
    SizeLf,
    Data,
    DataCr,
    DataLf,
    /// At the start of a trailer line, or of the empty line that ends the message.
    TrailerStart,
    Trailer,
    TrailerLf,
    EndLf,
    Done,
}

/// Finds a chunked body's end, byte by byte. The bytes may come in pieces of any size.
#[derive(Debug, Clone)]
pub(crate) struct Decoder {
    limits: &'static Limits,
    state: State,
    /// The size of the current chunk while the size is read, and then the number of bytes left of its data.
    remaining: u64,
    extensions: u32,
    trailers: u32,
}

impl Decoder {
    /// Makes a decoder for a client's body.
    pub(crate) const fn of_request() -> Self {
        Self::with(&OF_REQUESTS)
    }

    /// Makes a decoder for an app's body.
    pub(crate) const fn of_answer() -> Self {
        Self::with(&OF_ANSWERS)
    }

    const fn with(limits: &'static Limits) -> Self {
        Self { limits, state: State::Size(0), remaining: 0, extensions: 0, trailers: 0 }
    }

    /// Returns true if the message has ended.
    pub(crate) fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Returns how many of the next bytes are data, whatever they are.
    pub(crate) fn data_remaining(&self) -> u64 {
        if self.state == State::Data { self.remaining } else { 0 }
    }

    /// Notes that `length` bytes of [`Self::data_remaining`] were read elsewhere, and not through this decoder.
    pub(crate) fn skip_data(&mut self, length: u64) {
        self.remaining = self.remaining.saturating_sub(length);
        if self.remaining == 0 {
            self.state = State::DataCr;
        }
    }

    /// Reads framing up to the next data or the message's end, and returns how many bytes of `input` that was.
    pub(crate) fn read_framing(&mut self, input: &[u8]) -> Result<usize, Malformed> {
        let mut read = 0;
        for byte in input {
            if matches!(self.state, State::Data | State::Done) {
                break;
            }
            self.step(*byte)?;
            read += 1;
        }
        Ok(read)
    }

    /// Follows everything up to the message's end, and returns how many bytes of `input` that was.
    pub(crate) fn follow(&mut self, input: &[u8]) -> Result<usize, Malformed> {
        let mut rest = input;
        while !rest.is_empty() && !self.is_done() {
            let length = match self.data_remaining() {
                0 => self.read_framing(rest)?,
                data => {
                    let length = rest.len().min(usize::try_from(data).unwrap_or(usize::MAX));
                    self.skip_data(length as u64);
                    length
                }
            };
            rest = rest.get(length..).unwrap_or_default();
        }
        Ok(input.len() - rest.len())
    }

    /// Reads one byte of framing.
    fn step(&mut self, byte: u8) -> Result<(), Malformed> {
        self.state = match (self.state, byte) {
            (State::Size(digits), _) if byte.is_ascii_hexdigit() => {
                if digits == 0 {
                    self.remaining = 0;
                }
                self.add_digit(digits, byte)?;
                State::Size(digits + 1)
            }
            (State::Size(1..) | State::Blank, b' ' | b'\t') if self.limits.blanks => {
                self.extend(State::Blank)?
            }
            (State::Size(1..) | State::Blank, b';') => self.extend(State::Extension)?,
            (State::Size(1..) | State::Blank | State::Extension, b'\r') => State::SizeLf,
            (State::Extension, _) if is_text(byte) => self.extend(State::Extension)?,
            (State::SizeLf, b'\n') => {
                if self.limits.for_each_chunk {
                    self.extensions = 0;
                }
                if self.remaining == 0 { State::TrailerStart } else { State::Data }
            }
            (State::DataCr, b'\r') => State::DataLf,
            (State::DataLf, b'\n') => State::Size(0),
            (State::TrailerStart, b'\r') => State::EndLf,
            (State::Trailer, b'\r') => State::TrailerLf,
            (State::TrailerStart | State::Trailer, _)
                if is_text(byte) && self.trailers < self.limits.trailers =>
            {
                self.trailers += 1;
                State::Trailer
            }
            (State::TrailerLf, b'\n') => State::TrailerStart,
            (State::EndLf, b'\n') => State::Done,
            _ => return Err(Malformed),
        };
        Ok(())
    }

    /// Counts one more byte that is neither size nor data.
    fn extend(&mut self, next: State) -> Result<State, Malformed> {
        self.extensions += 1;
        if self.extensions > self.limits.extensions { Err(Malformed) } else { Ok(next) }
    }

    fn add_digit(&mut self, digits: u8, byte: u8) -> Result<(), Malformed> {
        let digit = char::from(byte).to_digit(16).ok_or(Malformed)?;
        // The size is below 2^59 before the shift, so below 2^63 after it. The next reader may count in a signed type.
        if digits >= MAX_SIZE_DIGITS || self.remaining >= 1 << 59 {
            return Err(Malformed);
        }
        self.remaining = (self.remaining << 4) | u64::from(digit);
        Ok(())
    }
}

/// Returns true for a byte that a field line or an extension may consist of.
const fn is_text(byte: u8) -> bool {
    byte == b'\t' || (byte >= 0x20 && byte != 0x7f)
}

#[cfg(test)]
mod tests;
