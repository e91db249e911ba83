//! Runs the targets of `fuzz/` with the inputs in `fuzz/corpus`, and with changed ones: 2000 for each target, or as many as
//! `LOCKGATE_FUZZ` says.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

#[path = "../../fuzz/targets.rs"]
mod targets;

use std::panic::catch_unwind;
use std::path::Path;

/// What breaks one of the rules is of more use here than what is random.
const PIECES: &[&[u8]] = &[
    b"\r",
    b"\n",
    b"\r\n",
    b"\r\n\r\n",
    b"\0",
    b" ",
    b"\t",
    b":",
    b";",
    b",",
    b"=",
    b"\"",
    b"/",
    b"//",
    b"/../",
    b"%2e",
    b"%00",
    b"%2F",
    b"\\",
    b"#",
    b"?",
    b"0",
    b"9",
    b"f",
    b"0\r\n\r\n",
    b"Content-Length: 1\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"_",
    b"-",
    b"[",
    b"]",
    b"{",
    b"}",
    b"'",
    b"[[route]]\n",
    b"\xff",
    b"\xc3\xa9",
    b"HTTP/1.1",
];

#[test]
fn what_the_targets_try_holds() {
    let changed = std::env::var("LOCKGATE_FUZZ").map_or(2000, |text| text.parse().expect("a number"));
    for (name, target) in targets::TARGETS {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(name);
        let files = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        let mut inputs: Vec<_> = files.map(|file| std::fs::read(file.unwrap().path()).unwrap()).collect();
        inputs.sort();
        assert!(!inputs.is_empty(), "no inputs in {}", folder.display());
        inputs.iter().for_each(|input| try_out(name, target, input));
        let mut dice = Dice(1);
        for _ in 0..changed {
            try_out(name, target, &change(&inputs, &mut dice));
        }
    }
}

fn try_out(name: &str, target: fn(&[u8]), input: &[u8]) {
    let held = catch_unwind(|| target(input));
    assert!(held.is_ok(), "{name} does not hold with {:?}", String::from_utf8_lossy(input));
}

fn change(inputs: &[Vec<u8>], dice: &mut Dice) -> Vec<u8> {
    let mut input = inputs[dice.below(inputs.len())].clone();
    for _ in 0..=dice.below(4) {
        let at = dice.below(input.len() + 1);
        let end = (at + dice.below(8)).min(input.len());
        match dice.below(4) {
            0 => drop(input.drain(at..end)),
            1 if at < input.len() => input[at] = dice.below(256) as u8,
            2 => {
                let other = &inputs[dice.below(inputs.len())];
                let from = dice.below(other.len() + 1);
                input.truncate(at);
                input.extend_from_slice(&other[from..]);
            }
            _ => drop(input.splice(at..at, PIECES[dice.below(PIECES.len())].iter().copied())),
        }
    }
    input
}

/// Numbers that look random (xorshift64), and are the same each time.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) as usize % bound.max(1)
    }
}
