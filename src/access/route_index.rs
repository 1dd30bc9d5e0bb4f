//! Finds the routes that may match a path without looking at all of them.
//!
//! A route matches a path whose beginning, up to a slash or the end, is the route's own path. So the beginnings of a
//! path are looked up, each by its hash, in one pass over it. What is found is only a candidate: the route itself says
//! whether it matches.

/// The routes of an app by the hashes of their paths.
#[derive(Debug)]
pub(super) struct RouteIndex {
    /// Sorted: hash of a route's path, and the route's place.
    entries: Vec<(u64, usize)>,
    /// Bytes of the longest path: longer beginnings need not be looked up.
    longest: usize,
}

impl RouteIndex {
    /// The index of routes with these paths, in the file's order.
    pub(super) fn new<'a>(paths: impl Iterator<Item = &'a [u8]>) -> Self {
        let (mut entries, mut longest) = (Vec::new(), 0);
        for (place, path) in paths.enumerate() {
            // Without its last slash, which some routes ignore, as with every beginning of a path.
            let path = path.strip_suffix(b"/").unwrap_or(path);
            longest = longest.max(path.len());
            entries.push((path.iter().fold(START, |hash, byte| step(hash, *byte)), place));
        }
        entries.sort_unstable();
        Self { entries, longest }
    }

    /// The first route, in the file's order, that matches a path.
    pub(super) fn first(&self, path: &[u8], matches: impl Fn(usize) -> bool) -> Option<usize> {
        let mut first: Option<usize> = None;
        let mut look_up = |hash| {
            let start = self.entries.partition_point(|(known, _)| *known < hash);
            let candidates = self.entries.get(start..).unwrap_or_default().iter();
            for (_, place) in candidates.take_while(|(known, _)| *known == hash) {
                if first.is_some_and(|first| first < *place) {
                    return;
                }
                if matches(*place) {
                    first = Some(*place);
                    return;
                }
            }
        };
        let mut hash = START;
        for (at, byte) in path.iter().enumerate() {
            if at > self.longest {
                return first;
            }
            if *byte == b'/' {
                look_up(hash);
            }
            hash = step(hash, *byte);
        }
        look_up(hash);
        first
    }
}

/// FNV-1a, 64 bits, without regard to case. Only configured paths are in the index, so nobody else can fill it with collisions.
const START: u64 = 0xcbf2_9ce4_8422_2325;

fn step(hash: u64, byte: u8) -> u64 {
    (hash ^ u64::from(byte.to_ascii_lowercase())).wrapping_mul(0x0100_0000_01b3)
}
