//! Bytes as tokens between spaces, each either hex or `hex*count`: long runs stay short.

use super::vector::{hex, unhex};

/// A repetition is written as one from this many on.
const LEAST: usize = 8;

pub fn to_tokens(bytes: &[u8]) -> String {
    let mut tokens = Vec::new();
    let mut plain = 0;
    let mut at = 0;
    while at < bytes.len() {
        let repetition = [1, 2].map(|period| (repeats(&bytes[at..], period), period));
        let Some((count, period)) = repetition.into_iter().find(|(count, _)| *count >= LEAST)
        else {
            at += 1;
            continue;
        };
        if plain < at {
            tokens.push(hex(&bytes[plain..at]));
        }
        tokens.push(format!("{}*{count}", hex(&bytes[at..at + period])));
        at += count * period;
        plain = at;
    }
    if plain < at {
        tokens.push(hex(&bytes[plain..at]));
    }
    tokens.join(" ")
}

/// How often the first `period` bytes stand one after another.
fn repeats(bytes: &[u8], period: usize) -> usize {
    let Some(first) = bytes.get(..period) else {
        return 0;
    };
    bytes
        .chunks_exact(period)
        .take_while(|piece| *piece == first)
        .count()
}

pub fn from_tokens(text: &str) -> Vec<u8> {
    text.split_whitespace()
        .flat_map(|token| match token.split_once('*') {
            None => unhex(token),
            Some((bytes, count)) => unhex(bytes).repeat(count.parse().expect("a count")),
        })
        .collect()
}

#[test]
fn tokens_round_trip() {
    for bytes in [
        Vec::new(),
        vec![0; 7],
        vec![0; 8],
        [&b"abc"[..], &[9; 700], b"xyz", &b"ab".repeat(90), b"c"].concat(),
    ] {
        assert_eq!(from_tokens(&to_tokens(&bytes)), bytes);
    }
    assert_eq!(to_tokens(&[0; 512]), "00*512");
}
