//! One request as its client plays it, and the outcome that it may have.

use proptest::prelude::*;

/// The ways in which the app answers, each with what a client that has sent its request may expect.
const PLAYS: [(&str, Expected); 24] = [
    ("echo", Expected::Own),
    ("echo", Expected::Own),
    ("slow", Expected::Own),
    ("chunked", Expected::Own),
    ("interim", Expected::Own),
    ("meanwhile", Expected::Own),
    ("close", Expected::Own),
    ("close-listed", Expected::Own),
    ("http-1.0", Expected::Own),
    ("short-lived", Expected::Own),
    ("until-close", Expected::Own),
    ("surplus", Expected::Own),
    ("surplus-chunked", Expected::Own),
    ("tiny-chunks", Expected::Tiny),
    ("no-content", Expected::Nothing),
    ("not-modified", Expected::Nothing),
    ("no-content-body", Expected::Nothing),
    ("not-modified-body", Expected::Nothing),
    ("head-body", Expected::Own),
    ("early", Expected::Early),
    ("early-stay", Expected::Early),
    ("early-close", Expected::Early),
    ("cut", Expected::Failure),
    ("never", Expected::Failure),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Expected {
    /// The request's own body, by its digest.
    Own,
    Tiny,
    Nothing,
    /// A refusal that the app decides by the head alone.
    Early,
    /// No answer, or one that is cut.
    Failure,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// The end of the framing comes together with the last bytes.
    WithTheLastBytes,
    /// The end of the framing comes on its own.
    Apart,
    Trailers,
    /// The client leaves in the middle.
    Abort,
}

/// One request.
#[derive(Debug, Clone)]
pub(super) struct Play {
    pub(super) over_http2: bool,
    pub(super) to_http2: bool,
    pub(super) method: &'static str,
    pub(super) kind: &'static str,
    pub(super) expected: Expected,
    pub(super) has_length: bool,
    pub(super) pieces: Vec<usize>,
    pub(super) pauses: bool,
    pub(super) end: End,
    pub(super) expects: bool,
}

impl Play {
    pub(super) fn has_body(&self) -> bool {
        self.method == "POST"
    }

    pub(super) fn body(&self) -> Vec<Vec<u8>> {
        let piece = |(index, size): (usize, &usize)| {
            (0..*size).map(|at| b"0123456789abcdef\r\n"[(at + index) % 18]).collect()
        };
        if self.has_body() { self.pieces.iter().enumerate().map(piece).collect() } else { Vec::new() }
    }

    pub(super) fn target(&self, id: &str) -> String {
        format!("/open/play?id={id}&play={}", self.kind)
    }

    pub(super) fn host(&self) -> &'static str {
        if self.to_http2 { "forums.localhost" } else { "store.localhost" }
    }

    /// Says whether the client leaves in the middle.
    pub(super) fn is_aborted(&self) -> bool {
        self.end == End::Abort && self.has_body()
    }

    /// Says whether the app gets only a part of the body.
    pub(super) fn is_cut(&self) -> bool {
        self.is_aborted() && (!self.has_length || self.pieces.last().is_some_and(|last| *last > 0))
    }

    /// Says whether the client holds the body back until the answer is there: such an app would take it for a request.
    pub(super) fn waits_for_answer(&self) -> bool {
        self.kind == "early-stay"
    }
}

prop_compose! {
    pub(super) fn plays()(
        over_http2 in any::<bool>(),
        to_http2 in prop::bool::weighted(0.3),
        method in prop::sample::select(vec!["GET", "HEAD", "POST", "POST", "POST", "POST"]),
        (kind, expected) in prop::sample::select(PLAYS.to_vec()),
        has_length in any::<bool>(),
        pieces in prop::collection::vec(prop::sample::select(vec![0, 1, 5, 100, 3000, 70_000]), 0..6),
        pauses in any::<bool>(),
        end in prop::sample::select(vec![End::WithTheLastBytes, End::WithTheLastBytes, End::Apart, End::Apart, End::Trailers, End::Abort]),
        expects in prop::bool::weighted(0.3),
    ) -> Play {
        Play { over_http2, to_http2, method, kind, expected, has_length, pieces, pauses, end, expects }
    }
}

/// The outcome of a request at its client.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub(super) status: u16,
    pub(super) id: Option<String>,
    pub(super) body: Vec<u8>,
    pub(super) is_whole: bool,
}
