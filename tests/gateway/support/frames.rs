//! HTTP/2 by hand: frames that no client library would send (RFC 9113 section 4, RFC 7541).

use std::net::SocketAddr;

use rustls::version::TLS13;
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use super::certificates::{Authority, connect};
use super::gateway::World;
use super::wire::patiently;

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const CONTINUATION: u8 = 9;

pub(crate) const END_STREAM: u8 = 1;
pub(crate) const ACK: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;

/// Error codes (RFC 9113 section 7).
pub(crate) const PROTOCOL_ERROR: u32 = 1;
pub(crate) const ENHANCE_YOUR_CALM: u32 = 11;

/// A frame that came in.
#[derive(Debug, Clone)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

impl Frame {
    fn number(&self, at: usize) -> u32 {
        u32::from_be_bytes(self.payload[at..at + 4].try_into().unwrap())
    }
}

pub(crate) type Fields<'a> = Vec<(&'a str, &'a str)>;

/// Returns the fields of a GET request of the store.
pub(crate) fn get(path: &str) -> Fields<'_> {
    vec![(":method", "GET"), (":scheme", "https"), (":authority", "store.localhost"), (":path", path)]
}

/// Returns the fields with more behind them.
pub(crate) fn with<'a>(mut fields: Fields<'a>, more: &[(&'a str, &'a str)]) -> Fields<'a> {
    fields.extend(more);
    fields
}

/// The outcome of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// An answer with this status, and an end to it.
    Status(u16),
    /// The stream was reset before an answer, with this code.
    Reset(u32),
    /// The connection was ended with GOAWAY and this code.
    GoAway(u32),
    /// It was ended without a word.
    Closed,
}

/// A connection.
pub(crate) struct Frames {
    reading: ReadHalf<TlsStream<TcpStream>>,
    writing: WriteHalf<TlsStream<TcpStream>>,
}

impl Frames {
    /// Says hello, with these settings (identifier and value).
    pub(crate) async fn start(authority: &Authority, world: &World, settings: &[(u16, u32)]) -> Self {
        let address = world.gateway.tls.expect("a TLS listener");
        Self::connect(authority, address, settings).await
    }

    /// The same, wherever the gateway is.
    pub(crate) async fn connect(authority: &Authority, address: SocketAddr, settings: &[(u16, u32)]) -> Self {
        let config = authority.client(&[&TLS13], &[b"h2"]);
        let stream = connect(config, address, "store.localhost").await.expect("a handshake");
        let (reading, writing) = tokio::io::split(stream);
        let mut frames = Self { reading, writing };
        frames.raw(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
        let settings: Vec<u8> = settings
            .iter()
            .flat_map(|(id, value)| [&id.to_be_bytes()[..], &value.to_be_bytes()[..]].concat())
            .collect();
        frames.send(SETTINGS, 0, 0, &settings).await;
        frames
    }

    /// Sends bytes, and returns whether the connection still takes them.
    async fn raw(&mut self, bytes: &[u8]) -> bool {
        let sending =
            async { self.writing.write_all(bytes).await.is_ok() && self.writing.flush().await.is_ok() };
        patiently("bytes to be taken", sending).await
    }

    /// Sends a frame; `false`: the connection is gone.
    pub(crate) async fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> bool {
        self.raw(&frame(kind, flags, stream, payload)).await
    }

    /// Sends several frames at once.
    pub(crate) async fn send_all(&mut self, frames: &[Vec<u8>]) -> bool {
        self.raw(&frames.concat()).await
    }

    /// Sends a request's head.
    pub(crate) async fn request(&mut self, flags: u8, stream: u32, fields: &[(&str, &str)]) -> bool {
        self.send(HEADERS, flags | END_HEADERS, stream, &block(fields)).await
    }

    /// The next frame; nothing after the connection's end.
    pub(crate) async fn next(&mut self) -> Option<Frame> {
        patiently("a frame", self.read()).await.ok()
    }

    async fn read(&mut self) -> std::io::Result<Frame> {
        let mut head = [0; 9];
        self.reading.read_exact(&mut head).await?;
        let [a, b, c, kind, flags, stream @ ..] = head;
        let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
        self.reading.read_exact(&mut payload).await?;
        let stream = u32::from_be_bytes(stream) & 0x7fff_ffff;
        if kind == SETTINGS && flags & ACK == 0 {
            self.writing.write_all(&frame(SETTINGS, ACK, 0, &[])).await?;
            self.writing.flush().await?;
        }
        Ok(Frame { kind, flags, stream, payload })
    }

    /// Reads until it is clear what becomes of a request.
    pub(crate) async fn fate(&mut self, stream: u32) -> Fate {
        let mut answered = None;
        while let Some(frame) = self.next().await {
            match frame.kind {
                HEADERS if frame.stream == stream => {
                    let status = status(&frame.payload);
                    if frame.flags & END_STREAM != 0 {
                        return Fate::Status(status);
                    }
                    answered = Some(status);
                }
                DATA if frame.stream == stream && frame.flags & END_STREAM != 0 => {
                    return Fate::Status(answered.expect("a head before its body"));
                }
                RST_STREAM if frame.stream == stream => return Fate::Reset(frame.number(0)),
                GOAWAY => return Fate::GoAway(frame.number(4)),
                _ => {}
            }
        }
        Fate::Closed
    }

    /// Reads to the connection's end; the code of its GOAWAY, if there was one.
    pub(crate) async fn end(&mut self) -> Option<u32> {
        let mut code = None;
        while let Some(frame) = self.next().await {
            if frame.kind == GOAWAY {
                code = Some(frame.number(4));
            }
        }
        code
    }
}

/// A frame's bytes.
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = u32::try_from(payload.len()).unwrap().to_be_bytes()[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// A header block of literals, never indexed, not compressed (RFC 7541 section 6.2.3).
pub(crate) fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, value) in fields {
        bytes.push(0x10);
        for text in [name, value] {
            let mut rest = text.len();
            if rest < 127 {
                bytes.push(u8::try_from(rest).unwrap());
            } else {
                bytes.push(127);
                rest -= 127;
                while rest >= 128 {
                    bytes.push(u8::try_from(rest % 128).unwrap() | 128);
                    rest /= 128;
                }
                bytes.push(u8::try_from(rest).unwrap());
            }
            bytes.extend(text.as_bytes());
        }
    }
    bytes
}

/// The status, which comes first in an answer: from the static table, or as a literal with or without Huffman coding.
/// Only for the first answer of a connection that is not in the static table.
fn status(block: &[u8]) -> u16 {
    // A change of the table's size may come before it.
    let block = if block[0] & 0xe0 == 0x20 { &block[1..] } else { block };
    match block[0] {
        indexed @ 0x88..=0x8e => [200, 204, 206, 304, 400, 404, 500][usize::from(indexed - 0x88)],
        literal if literal & 0x0f >= 8 || literal & 0x3f >= 8 => {
            let length = usize::from(block[1] & 0x7f);
            let text = &block[2..2 + length];
            if block[1] & 0x80 == 0 {
                std::str::from_utf8(text).unwrap().parse().unwrap()
            } else {
                huffman_digits(text)
            }
        }
        other => panic!("no status first: {other:x}"),
    }
}

/// Three digits (RFC 7541 appendix B).
fn huffman_digits(bytes: &[u8]) -> u16 {
    let bits: Vec<u8> = bytes.iter().flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1)).collect();
    let (mut at, mut number) = (0, 0);
    for _ in 0..3 {
        let code =
            |length: usize| bits[at..at + length].iter().fold(0, |code, bit| code << 1 | u16::from(*bit));
        let (digit, length) = match code(5) {
            short @ 0..=2 => (short, 5),
            _ => (code(6) - 0x19 + 3, 6),
        };
        number = number * 10 + digit;
        at += length;
    }
    number
}
