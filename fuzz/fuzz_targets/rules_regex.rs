//! Any expression over any subject: read or refused, and found at the same place by both engines; literal texts and beginnings
//! that are looked for first are there where it matches.
#![no_main]

use gatepost_rules::regex::{Beginning, Pattern, Prefixes, fold};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (&str, &[u8], &[u8])| {
    let (modifiers, inside, subject) = input;
    let modifiers = modifiers.bytes().filter(u8::is_ascii_lowercase).take(4).collect::<Vec<u8>>();
    let _ = Pattern::literal(&[b"/", inside, b"/", &modifiers].concat());
    let Ok(pattern) = Pattern::plain(inside, &modifiers) else { return };
    let required = pattern.required();
    let prefixes = Beginning::of(&pattern, 6).and_then(|beginning| Prefixes::new(vec![beginning]));
    let Ok(one) = pattern.compile() else { return };
    let _ = one.captures(subject, 0);
    let Ok(other) = pattern.backtracking() else { return };
    let (Ok(found), Ok(same)) = (one.find(subject, 0), other.find(subject, 0)) else { return };
    assert_eq!(found.as_ref().map(|range| range.start), same.as_ref().map(|range| range.start));
    let Some(range) = same else { return };
    // \K moves the start behind what was looked for.
    if moves_start(inside) {
        return;
    }
    if let Some(prefixes) = &prefixes {
        let mut there = false;
        prefixes.scan(&[subject], |_, _| there = true);
        assert!(there, "the beginning at {range:?}");
    }
    if let Some(required) = &required {
        let folded: Vec<u8> = subject.iter().map(|byte| fold(*byte)).collect();
        let there = |text: &Vec<u8>| folded.windows(text.len().max(1)).any(|part| part == text);
        assert!(required.iter().any(there), "{required:?} at {range:?}");
    }
    assert!(pattern.matches_empty() || !subject.is_empty());
});

fn moves_start(inside: &[u8]) -> bool {
    inside.windows(2).any(|pair| pair == b"\\K")
}
