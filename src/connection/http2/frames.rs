//! Finds frames of HTTP/2 (RFC 9113 section 6) in the bytes of a connection, and the errors that some frames carry.

use crate::answer::reason::ReasonCode;

/// Types of frames (RFC 9113 section 6).
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const GOAWAY: u8 = 7;

/// Errors (RFC 9113 section 7).
pub(super) const NO_ERROR: u32 = 0;
const REFUSED_STREAM: u32 = 7;
const ENHANCE_YOUR_CALM: u32 = 11;

/// A frame of one of the kinds that matter here. Errors are numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Frame {
    Headers(u32),
    Reset(u32, u32),
    GoAway(u32),
}

/// Finds the frames in one direction, in pieces of any size.
#[derive(Debug)]
pub(super) struct Frames {
    /// The number of bytes to pass over.
    skip: usize,
    /// A frame's header, and for some kinds the bytes that follow it.
    start: [u8; 17],
    filled: usize,
}

impl Frames {
    pub(super) const fn after(skip: usize) -> Self {
        Self { skip, start: [0; 17], filled: 0 }
    }

    pub(super) fn follow(&mut self, mut bytes: &[u8], mut each: impl FnMut(Frame)) {
        while !bytes.is_empty() {
            let passed = self.skip.min(bytes.len());
            self.skip -= passed;
            bytes = bytes.get(passed..).unwrap_or_default();
            let wanted = self.wanted();
            let taken = (wanted - self.filled).min(bytes.len());
            let (piece, rest) = bytes.split_at_checked(taken).unwrap_or_default();
            for (to, from) in self.start.iter_mut().skip(self.filled).zip(piece) {
                *to = *from;
            }
            self.filled += taken;
            bytes = rest;
            // Once the header is complete, more bytes may be wanted.
            if taken > 0 && self.filled == self.wanted() {
                self.end_of_start(&mut each);
            }
        }
    }

    /// Returns how many bytes of a frame are looked at.
    fn wanted(&self) -> usize {
        const HEADER: usize = 9;
        let more = match self.start {
            _ if self.filled < HEADER => 0,
            [_, _, _, RST_STREAM, ..] => 4,
            [_, _, _, GOAWAY, ..] => 8,
            _ => 0,
        };
        HEADER + more.min(if self.filled < HEADER { 0 } else { self.length() })
    }

    fn length(&self) -> usize {
        let [high, middle, low, ..] = self.start;
        usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low)
    }

    fn number_at(&self, at: usize) -> u32 {
        let bytes = self.start.get(at..).and_then(<[u8]>::first_chunk);
        bytes.copied().map_or(0, u32::from_be_bytes)
    }

    fn end_of_start(&mut self, each: &mut impl FnMut(Frame)) {
        let stream = self.number_at(5) & (u32::MAX >> 1);
        let frame = match (self.start, self.filled) {
            ([_, _, _, HEADERS, ..], _) => Some(Frame::Headers(stream)),
            ([_, _, _, RST_STREAM, ..], 13) => Some(Frame::Reset(stream, self.number_at(9))),
            ([_, _, _, GOAWAY, ..], 17) => Some(Frame::GoAway(self.number_at(13))),
            _ => None,
        };
        self.skip = (9 + self.length()).saturating_sub(self.filled);
        self.filled = 0;
        if let Some(frame) = frame {
            each(frame);
        }
    }
}

/// Returns the reason code for an error. Some errors are not the fault of the head.
pub(super) const fn reason(error: u32) -> ReasonCode {
    match error {
        REFUSED_STREAM | ENHANCE_YOUR_CALM => ReasonCode::TooManyStreams,
        _ => ReasonCode::MalformedRequest,
    }
}

/// Returns the name of an error (RFC 9113 section 7).
pub(super) fn name(error: u32) -> &'static str {
    const NAMES: [&str; 14] = [
        "NO_ERROR",
        "PROTOCOL_ERROR",
        "INTERNAL_ERROR",
        "FLOW_CONTROL_ERROR",
        "SETTINGS_TIMEOUT",
        "STREAM_CLOSED",
        "FRAME_SIZE_ERROR",
        "REFUSED_STREAM",
        "CANCEL",
        "COMPRESSION_ERROR",
        "CONNECT_ERROR",
        "ENHANCE_YOUR_CALM",
        "INADEQUATE_SECURITY",
        "HTTP_1_1_REQUIRED",
    ];
    usize::try_from(error).ok().and_then(|error| NAMES.get(error)).copied().unwrap_or("another error")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frame(kind: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).expect("short").to_be_bytes();
        [&length[1..], &[kind, 0], &stream.to_be_bytes(), payload].concat()
    }

    fn frames() -> impl Strategy<Value = (Vec<u8>, Option<Frame>)> {
        let kinds = prop::sample::select(vec![0_u8, HEADERS, 2, RST_STREAM, 4, GOAWAY, 8, 9]);
        (kinds, 0..u32::MAX >> 1, any::<u32>(), prop::collection::vec(any::<u8>(), 0..40)).prop_map(
            |(kind, stream, error, payload)| match kind {
                HEADERS => (frame(kind, stream, &payload), Some(Frame::Headers(stream))),
                RST_STREAM => (frame(kind, stream, &error.to_be_bytes()), Some(Frame::Reset(stream, error))),
                GOAWAY => {
                    let goaway = [&stream.to_be_bytes(), &error.to_be_bytes()[..], &payload].concat();
                    (frame(kind, 0, &goaway), Some(Frame::GoAway(error)))
                }
                _ => (frame(kind, stream, &payload), None),
            },
        )
    }

    proptest! {
        #[test]
        fn all_are_found_in_whatever_pieces(all in prop::collection::vec(frames(), 0..12), size in 1_usize..40, skip in 0_usize..30) {
            let mut bytes = vec![RST_STREAM; skip];
            bytes.extend(all.iter().flat_map(|(bytes, _)| bytes.clone()));
            let mut follower = Frames::after(skip);
            let mut found = Vec::new();
            for piece in bytes.chunks(size) {
                follower.follow(piece, |frame| found.push(frame));
            }
            let expected: Vec<Frame> = all.iter().filter_map(|(_, frame)| *frame).collect();
            prop_assert_eq!(found, expected);
        }

        #[test]
        fn nothing_panics(bytes in prop::collection::vec(any::<u8>(), 0..200), size in 1_usize..20) {
            let mut follower = Frames::after(0);
            for piece in bytes.chunks(size) {
                follower.follow(piece, |_| {});
            }
        }
    }
}
