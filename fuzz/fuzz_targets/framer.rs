//! What the framer lets through is one message to everybody: it is compared with a second reader of the grammar, and
//! must not depend on how the bytes arrive.
//!
//! Input: a byte whose lowest three bits say how many sizes of pieces follow, those (modulo 48, so that `0` to `9` mean
//! what they say), and the client's bytes.
#![no_main]

mod reference;

use std::mem::discriminant;

use libfuzzer_sys::fuzz_target;
use portcullis::fuzzing::{Ended, Framed, frame};
use reference::{Message, empty_lines};

fuzz_target!(|data: &[u8]| {
    let Some((count, rest)) = data.split_first() else {
        return;
    };
    let (sizes, input) = rest.split_at(usize::from(count & 7).min(rest.len()));
    let sizes: Vec<u8> = sizes.iter().map(|size| size % 48).collect();
    let wanted = reference::parse(input);
    let (whole, cut) = (frame(input, &[]), frame(input, &sizes));
    judge(input, &whole, &wanted);
    judge(input, &cut, &wanted);
    compare(&whole, &cut);
});

/// Holds what the framer made of the input to what the grammar makes of it.
fn judge(input: &[u8], framed: &Framed, wanted: &[Message]) {
    for (at, message) in framed.messages.iter().enumerate() {
        let Some(wanted) = wanted.get(at) else {
            panic!("message {at} is none by the grammar: {message:?}");
        };
        let head = &input[wanted.head.clone()];
        assert!(
            head.starts_with(message.line.as_bytes()),
            "the head of {at}"
        );
        assert_eq!(message.framing, wanted.framing, "the framing of {at}");
        assert_eq!(message.is_whole, wanted.end.is_some(), "the end of {at}");
        if message.is_whole {
            assert_eq!(message.data, wanted.data, "the body of {at}");
        }
        assert!(
            wanted.data.starts_with(&message.data),
            "what came of the body of {at}"
        );
    }
    let next = wanted.get(framed.messages.len());
    match framed.ended {
        Ended::Broken(_) => assert!(next.is_none(), "there is more behind a broken body"),
        Ended::Refused(why) => assert!(
            next.is_none_or(|next| !next.is_demanded),
            "refused as {why}, and well-formed: {next:?}"
        ),
        Ended::Gone => assert!(next.is_none(), "the client is not gone: {next:?}"),
        Ended::End => {
            let rest = rest(input, wanted, framed.messages.len());
            assert_eq!(rest.len(), empty_lines(rest), "bytes are lost");
        }
    }
}

/// Holds two ways of the same bytes to the same outcome. The word of a refusal may differ: a head that is malformed behind
/// what is too long is the one or the other.
fn compare(whole: &Framed, cut: &Framed) {
    for (whole, cut) in whole.messages.iter().zip(&cut.messages) {
        assert_eq!(whole.line, cut.line);
        assert_eq!(whole.framing, cut.framing);
        assert_eq!(whole.is_whole, cut.is_whole);
        assert!(!whole.is_whole || whole.data == cut.data);
    }
    assert_eq!(whole.messages.len(), cut.messages.len());
    assert_eq!(
        discriminant(&whole.ended),
        discriminant(&cut.ended),
        "at once {:?}, in pieces {:?}",
        whole.ended,
        cut.ended
    );
}

/// What follows so many messages.
fn rest<'a>(input: &'a [u8], messages: &[Message], count: usize) -> &'a [u8] {
    let last = count.checked_sub(1).and_then(|last| messages.get(last));
    &input[last.map_or(0, |last| last.end.unwrap_or(input.len()))..]
}
