//! The chunked transfer coding, read strictly (RFC 9112 section 7.1).
//!
//! What comes out is chunked as well, but plain: sizes and data. Extensions and trailer fields are left out, the
//! first because nothing behind us needs them, the second because a trailer can carry any field that was
//! removed from the head (identity headers among them).

use tokio::io::ReadBuf;

/// Bytes of chunk extensions in one body. RFC 9112 section 7.1.1 asks for a limit.
const MAX_EXTENSIONS: u32 = 4 * 1024;

/// Bytes of a trailer section.
const MAX_TRAILERS: u32 = 8 * 1024;

/// Hexadecimal digits of a chunk's size.
const MAX_SIZE_DIGITS: u8 = 16;

/// A body that is not chunked coding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the body's chunked coding is malformed")]
pub(super) struct Malformed;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Hexadecimal digits so far.
    Size(u8),
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

/// Finds a chunked body's end, byte by byte, over any split of its bytes.
#[derive(Debug)]
pub(super) struct Decoder {
    state: State,
    /// Of the current chunk: its size while that is read, then what is left of its data.
    remaining: u64,
    extensions: u32,
    trailers: u32,
}

impl Decoder {
    pub(super) const fn new() -> Self {
        Self { state: State::Size(0), remaining: 0, extensions: 0, trailers: 0 }
    }

    /// Whether the message has ended.
    pub(super) fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// How many bytes that come next are data, whatever they are.
    pub(super) fn data_remaining(&self) -> u64 {
        if self.state == State::Data { self.remaining } else { 0 }
    }

    /// `length` bytes of [`Self::data_remaining`] went past this decoder.
    pub(super) fn skip_data(&mut self, length: u64) {
        self.remaining = self.remaining.saturating_sub(length);
        if self.remaining == 0 {
            self.state = State::DataCr;
        }
    }

    /// Reads from `input` and writes the plain coding to `output` until either ends or the message does. Says how
    /// many bytes of `input` were read.
    pub(super) fn decode(&mut self, input: &[u8], output: &mut ReadBuf<'_>) -> Result<usize, Malformed> {
        let mut rest = input;
        while let [byte, after @ ..] = rest {
            if self.is_done() || output.remaining() == 0 {
                break;
            }
            if self.state == State::Data {
                let wanted = usize::try_from(self.remaining).unwrap_or(usize::MAX);
                let length = rest.len().min(output.remaining()).min(wanted);
                output.put_slice(rest.get(..length).unwrap_or_default());
                rest = rest.get(length..).unwrap_or_default();
                self.skip_data(length as u64);
            } else {
                if self.step(*byte)? {
                    output.put_slice(&[*byte]);
                }
                rest = after;
            }
        }
        Ok(input.len() - rest.len())
    }

    /// One byte of framing; says whether it is passed on.
    fn step(&mut self, byte: u8) -> Result<bool, Malformed> {
        let (next, is_passed_on) = match (self.state, byte) {
            (State::Size(digits), _) if byte.is_ascii_hexdigit() => {
                if digits == 0 {
                    self.remaining = 0;
                }
                self.add_digit(digits, byte)?;
                (State::Size(digits + 1), true)
            }
            (State::Size(1..), b';') => {
                self.extensions += 1;
                (State::Extension, false)
            }
            (State::Size(1..) | State::Extension, b'\r') => (State::SizeLf, true),
            (State::Extension, _) if is_text(byte) && self.extensions < MAX_EXTENSIONS => {
                self.extensions += 1;
                (State::Extension, false)
            }
            (State::SizeLf, b'\n') if self.remaining == 0 => (State::TrailerStart, true),
            (State::SizeLf, b'\n') => (State::Data, true),
            (State::DataCr, b'\r') => (State::DataLf, true),
            (State::DataLf, b'\n') => (State::Size(0), true),
            (State::TrailerStart, b'\r') => (State::EndLf, true),
            (State::Trailer, b'\r') => (State::TrailerLf, false),
            (State::TrailerStart | State::Trailer, _) if is_text(byte) && self.trailers < MAX_TRAILERS => {
                self.trailers += 1;
                (State::Trailer, false)
            }
            (State::TrailerLf, b'\n') => (State::TrailerStart, false),
            (State::EndLf, b'\n') => (State::Done, true),
            _ => return Err(Malformed),
        };
        self.state = next;
        Ok(is_passed_on)
    }

    fn add_digit(&mut self, digits: u8, byte: u8) -> Result<(), Malformed> {
        let digit = char::from(byte).to_digit(16).ok_or(Malformed)?;
        // Below 2^59 before the shift, so below 2^63 after it: what follows us may count in a signed type.
        if digits >= MAX_SIZE_DIGITS || self.remaining >= 1 << 59 {
            return Err(Malformed);
        }
        self.remaining = (self.remaining << 4) | u64::from(digit);
        Ok(())
    }
}

/// What a field line or an extension may consist of.
const fn is_text(byte: u8) -> bool {
    byte == b'\t' || (byte >= 0x20 && byte != 0x7f)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Decodes `input` in pieces of `input_size` into space of `output_size`; what came out, and what was left.
    fn decode(input: &[u8], input_size: usize, output_size: usize) -> Result<(Vec<u8>, usize), Malformed> {
        let mut decoder = Decoder::new();
        let (mut passed, mut at) = (Vec::new(), 0);
        while at < input.len() && !decoder.is_done() {
            let mut space = vec![0; output_size];
            let mut output = ReadBuf::new(&mut space);
            at += decoder.decode(&input[at..(at + input_size).min(input.len())], &mut output)?;
            passed.extend_from_slice(output.filled());
        }
        if decoder.is_done() { Ok((passed, input.len() - at)) } else { Err(Malformed) }
    }

    #[test]
    fn stops_at_the_end_and_leaves_out_extensions_and_trailers() {
        let cases: &[(&[u8], &[u8], usize)] = &[
            (b"0\r\n\r\n", b"0\r\n\r\n", 0),
            (b"000\r\n\r\nGET /", b"000\r\n\r\n", 5),
            (b"5\r\nhello\r\n0\r\n\r\nnext", b"5\r\nhello\r\n0\r\n\r\n", 4),
            (b"5;a=\"b\";c\r\nhello\r\n0;x\r\n\r\n", b"5\r\nhello\r\n0\r\n\r\n", 0),
            (b"2\r\n\r\n\r\n0\r\n\r\n", b"2\r\n\r\n\r\n0\r\n\r\n", 0),
            (b"0\r\nX-Auth-User: root\r\nY: z\r\n\r\nGET", b"0\r\n\r\n", 3),
            (
                b"000000000000000A\r\n0123456789\r\n0\r\n\r\n",
                b"000000000000000A\r\n0123456789\r\n0\r\n\r\n",
                0,
            ),
        ];
        for (input, expected, left) in cases {
            for (input_size, output_size) in [(usize::MAX / 2, 4096), (1, 4096), (4096, 1), (3, 2), (1, 1)] {
                let passed = decode(input, input_size, output_size);
                assert_eq!(passed, Ok((expected.to_vec(), *left)), "{}", input.escape_ascii());
            }
        }
    }

    #[test]
    fn refuses_every_other_reading() {
        let long_extension = format!("1;{}\r\nx\r\n0\r\n\r\n", "a".repeat(5000));
        let long_trailers = format!("0\r\n{}\r\n", "X: y\r\n".repeat(3000));
        let cases: &[&[u8]] = &[
            b"5\nhello\r\n0\r\n\r\n",
            b"5\r\nhello\n0\r\n\r\n",
            b"5\r\nhello!\r\n0\r\n\r\n",
            b"5\r\nhell\r\n0\r\n\r\n",
            b"\r\n0\r\n\r\n",
            b" 5\r\nhello\r\n0\r\n\r\n",
            b"5 \r\nhello\r\n0\r\n\r\n",
            b"5 ;a\r\nhello\r\n0\r\n\r\n",
            b"+5\r\nhello\r\n0\r\n\r\n",
            b"-1\r\n\r\n0\r\n\r\n",
            b"0x5\r\nhello\r\n0\r\n\r\n",
            b"g\r\n\r\n",
            b";a\r\n\r\n",
            b"8000000000000000\r\n",
            b"ffffffffffffffff\r\n",
            b"00000000000000005\r\nhello\r\n0\r\n\r\n",
            b"5;a\x00\r\nhello\r\n0\r\n\r\n",
            b"5;a\nhello\r\n0\r\n\r\n",
            b"5;a\rb\r\nhello\r\n0\r\n\r\n",
            b"0\r\n\n",
            b"0\r\nX: y\n\r\n",
            b"0\r\nX: \x01\r\n\r\n",
            b"0\r\n\rx",
            long_extension.as_bytes(),
            long_trailers.as_bytes(),
        ];
        for input in cases {
            for input_size in [usize::MAX / 2, 1] {
                assert_eq!(decode(input, input_size, 4096), Err(Malformed), "{}", input.escape_ascii());
            }
        }
    }

    proptest! {
        #[test]
        fn any_split_gives_the_same(chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..40), 0..5), input_size in 1_usize..50, output_size in 1_usize..50) {
            let mut coded = Vec::new();
            for chunk in &chunks {
                coded.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
                coded.extend_from_slice(chunk);
                coded.extend_from_slice(b"\r\n");
            }
            coded.extend_from_slice(b"0\r\n\r\n");
            let mut input = coded.clone();
            input.extend_from_slice(b"GET / HTTP/1.1\r\n");
            prop_assert_eq!(decode(&input, input_size, output_size), Ok((coded, 16)));
        }

        #[test]
        fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), input_size in 1_usize..50) {
            let _any = decode(&bytes, input_size, 7);
        }
    }
}
