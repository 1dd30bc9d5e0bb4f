use proptest::prelude::*;

use super::*;

/// Reads `input` in pieces of this size: its data, and what was left behind its end.
fn decode(mut decoder: Decoder, input: &[u8], size: usize) -> Result<(Vec<u8>, usize), Malformed> {
    let (mut data, mut at) = (Vec::new(), 0);
    while at < input.len() && !decoder.is_done() {
        let piece = &input[at..(at + size).min(input.len())];
        let mut other = decoder.clone();
        let passed = other.follow(piece)?;
        let mut read = 0;
        while read < piece.len() && !decoder.is_done() {
            let left = usize::try_from(decoder.data_remaining()).unwrap().min(piece.len() - read);
            if left == 0 {
                read += decoder.read_framing(&piece[read..])?;
            } else {
                data.extend_from_slice(&piece[read..read + left]);
                decoder.skip_data(left as u64);
                read += left;
            }
        }
        assert_eq!((read, decoder.is_done()), (passed, other.is_done()));
        at += read;
    }
    if decoder.is_done() { Ok((data, input.len() - at)) } else { Err(Malformed) }
}

#[test]
fn finds_the_data_and_the_end() {
    let cases: &[(&[u8], &[u8], usize)] = &[
        (b"0\r\n\r\n", b"", 0),
        (b"000\r\n\r\nGET /", b"", 5),
        (b"5\r\nhello\r\n0\r\n\r\nnext", b"hello", 4),
        (b"5;a=\"b\";c\r\nhello\r\n0;x\r\n\r\n", b"hello", 0),
        (b"2\r\n\r\n\r\n0\r\n\r\n", b"\r\n", 0),
        (b"0\r\nX-Auth-User: root\r\nY: z\r\n\r\nGET", b"", 3),
        (b"000000000000000A\r\n0123456789\r\n0\r\n\r\n", b"0123456789", 0),
    ];
    for (input, data, left) in cases {
        for size in [usize::MAX / 2, 1, 3] {
            for decoder in [Decoder::of_request(), Decoder::of_answer()] {
                let decoded = decode(decoder, input, size);
                assert_eq!(decoded, Ok((data.to_vec(), *left)), "{}", input.escape_ascii());
            }
        }
    }
}

#[test]
fn refuses_every_other_reading() {
    let long_extension = format!("1;{}\r\nx\r\n0\r\n\r\n", "a".repeat(20_000));
    let long_trailers = format!("0\r\n{}\r\n", "X: y\r\n".repeat(20_000));
    let cases: &[&[u8]] = &[
        b"5\nhello\r\n0\r\n\r\n",
        b"5\r\nhello\n0\r\n\r\n",
        b"5\r\nhello!\r\n0\r\n\r\n",
        b"5\r\nhell\r\n0\r\n\r\n",
        b"\r\n0\r\n\r\n",
        b" 5\r\nhello\r\n0\r\n\r\n",
        b"+5\r\nhello\r\n0\r\n\r\n",
        b"-1\r\n\r\n0\r\n\r\n",
        b"0x5\r\nhello\r\n0\r\n\r\n",
        b"g\r\n\r\n",
        b";a\r\n\r\n",
        b"5 5\r\nhello\r\n0\r\n\r\n",
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
        for size in [usize::MAX / 2, 1] {
            for decoder in [Decoder::of_request(), Decoder::of_answer()] {
                assert_eq!(decode(decoder, input, size), Err(Malformed), "{}", input.escape_ascii());
            }
        }
    }
}

#[test]
fn an_app_may_do_what_a_client_may_not() {
    let padded = b"5 \t \r\nhello\r\n0  ;a\r\n\r\n".to_vec();
    let one_long_extension = format!("1;{}\r\nx\r\n0\r\n\r\n", "a".repeat(5000)).into_bytes();
    let many_extensions = [b"1;abcdefg\r\nx\r\n".repeat(4000), b"0\r\n\r\n".to_vec()].concat();
    let trailers = format!("0\r\n{}\r\n", "X: y\r\n".repeat(3000)).into_bytes();
    for input in [padded, one_long_extension, many_extensions, trailers] {
        assert!(decode(Decoder::of_answer(), &input, 1000).is_ok());
        assert_eq!(decode(Decoder::of_request(), &input, 1000), Err(Malformed));
    }
}

proptest! {
    #[test]
    fn any_split_gives_the_same(chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..40), 0..5), size in 1_usize..50) {
        let mut coded = Vec::new();
        for chunk in &chunks {
            coded.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
            coded.extend_from_slice(chunk);
            coded.extend_from_slice(b"\r\n");
        }
        coded.extend_from_slice(b"0\r\n\r\nGET / HTTP/1.1\r\n");
        prop_assert_eq!(decode(Decoder::of_request(), &coded, size), Ok((chunks.concat(), 16)));
    }

    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), size in 1_usize..50) {
        let _any = decode(Decoder::of_answer(), &bytes, size);
    }
}
