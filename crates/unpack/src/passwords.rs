//! Candidate passwords for what is encrypted: the words of the mail itself, and a configured list. The classic trick is an
//! archive that no scanner can open and its password in the text beside it.
//!
//! Nothing is gathered before something encrypted turns up. What is tried is bounded by its price: a try may cost one round
//! of a hash or half a million, and a message has so many rounds in all ([`ROUNDS`]), of which no container gets more than
//! a quarter of what is left, so that a decoy does not use up what the next one needs.

use std::collections::HashSet;

use gatepost_mail::{Message, Part, text};

/// Candidates that are kept.
const MOST: usize = 1000;
/// Rounds of a hash (blocks of 64 bytes) that all tries of a message may cost: a second or a few.
const ROUNDS: u64 = 16 << 20;
/// Bytes of text that are looked at in all, and of one part.
const MOST_TEXT: usize = 512 << 10;
const MOST_TEXT_OF_PART: usize = 64 << 10;
/// Longest password, in characters.
const LONGEST: usize = 64;
/// So many words on each side of a word for "password" are likely ones.
const BEHIND: usize = 8;
const BEFORE: usize = 4;
/// So many of the likely words are tried before the configured list.
const FIRST: usize = 16;

/// Parts of words for "password", in the languages that mail comes in.
const KEYWORDS: &[&str] = &[
    "pass",
    "pwd",
    "code",
    "kennw",
    "parol",
    "contrase",
    "clave",
    "senha",
    "wachtwoord",
    "lösen",
    "losen",
    "hasł",
    "haslo",
    "heslo",
    "jelsz",
    "şifre",
    "sifre",
    "salasana",
    "kodeord",
    "adgangskode",
    "lozink",
    "schlüssel",
    "парол",
    "код",
    "κωδικ",
    "סיסמ",
    "كلمة",
    "密码",
    "密碼",
    "口令",
    "パスワード",
    "暗証",
    "비밀번호",
    "암호",
];
/// The same as words of their own.
const KEYWORDS_ALONE: &[&str] = &["pw", "pin", "key", "mdp", "kod", "psw", "pswd", "clef", "clé"];

/// The candidates of one message.
#[derive(Debug, Default)]
pub(crate) struct Passwords {
    /// In the order in which they are tried.
    list: Vec<Password>,
    known: HashSet<String>,
    /// Parts of the message that were looked at.
    parts: usize,
    /// Bytes of text that were looked at.
    text: usize,
    /// Rounds that were spent.
    spent: u64,
}

/// A candidate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Password {
    /// The word.
    pub(crate) text: String,
    /// It stands in the mail.
    pub(crate) from_mail: bool,
    likely: Likely,
}

/// How likely a word is a password; the likeliest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Likely {
    /// It opened something.
    Proven,
    /// It stands beside a word for "password"; the less, the likelier.
    Beside(u8),
    /// It is on the configured list.
    Listed,
    /// It stands beside such a word, as many others do.
    Further,
    /// It is quoted, or of letters and digits.
    Marked,
    /// Any other word.
    Any,
}

impl Passwords {
    /// Looks at what was added to the message since the last call, and at the configured list.
    pub(crate) fn gather(&mut self, message: &Message, listed: &[String]) {
        if self.parts == message.parts.len() {
            return;
        }
        let mut found = Vec::new();
        if self.parts == 0 {
            words(&message.subject(), &mut found);
            found.extend(listed.iter().map(|word| (Likely::Listed, word.clone())));
        }
        for part in &message.parts[self.parts..] {
            for name in &part.names {
                words(stem(name), &mut found);
            }
            if self.text < MOST_TEXT
                && let Some(text) = beginning(part)
            {
                let text = head(&text.text, MOST_TEXT_OF_PART);
                self.text += text.len();
                words(text, &mut found);
            }
        }
        self.parts = message.parts.len();
        self.add(found);
    }

    /// How many candidates may be tried at that price, in rounds of a hash each.
    pub(crate) fn affordable(&self, rounds: u64) -> usize {
        let tries = ROUNDS.saturating_sub(self.spent) / 4 / rounds.max(1);
        usize::try_from(tries).unwrap_or(MOST).min(self.list.len())
    }

    /// Notes what a try cost.
    pub(crate) fn spend(&mut self, rounds: u64) {
        self.spent = self.spent.saturating_add(rounds);
    }

    /// The candidate of that place.
    pub(crate) fn at(&self, place: usize) -> Option<&Password> {
        self.list.get(place)
    }

    /// The candidate of that place opened something, and is tried first from now on.
    pub(crate) fn proven(&mut self, place: usize) {
        if let Some(front) = self.list.get_mut(..=place) {
            front.rotate_right(1);
            front[0].likely = Likely::Proven;
        }
    }

    fn add(&mut self, mut found: Vec<(Likely, String)>) {
        found.sort_by_key(|(likely, _)| *likely);
        let mut beside = self.list.iter().filter(|other| matches!(other.likely, Likely::Beside(_))).count();
        for (mut likely, text) in found {
            if matches!(likely, Likely::Beside(_)) {
                beside += 1;
                if beside > FIRST {
                    likely = Likely::Further;
                }
            }
            if self.known.insert(text.clone()) {
                self.list.push(Password { text, from_mail: likely != Likely::Listed, likely });
            } else if likely != Likely::Listed
                && let Some(listed) =
                    self.list.iter_mut().find(|other| !other.from_mail && other.text == text)
            {
                listed.from_mail = true;
            }
        }
        self.list.sort_by_key(|password| password.likely);
        self.list.truncate(MOST);
        self.known = self.list.iter().map(|password| password.text.clone()).collect();
    }
}

/// The text that a part begins with.
fn beginning(part: &Part) -> Option<text::Text> {
    /// Of HTML only some is text.
    const MOST_SOURCE: usize = 8 * MOST_TEXT_OF_PART;
    if part.body.len() <= MOST_SOURCE {
        return text::of(part);
    }
    text::of(&Part { body: part.body.slice(..MOST_SOURCE), ..part.clone() })
}

/// The words of a text that may be passwords, each with how likely it is.
fn words(text: &str, found: &mut Vec<(Likely, String)>) {
    /// Words of one text.
    const MOST_WORDS: usize = 16 << 10;
    let tokens: Vec<&str> = text.split_whitespace().take(MOST_WORDS).collect();
    let start = found.len();
    // Beside a word for "password": what stands behind it is likelier than what stands before it.
    for (place, token) in tokens.iter().enumerate().filter(|(_, token)| is_keyword(token)) {
        if found.len() - start > MOST {
            break;
        }
        inside_of_keyword(token, found);
        let behind = tokens[place + 1..].iter().take(BEHIND).enumerate();
        behind.for_each(|(distance, near)| beside(near, distance, found));
        let before = tokens[..place].iter().rev().take(BEFORE).enumerate();
        before.for_each(|(distance, near)| beside(near, distance + 4, found));
    }
    text.lines().filter_map(rest_of_line).take(64).for_each(|rest| push(Likely::Beside(3), rest, found));
    quoted(text).for_each(|quote| push(Likely::Marked, quote, found));
    let mut seen = HashSet::new();
    for token in tokens.into_iter().filter(|token| seen.insert(*token)).take(4 * MOST) {
        for word in readings(token) {
            let likely = if looks(word) < 2 { Likely::Marked } else { Likely::Any };
            if word.chars().nth(2).is_some() {
                push(likely, word, found);
            }
        }
    }
}

fn push(likely: Likely, word: &str, found: &mut Vec<(Likely, String)>) {
    if !word.is_empty() && word.chars().nth(LONGEST).is_none() {
        found.push((likely, word.to_owned()));
    }
}

/// A word at that distance of a word for "password".
fn beside(token: &str, distance: usize, found: &mut Vec<(Likely, String)>) {
    for (place, word) in readings(token).into_iter().enumerate() {
        let rank = usize::from(looks(word)) * 4 + distance + place * 8;
        push(Likely::Beside(u8::try_from(rank).unwrap_or(u8::MAX)), word, found);
    }
}

/// `Password:abc`, `pw=abc`: what stands behind the sign. Where words stand without spaces, the run of ASCII behind them.
fn inside_of_keyword(token: &str, found: &mut Vec<(Likely, String)>) {
    if let Some((_, value)) = token.split_once([':', '=', '\u{ff1a}']) {
        readings(value).into_iter().for_each(|word| push(Likely::Beside(0), word, found));
    }
    if !token.is_ascii() {
        let runs = token.split(|c: char| !c.is_ascii_graphic()).filter(|run| !run.is_empty());
        runs.for_each(|run| readings(run).into_iter().for_each(|word| push(Likely::Beside(1), word, found)));
    }
}

/// A word as it stands, and without what surrounds it in a sentence.
fn readings(token: &str) -> Vec<&str> {
    let outer = |c: char| c.is_ascii_punctuation() || "«»“”„‘’‹›。，、：；！？（）「」『』【】…".contains(c);
    let light = |c: char| ".,;:!?\"'()[]<>{}*`«»“”„‘’‹›。，：；（）「」『』【】".contains(c);
    let mut all = Vec::with_capacity(3);
    for word in
        [token.trim_matches(light), token.trim_end_matches(['.', ',', ';']), token, token.trim_matches(outer)]
    {
        if !word.is_empty() && !all.contains(&word) {
            all.push(word);
        }
    }
    all
}

/// 0 where a word looks like nothing else than a password (digits or signs in it), 1 for capitals in odd places, 2 for any
/// other.
fn looks(word: &str) -> u8 {
    let plain = |c: char| c.is_alphabetic() || matches!(c, '-' | '\'' | '’');
    if !word.chars().all(plain) {
        return if word.contains("://") || word.contains('@') && word.contains('.') { 2 } else { 0 };
    }
    if word.chars().skip(1).any(char::is_uppercase) { 1 } else { 2 }
}

fn is_keyword(token: &str) -> bool {
    if token.len() > 4 * LONGEST {
        return false;
    }
    let lower = token.to_lowercase();
    let alone = lower.trim_matches(|c: char| !c.is_alphanumeric());
    let own = alone.split([':', '=']).next().unwrap_or_default();
    KEYWORDS.iter().any(|word| lower.contains(word)) || KEYWORDS_ALONE.contains(&own)
}

/// Passwords of several words: what follows `password:` or `password is` on its line.
fn rest_of_line(line: &str) -> Option<&str> {
    let sign = line.find([':', '=', '\u{ff1a}'])?;
    let before = head(&line[..sign], 1 << 10);
    let rest = line[sign..].trim_start_matches([':', '=', '\u{ff1a}']).trim();
    let asked = before.split_whitespace().rev().take(3).any(is_keyword);
    (asked && rest.contains(char::is_whitespace)).then_some(rest)
}

/// What stands in quotation marks, on one line.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    const PAIRS: &[(char, char)] = &[
        ('"', '"'),
        ('\'', '\''),
        ('`', '`'),
        ('“', '”'),
        ('„', '“'),
        ('«', '»'),
        ('‘', '’'),
        ('「', '」'),
        ('[', ']'),
    ];
    let opens = text.char_indices().filter_map(|(at, c)| {
        let (open, close) = PAIRS.iter().find(|(open, _)| *open == c)?;
        let rest = &text[at + open.len_utf8()..];
        let rest = head(rest, 4 * LONGEST);
        let end = rest.find([*close, '\n'])?;
        rest[end..].starts_with(*close).then(|| rest[..end].trim())
    });
    opens.filter(|quote| !quote.is_empty()).take(MOST)
}

/// A file's name without its folder and extension.
fn stem(name: &str) -> &str {
    let base = name.rsplit('/').next().unwrap_or(name);
    base.rsplit_once('.').map_or(base, |(stem, _)| stem)
}

/// The first `most` bytes, cut between characters.
fn head(text: &str, most: usize) -> &str {
    &text[..text.floor_char_boundary(most)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use gatepost_mail::{Budget, Limits};

    fn gathered(mail: &str, listed: &[&str]) -> Passwords {
        let message = Message::read(mail.to_owned().into(), &mut Budget::new(&Limits::default()));
        let mut passwords = Passwords::default();
        let listed: Vec<String> = listed.iter().map(|&word| word.to_owned()).collect();
        passwords.gather(&message, &listed);
        passwords
    }

    /// Among the first so many candidates, which is what the dearest key derivations can afford.
    #[test]
    fn passwords_in_mail_are_tried_early() {
        const EARLY: usize = 16;
        for (text, password) in [
            ("The password is 4711.", "4711"),
            ("Password: infected!", "infected!"),
            ("password=Abc,123", "Abc,123"),
            ("Archive pw: \"two words\"", "two words"),
            ("Passphrase: correct horse battery", "correct horse battery"),
            ("Das Kennwort für die Datei lautet: Sommer2024", "Sommer2024"),
            ("Le mot de passe est « tulipe »", "tulipe"),
            ("Use 5588 as the code to open", "5588"),
            ("PASS - xK9#q", "xK9#q"),
            ("Пароль: зима2024", "зима2024"),
            ("解压密码：abc123", "abc123"),
            ("解压密码是8899。", "8899"),
            ("pin\r\n\r\n0815", "0815"),
        ] {
            let mail =
                format!("Content-Type: text/plain; charset=utf-8\r\n\r\nHello,\r\n{text}\r\nRegards\r\n");
            let list = gathered(&mail, &["virus"]).list;
            let place = list.iter().position(|found| found.text == password);
            assert!(place.is_some_and(|place| place < EARLY), "{text}: {place:?} {list:?}");
        }
    }

    #[test]
    fn every_word_of_mail_is_tried_in_the_end() {
        let html = "Content-Type: text/html\r\nSubject: sesame\r\n\r\n<p>the <b>open</b>er is<br>rhubarb";
        let passwords = gathered(html, &["infected", "open"]);
        let words: Vec<&str> = passwords.list.iter().map(|password| password.text.as_str()).collect();
        assert_eq!(words[..2], ["infected", "open"]);
        for word in ["sesame", "rhubarb", "opener"] {
            assert!(words.contains(&word), "{word}: {words:?}");
        }
        assert!(!passwords.list[0].from_mail);
    }

    #[test]
    fn what_opened_is_tried_first_and_prices_bound_the_tries() {
        let mut passwords = gathered("Subject: one two three\r\n\r\nfour five", &["listed"]);
        let place = passwords.list.iter().position(|password| password.text == "five").expect("a word");
        passwords.proven(place);
        assert_eq!(passwords.at(0).map(|password| password.text.as_str()), Some("five"));
        let all = passwords.list.len();
        assert_eq!((passwords.affordable(1), passwords.affordable(ROUNDS / 8)), (all, 2));
        passwords.spend(ROUNDS / 2);
        assert_eq!(passwords.affordable(ROUNDS / 8), 1);
        passwords.spend(u64::MAX);
        assert_eq!(passwords.affordable(1), 0);
    }

    #[test]
    fn long_and_many_words_are_bounded() {
        let text =
            (0..40_000).map(|number| format!("password {number:x} \"q{number}\" ")).collect::<String>();
        let passwords = gathered(&format!("Subject: x\r\n\r\n{text}{}", "y".repeat(500_000)), &["listed"]);
        assert_eq!(passwords.list.len(), MOST);
        assert_eq!(passwords.known.len(), MOST);
        let listed = passwords.list.iter().position(|password| password.text == "listed");
        assert_eq!(listed, Some(FIRST));
    }
}
