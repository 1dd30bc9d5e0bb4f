//! The Close frame that a WebSocket gets when its session has ended, the server stops, or nothing has gone over it for
//! too long.
//!
//! It must not be written into another frame. So this module follows where frames begin and end (RFC 6455 section 5.2),
//! and does not touch their bytes. It does not check the content of the frames or their order. The browser does that.

use crate::connection::exchange_end::EndReason;

/// The Close frame's opcode. Opcodes from this one on belong to control frames.
const CLOSE: u8 = 0x8;

/// The most bytes that a control frame may carry.
const MAX_CONTROL_PAYLOAD: u64 = 125;

/// The position in the frames after the bytes so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Between two frames.
    Between,
    /// After a frame's first byte.
    Length { opcode: u8 },
    /// In the 2 or 8 bytes of a longer length.
    LongLength { opcode: u8, is_masked: bool, left: u8, length: u64 },
    /// In the mask or the payload.
    Payload { opcode: u8, left: u64 },
    /// After a Close frame: nothing may follow.
    Closed,
    /// The bytes are not WebSocket frames.
    Malformed,
}

/// Follows the bytes in one direction, in pieces of any size.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FrameFollower(State);

impl FrameFollower {
    /// Begins the first frame after `skipped` bytes.
    pub(crate) const fn new(skipped: u64) -> Self {
        Self(after_payload(0, skipped))
    }

    /// Notes that these bytes were sent.
    pub(crate) fn advance(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            bytes = self.step(bytes);
        }
    }

    /// Returns how many of `bytes`, if they were sent next, would belong to the frame that is under way.
    pub(crate) fn rest_of_frame(mut self, bytes: &[u8]) -> usize {
        let mut rest = bytes;
        while !rest.is_empty() && self.is_inside() {
            rest = self.step(rest);
        }
        bytes.len() - rest.len()
    }

    /// Returns true if a frame is under way.
    pub(crate) const fn is_inside(&self) -> bool {
        !matches!(self.0, State::Between | State::Closed | State::Malformed)
    }

    /// Returns true if another frame may be written here.
    pub(crate) const fn is_between(&self) -> bool {
        matches!(self.0, State::Between)
    }

    /// Takes at least one byte, and at most the rest of the frame. Returns the bytes after those.
    fn step<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let Some((&byte, rest)) = bytes.split_first() else { return bytes };
        self.0 = match self.0 {
            State::Between => first_byte(byte),
            State::Length { opcode } => second_byte(opcode, byte),
            State::LongLength { opcode, is_masked, left, length } => {
                let length = length << 8 | u64::from(byte);
                match left {
                    ..=1 => after_length(opcode, is_masked, length),
                    _ => State::LongLength { opcode, is_masked, left: left - 1, length },
                }
            }
            State::Payload { opcode, left } => {
                let taken = usize::try_from(left).map_or(bytes.len(), |left| left.min(bytes.len()));
                self.0 = after_payload(opcode, left - taken as u64);
                return bytes.get(taken..).unwrap_or_default();
            }
            State::Closed | State::Malformed => return &[],
        };
        rest
    }
}

/// Reads a frame's first byte. The three reserved bits are for extensions (`permessage-deflate` uses one). No extension
/// has opcodes of its own.
const fn first_byte(byte: u8) -> State {
    let (is_final, opcode) = (byte & 0x80 != 0, byte & 0x0f);
    match opcode {
        0x0..=0x2 => State::Length { opcode },
        CLOSE..=0xa if is_final => State::Length { opcode },
        _ => State::Malformed,
    }
}

/// Reads a frame's second byte. A server masks nothing (section 5.1), but the end of the frame is clear even if one
/// does.
const fn second_byte(opcode: u8, byte: u8) -> State {
    let is_masked = byte & 0x80 != 0;
    match byte & 0x7f {
        126 => State::LongLength { opcode, is_masked, left: 2, length: 0 },
        127 => State::LongLength { opcode, is_masked, left: 8, length: 0 },
        length => after_length(opcode, is_masked, length as u64),
    }
}

const fn after_length(opcode: u8, is_masked: bool, length: u64) -> State {
    if length >> 63 != 0 || (opcode >= CLOSE && length > MAX_CONTROL_PAYLOAD) {
        return State::Malformed;
    }
    after_payload(opcode, if is_masked { length + 4 } else { length })
}

const fn after_payload(opcode: u8, left: u64) -> State {
    match (left, opcode) {
        (0, CLOSE) => State::Closed,
        (0, _) => State::Between,
        _ => State::Payload { opcode, left },
    }
}

/// Returns the Close frame for a connection that is ended for this reason. Returns `None` if the browser or the app has
/// ended it.
pub(crate) fn close_frame_for(reason: EndReason) -> Option<Vec<u8>> {
    match reason {
        EndReason::SessionEnded => Some(close_frame(4401, "session ended")),
        EndReason::Shutdown => Some(close_frame(1001, "server stops")),
        EndReason::Idle => Some(close_frame(1001, "idle")),
        _ => None,
    }
}

/// Makes a server's Close frame (section 5.5.1). The reason must be short: a control frame carries 125 bytes.
fn close_frame(code: u16, reason: &str) -> Vec<u8> {
    let length = u8::try_from(reason.len() + 2).unwrap_or(u8::MAX);
    debug_assert!(u64::from(length) <= MAX_CONTROL_PAYLOAD, "a reason too long");
    let mut frame = vec![0x80 | CLOSE, length];
    frame.extend_from_slice(&code.to_be_bytes());
    frame.extend_from_slice(reason.as_bytes());
    frame
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn frame(first: u8, is_masked: bool, length: usize) -> Vec<u8> {
        let mask = if is_masked { 0x80 } else { 0 };
        let mut frame = vec![first];
        match length {
            0..126 => frame.push(mask | u8::try_from(length).unwrap()),
            126..65536 => {
                frame.push(mask | 0x7e);
                frame.extend(u16::try_from(length).unwrap().to_be_bytes());
            }
            _ => {
                frame.push(mask | 0x7f);
                frame.extend((length as u64).to_be_bytes());
            }
        }
        // Payload that looks like a Close frame.
        frame.extend(std::iter::repeat_n(0x88, length + if is_masked { 4 } else { 0 }));
        frame
    }

    fn any_frame() -> impl Strategy<Value = Vec<u8>> {
        let data = prop_oneof![Just(0x00), Just(0x01), Just(0x82), Just(0xc1), Just(0x80)];
        let lengths = prop_oneof![0_usize..130, 65_530_usize..65_540, 126_usize..2000];
        prop_oneof![
            (data, any::<bool>(), lengths).prop_map(|(first, masked, length)| frame(first, masked, length)),
            (prop_oneof![Just(0x89), Just(0x8a)], any::<bool>(), 0_usize..=125)
                .prop_map(|(first, masked, length)| frame(first, masked, length)),
        ]
    }

    proptest! {
        #[test]
        fn knows_every_boundary_however_the_bytes_are_cut(
            frames in vec(any_frame(), 1..6),
            pieces in vec(prop_oneof![1_usize..5, 1_usize..70_000], 1..50),
            skipped in 0_usize..50,
        ) {
            let mut bytes = vec![0x88; skipped];
            let mut ends = vec![skipped];
            for frame in &frames {
                bytes.extend(frame);
                ends.push(bytes.len());
            }
            let mut follower = FrameFollower::new(skipped as u64);
            let mut at = 0;
            for piece in pieces.into_iter().cycle() {
                prop_assert_eq!(follower.is_between(), ends.contains(&at), "at {}", at);
                prop_assert_eq!(follower.is_inside(), !ends.contains(&at));
                let end = ends.iter().copied().find(|&end| end >= at).unwrap();
                prop_assert_eq!(follower.rest_of_frame(&bytes[at..]), end - at);
                if at == bytes.len() {
                    break;
                }
                let to = bytes.len().min(at + piece);
                prop_assert_eq!(follower.rest_of_frame(&bytes[at..to]), end.min(to) - at);
                follower.advance(&bytes[at..to]);
                at = to;
            }
            follower.advance(&frame(0x88, false, 2));
            prop_assert!(!follower.is_between() && !follower.is_inside(), "closed");
        }

        #[test]
        fn the_cut_does_not_matter_for_any_bytes(bytes in vec(any::<u8>(), 0..300)) {
            let mut whole = FrameFollower::new(0);
            whole.advance(&bytes);
            let mut single = FrameFollower::new(0);
            for byte in &bytes {
                prop_assert_eq!(single.rest_of_frame(&[*byte]), usize::from(single.is_inside()));
                single.advance(&[*byte]);
            }
            prop_assert_eq!(whole.0, single.0);
        }
    }

    #[test]
    fn what_is_no_frame_is_malformed_for_good() {
        let too_long = [&[0x82, 127, 0x80][..], &[0; 7]].concat();
        for bytes in [&[0x83][..], &[0x8f], &[0x08], &[0x09], &[0x88, 126, 0, 126], &too_long] {
            let mut follower = FrameFollower::new(0);
            follower.advance(bytes);
            assert_eq!(follower.0, State::Malformed, "{bytes:x?}");
            follower.advance(&frame(0x81, false, 3));
            assert_eq!(follower.0, State::Malformed);
        }
    }

    #[test]
    fn our_close_frame_is_one() {
        let frame = close_frame(4401, "session ended");
        assert_eq!(frame, b"\x88\x0f\x11\x31session ended");
        let mut follower = FrameFollower::new(0);
        follower.advance(&frame);
        assert_eq!(follower.0, State::Closed);
    }
}
