use std::collections::VecDeque;
use std::task::Waker;

use proptest::prelude::*;

use super::*;

/// Bytes that arrive in pieces.
struct Arriving {
    ahead: BytesMut,
    pieces: VecDeque<Vec<u8>>,
}

impl Source for Arriving {
    fn ahead(&mut self) -> &mut BytesMut {
        &mut self.ahead
    }

    fn poll_fill(&mut self, _: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let piece = self.pieces.pop_front().unwrap_or_default();
        self.ahead.extend_from_slice(&piece);
        Poll::Ready(Ok(piece.len()))
    }

    fn poll_past(
        &mut self,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
        limit: u64,
    ) -> Poll<io::Result<usize>> {
        assert!(self.ahead.is_empty());
        let Some(piece) = self.pieces.front_mut() else { return Poll::Ready(Ok(0)) };
        let length = piece.len().min(buffer.remaining()).min(usize::try_from(limit).unwrap());
        buffer.put_slice(&piece.drain(..length).collect::<Vec<_>>());
        if piece.is_empty() {
            self.pieces.pop_front();
        }
        Poll::Ready(Ok(length))
    }
}

/// Returns what comes out for these pieces: the coding, and the bytes that were left behind the end.
fn merge(pieces: Vec<Vec<u8>>, output_size: usize) -> Result<(Vec<u8>, usize), Failure> {
    let mut source = Arriving { ahead: BytesMut::new(), pieces: pieces.into() };
    let mut merger = Merger::new(Decoder::of_request());
    let mut context = Context::from_waker(Waker::noop());
    let mut out = Vec::new();
    loop {
        let mut space = vec![0; output_size];
        let mut buffer = ReadBuf::new(&mut space);
        let Poll::Ready(read) = merger.poll_read(&mut source, &mut context, &mut buffer) else {
            unreachable!("everything has arrived")
        };
        read?;
        if buffer.filled().is_empty() {
            break;
        }
        out.extend_from_slice(buffer.filled());
    }
    let left = source.ahead.len() + source.pieces.iter().map(Vec::len).sum::<usize>();
    if merger.is_done() { Ok((out, left)) } else { Err(Failure::Malformed) }
}

/// By a second reading: the data, and how many chunks there were.
fn read(coded: &[u8]) -> (Vec<u8>, usize) {
    let (mut data, mut chunks, mut rest) = (Vec::new(), 0, coded);
    loop {
        let end = rest.windows(2).position(|window| window == b"\r\n").expect("a size");
        let size = usize::from_str_radix(std::str::from_utf8(&rest[..end]).unwrap(), 16).unwrap();
        data.extend_from_slice(&rest[end + 2..end + 2 + size]);
        assert_eq!(&rest[end + 2 + size..end + 4 + size], b"\r\n");
        rest = &rest[end + 4 + size..];
        if size == 0 {
            assert!(rest.is_empty());
            return (data, chunks);
        }
        chunks += 1;
    }
}

#[test]
fn what_arrives_together_is_one_chunk() {
    let coded = [b"1\r\nx\r\n".repeat(5000), b"0\r\nX-Auth-User: root\r\n\r\nGET".to_vec()].concat();
    let (out, left) = merge(vec![coded.clone()], 64 * 1024).unwrap();
    assert_eq!((read(&out), left), ((vec![b'x'; 5000], 1), 3));
    // As much as a connection reads at once.
    let pieces = coded.chunks(8192).map(<[u8]>::to_vec).collect();
    assert_eq!(read(&merge(pieces, 64 * 1024).unwrap().0), (vec![b'x'; 5000], 4));
}

#[test]
fn what_has_arrived_waits_for_nothing() {
    let pieces = ["1\r\na\r\n", "1\r", "\nb", "\r\n5\r\ncd", "efg\r\n", "0\r\n\r\n"];
    let (out, _) = merge(pieces.map(|piece| piece.as_bytes().to_vec()).to_vec(), 1024).unwrap();
    assert_eq!(read(&out), (b"abcdefg".to_vec(), 4));
}

proptest! {
    #[test]
    fn the_data_stays_however_it_is_cut(
        sizes in prop::collection::vec(prop_oneof![1_usize..5, 1_usize..200, 15_000_usize..40_000], 0..12),
        cuts in prop::collection::vec(1_usize..20_000, 1..30),
        output_size in prop_oneof![1_usize..20, 100_usize..70_000],
    ) {
        let (mut coded, mut data) = (Vec::new(), Vec::new());
        for (index, size) in sizes.iter().enumerate() {
            let chunk: Vec<u8> = (0..*size).map(|at| u8::try_from((at * 7 + index) % 251).unwrap()).collect();
            coded.extend_from_slice(format!("{size:X};e\r\n").as_bytes());
            coded.extend_from_slice(&chunk);
            coded.extend_from_slice(b"\r\n");
            data.extend_from_slice(&chunk);
        }
        coded.extend_from_slice(b"0\r\nT: x\r\n\r\nNEXT");
        let (mut pieces, mut rest, mut cut) = (Vec::new(), coded.as_slice(), cuts.iter().cycle());
        while !rest.is_empty() {
            let (piece, after) = rest.split_at(rest.len().min(*cut.next().unwrap()));
            pieces.push(piece.to_vec());
            rest = after;
        }
        let (out, left) = merge(pieces, output_size).unwrap();
        let (read, chunks) = read(&out);
        prop_assert_eq!(read, data);
        prop_assert!(chunks <= sizes.len() + cuts.len().max(coded.len()));
        // What came with the end of the body is still there, what came later is not read.
        prop_assert!(left >= 4);
        prop_assert!(out.len() <= coded.len() + 16 * (chunks + 1));
    }
}
