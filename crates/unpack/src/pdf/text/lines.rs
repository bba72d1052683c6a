//! Where words stand on a page, and the lines that readers see of them: what was drawn in whatever order is read from left to
//! right and from top to bottom.

use super::encoding::accented;

/// Words of one page that are sorted together; what is over begins a page of its own.
const MOST: usize = 200_000;

/// The words of one page.
#[derive(Debug, Default)]
pub(super) struct Words {
    words: Vec<Word>,
    /// Nothing may be put behind the last.
    closed: bool,
    /// What was drawn last, if that was one character.
    last: Option<(Place, char)>,
}

/// Where something was drawn, turned so that it reads from left to right.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Place {
    /// In which of four directions it reads: to the right, up, to the left, down.
    pub(super) turn: u8,
    /// Where it begins, in the direction in which it reads.
    pub(super) from: f64,
    /// Where it ends there.
    pub(super) to: f64,
    /// Its base line, counted downwards.
    pub(super) line: f64,
    /// Height of the font.
    pub(super) size: f64,
}

impl Place {
    /// Whether one of two characters lies over or below the other.
    fn meets(&self, other: &Place) -> bool {
        let middle = |place: &Place| f64::midpoint(place.from, place.to);
        let holds = |place: &Place, at: f64| place.from <= at && at <= place.to;
        self.turn == other.turn
            && (self.line - other.line).abs() < 0.5 * self.size.max(other.size)
            && holds(self, middle(other))
            && holds(other, middle(self))
    }
}

#[derive(Debug)]
struct Word {
    place: Place,
    text: String,
    /// A space was drawn behind it.
    spaced: bool,
}

impl Words {
    /// Something was drawn. Lines go into `out` once there are too many words.
    pub(super) fn draw(&mut self, place: Place, text: &str, out: &mut String) {
        if text.chars().all(is_blank) {
            if let Some(last) = self.words.last_mut().filter(|_| !text.is_empty()) {
                // From right to left it lies before.
                last.spaced |= place.from >= last.place.from;
                self.closed = true;
            }
            return;
        }
        let mut characters = text.chars();
        let only =
            characters.next().filter(|_| characters.next().is_none()).map(|character| (place, character));
        let before = std::mem::replace(&mut self.last, only);
        if let (Some((there, before)), Some((here, character))) = (before, only)
            && there.meets(&here)
            && let Some(both) = accented(character, before).or_else(|| accented(before, character))
            && let Some(word) = self.words.last_mut()
        {
            word.text.pop();
            if word.text.is_empty() {
                word.place = Place { from: place.from.min(there.from), ..place };
            }
            word.place.to = place.to.max(there.to);
            word.text.push(both);
            self.last = None;
            return;
        }
        match self.words.last_mut().filter(|last| !self.closed && last.goes_on(&place)) {
            Some(last) => {
                last.text.push_str(text);
                last.place.to = last.place.to.max(place.to);
            }
            None => {
                if self.words.len() >= MOST {
                    self.lines(out);
                }
                self.words.push(Word { place, text: text.to_owned(), spaced: false });
            }
        }
        self.closed = false;
    }

    /// Puts the lines into `out`, and forgets them.
    pub(super) fn lines(&mut self, out: &mut String) {
        let mut words = std::mem::take(&mut self.words);
        self.closed = false;
        words.sort_by(|a, b| {
            let (a, b) = (&a.place, &b.place);
            a.turn.cmp(&b.turn).then(a.line.total_cmp(&b.line))
        });
        let mut before: Option<Place> = None;
        let mut at = 0;
        while at < words.len() {
            let length = line_length(&words[at..]);
            let line = &mut words[at..at + length];
            let place = line[0].place;
            if before.is_some_and(|before| is_apart(&before, &place)) {
                out.push('\n');
            }
            line.sort_by(|a, b| a.place.from.total_cmp(&b.place.from));
            before = Some(line[length - 1].place);
            join(line, out);
            at += length;
        }
    }
}

impl Word {
    /// Whether what is drawn there belongs to the same word.
    fn goes_on(&self, place: &Place) -> bool {
        let last = &self.place;
        let size = last.size.max(place.size);
        let gap = place.from - last.to;
        last.turn == place.turn
            && (last.line - place.line).abs() < 0.2 * size
            && gap < SPACE * size
            && gap > -0.3 * size
            && place.from >= last.from
    }
}

/// A gap between words, in sizes of the font.
const SPACE: f64 = 0.1;

/// How many of the words, which are sorted by their base lines, stand in the first line.
fn line_length(words: &[Word]) -> usize {
    let Some(first) = words.first().map(|word| word.place) else { return 0 };
    let mut last = first;
    let mut same = |place: &Place| {
        let (near, far) = (place.line - last.line, place.line - first.line);
        let is_same = place.turn == first.turn
            && near < 0.6 * place.size.min(last.size)
            && far < 0.9 * place.size.max(first.size);
        last = *place;
        is_same
    };
    1 + words[1..].iter().take_while(|word| same(&word.place)).count()
}

/// Whether an empty line lies between two lines.
fn is_apart(before: &Place, place: &Place) -> bool {
    before.turn != place.turn || place.line - before.line > 2.0 * place.size.max(before.size)
}

/// One line of words, sorted from left to right.
fn join(words: &[Word], out: &mut String) {
    let start = out.len();
    let mut last: Option<&Word> = None;
    for word in words {
        if let Some(before) = last {
            let shift =
                (word.place.from - before.place.from).abs().max((word.place.line - before.place.line).abs());
            if before.text == word.text && shift < 0.2 * word.place.size {
                // Drawn twice to look bold.
                continue;
            }
            if before.spaced
                || word.place.from - before.place.to > SPACE * before.place.size.min(word.place.size)
            {
                out.push(' ');
            }
        }
        out.extend(word.text.chars().map(|c| if c.is_control() { ' ' } else { c }));
        last = Some(word);
    }
    if out[start..].contains(is_leftwards) {
        let logical = logical(&out[start..]);
        out.truncate(start);
        out.push_str(&logical);
    }
    out.push('\n');
}

/// Whether it separates words, or is not seen at all.
fn is_blank(c: char) -> bool {
    c.is_whitespace() || c.is_control()
}

/// Hebrew, Arabic and kin.
fn is_leftwards(c: char) -> bool {
    matches!(c, '\u{590}'..='\u{8ff}' | '\u{fb1d}'..='\u{fdff}' | '\u{fe70}'..='\u{fefe}')
}

/// A line as it is written, of one as it is seen: what reads from right to left is turned round.
fn logical(seen: &str) -> String {
    let characters: Vec<char> = seen.chars().collect();
    let mut out = String::with_capacity(seen.len());
    let mut at = 0;
    while at < characters.len() {
        if !is_leftwards(characters[at]) {
            out.push(characters[at]);
            at += 1;
            continue;
        }
        // Up to the last such character before one of another script.
        let rest = &characters[at..];
        let stops = |c: &char| c.is_alphanumeric() && !is_leftwards(*c);
        let length = rest.iter().position(stops).unwrap_or(rest.len());
        let length = rest[..length].iter().rposition(|c| is_leftwards(*c)).map_or(1, |last| last + 1);
        out.extend(rest[..length].iter().rev());
        at += length;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(drawn: &[(f64, f64, f64, &str)]) -> String {
        let (mut words, mut out) = (Words::default(), String::new());
        for &(from, line, size, text) in drawn {
            let to = from + text.chars().count() as f64 * size / 2.0;
            words.draw(Place { turn: 0, from, to, line, size }, text, &mut out);
        }
        words.lines(&mut out);
        out
    }

    #[test]
    fn lines_are_read_as_they_are_seen() {
        for (drawn, wanted) in [
            // Whatever the order in which they are drawn.
            (
                &[
                    (60.0, 20.0, 10.0, "d"),
                    (0.0, 20.0, 10.0, "c"),
                    (60.0, 0.0, 10.0, "b"),
                    (0.0, 0.0, 10.0, "a"),
                ][..],
                "a b\nc d\n",
            ),
            // Letters side by side are a word, those apart are not.
            (
                &[
                    (0.0, 0.0, 10.0, "P"),
                    (5.0, 0.0, 10.0, "a"),
                    (10.2, 0.0, 10.0, "y"),
                    (17.0, 0.0, 10.0, "x"),
                ],
                "Pay x\n",
            ),
            (&[(0.0, 0.0, 10.0, "a"), (5.0, 0.0, 10.0, " "), (5.1, 0.0, 10.0, "b")], "a b\n"),
            // A raised letter, and a line close by.
            (&[(0.0, 10.0, 10.0, "E=mc"), (20.0, 6.5, 7.0, "2"), (0.0, 20.0, 10.0, "next")], "E=mc2\nnext\n"),
            // Two columns whose lines lie between each other.
            (
                &[
                    (0.0, 0.0, 10.0, "a"),
                    (0.0, 11.0, 10.0, "c"),
                    (50.0, 5.5, 10.0, "b"),
                    (50.0, 16.5, 10.0, "d"),
                ],
                "a b\nc d\n",
            ),
            // Drawn twice.
            (&[(0.0, 0.0, 10.0, "bold"), (0.3, 0.0, 10.0, "bold"), (30.0, 0.0, 10.0, "x")], "bold x\n"),
            // A paragraph ends.
            (&[(0.0, 0.0, 10.0, "a"), (0.0, 12.0, 10.0, "b"), (0.0, 40.0, 10.0, "c")], "a\nb\n\nc\n"),
            // From right to left, as drawn by its places.
            (&[(5.0, 0.0, 10.0, "ש"), (0.0, 0.0, 10.0, "ל"), (20.0, 0.0, 10.0, "ok")], "של ok\n"),
            // Letters with accents that are drawn over them.
            (
                &[
                    (0.0, 0.0, 10.0, "M"),
                    (5.2, 1.0, 10.0, "¨"),
                    (5.0, 0.0, 10.0, "u"),
                    (10.0, 0.0, 10.0, "n"),
                ],
                "Mün\n",
            ),
            (&[(0.0, 0.0, 10.0, "c"), (0.2, 0.0, 10.0, "¸"), (5.0, 0.0, 10.0, "a")], "ça\n"),
            (&[(0.0, 0.0, 10.0, "u"), (5.0, 0.0, 10.0, "¨"), (10.0, 0.0, 10.0, "u")], "u¨u\n"),
            (
                &[
                    (10.0, 0.0, 10.0, "ש"),
                    (5.0, 0.0, 10.0, "ל"),
                    (2.0, 0.0, 10.0, " "),
                    (-3.0, 0.0, 10.0, "ו"),
                ],
                "של ו\n",
            ),
            (&[(0.0, 0.0, 10.0, "a\u{7}b")], "a b\n"),
            (&[(f64::MAX, f64::MIN, 1e300, "a"), (f64::MIN, f64::MAX, 0.0, "b")], "a\n\nb\n"),
            (&[], ""),
        ] {
            assert_eq!(read(drawn), wanted, "{drawn:?}");
        }
    }

    #[test]
    fn too_many_words_are_several_pages() {
        let drawn: Vec<_> = (0..MOST + 5).map(|_| (0.0, 0.0, 0.0, "a")).collect();
        assert!(read(&drawn).lines().count() >= 2);
    }
}
