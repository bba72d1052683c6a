//! Sets of bytes, and what Perl's classes mean over them.

/// A set of byte values.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct ByteSet([u64; 4]);

impl ByteSet {
    /// The set of nothing.
    pub const EMPTY: ByteSet = ByteSet([0; 4]);
    /// All bytes: `.` under /s.
    pub const ALL: ByteSet = ByteSet([u64::MAX; 4]);

    /// The bytes for which `f` holds.
    pub fn of(f: impl Fn(u8) -> bool) -> ByteSet {
        let mut set = ByteSet::EMPTY;
        for byte in 0..=255 {
            if f(byte) {
                set.add(byte);
            }
        }
        set
    }

    /// The bytes from one to another, both among them.
    pub fn range(first: u8, last: u8) -> ByteSet {
        let mut set = ByteSet::EMPTY;
        (first..=last).for_each(|byte| set.add(byte));
        set
    }

    /// Adds one byte.
    pub fn add(&mut self, byte: u8) {
        self.0[usize::from(byte >> 6)] |= 1 << (byte & 63);
    }

    /// Adds all of another set.
    pub fn join(&mut self, other: ByteSet) {
        for (mine, others) in self.0.iter_mut().zip(other.0) {
            *mine |= others;
        }
    }

    /// Whether a byte is in it.
    #[inline]
    pub fn has(&self, byte: u8) -> bool {
        self.0[usize::from(byte >> 6)] >> (byte & 63) & 1 == 1
    }

    /// Its bytes and those of another set.
    pub fn with(mut self, other: ByteSet) -> ByteSet {
        self.join(other);
        self
    }

    /// What is in both.
    pub fn both(&self, other: ByteSet) -> ByteSet {
        ByteSet(std::array::from_fn(|word| self.0[word] & other.0[word]))
    }

    /// What is not in it.
    pub fn complement(&self) -> ByteSet {
        ByteSet(self.0.map(|word| !word))
    }

    /// How many bytes are in it.
    pub fn len(&self) -> u32 {
        self.0.iter().map(|word| word.count_ones()).sum()
    }

    /// Whether it is the set of nothing.
    pub fn is_empty(&self) -> bool {
        self.0 == [0; 4]
    }

    /// Its bytes, in order.
    pub fn iter(&self) -> impl Iterator<Item = u8> + '_ {
        [0u8, 64, 128, 192].into_iter().zip(self.0).flat_map(|(first, mut word)| {
            std::iter::from_fn(move || {
                let bit = word.trailing_zeros() as u8;
                (word != 0).then(|| {
                    word &= word - 1;
                    first + bit
                })
            })
        })
    }

    /// Its runs of bytes, first and last of each.
    pub fn ranges(&self) -> Vec<(u8, u8)> {
        let mut ranges: Vec<(u8, u8)> = Vec::new();
        for byte in self.iter() {
            match ranges.last_mut() {
                Some((_, last)) if last.checked_add(1) == Some(byte) => *last = byte,
                _ => ranges.push((byte, byte)),
            }
        }
        ranges
    }

    /// With the other case of each letter; beyond ASCII Latin-1's, if `latin`.
    pub fn folded(&self, latin: bool) -> ByteSet {
        let mut set = *self;
        for byte in self.iter() {
            if let Some(other) = other_case(byte, latin) {
                set.add(other);
            }
        }
        set
    }
}

impl std::fmt::Debug for ByteSet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.ranges()).finish()
    }
}

/// The same letter in the other case. Perl matches octets as Latin-1 characters, `/aa` or not.
pub fn other_case(byte: u8, latin: bool) -> Option<u8> {
    match byte {
        b'a'..=b'z' | b'A'..=b'Z' => Some(byte ^ 0x20),
        0xd7 | 0xf7 | 0xdf | 0xff => None,
        0xc0..=0xfe if latin => Some(byte ^ 0x20),
        _ => None,
    }
}

/// What `\d`, `\s`, `\w`, `\h`, `\v`, `\N` mean, by their letter (lower case). `wide`: under /u, Latin-1 letters are letters.
pub fn perl_class(letter: u8, wide: bool) -> Option<ByteSet> {
    Some(match letter {
        b'd' => ByteSet::of(|b| b.is_ascii_digit()),
        b's' => ByteSet::of(|b| is_space(b) || wide && matches!(b, 0x85 | 0xa0)),
        b'w' => ByteSet::of(|b| b.is_ascii_alphanumeric() || b == b'_' || wide && is_latin_word(b)),
        // These two are not narrowed by /a.
        b'h' => ByteSet::of(|b| matches!(b, b'\t' | b' ' | 0xa0)),
        b'v' => ByteSet::of(|b| matches!(b, b'\n'..=b'\r' | 0x85)),
        _ => return None,
    })
}

/// What `[:name:]` means under /aa.
pub fn posix_class(name: &[u8]) -> Option<ByteSet> {
    Some(match name {
        b"alpha" => ByteSet::of(|b| b.is_ascii_alphabetic()),
        b"digit" => ByteSet::of(|b| b.is_ascii_digit()),
        b"alnum" => ByteSet::of(|b| b.is_ascii_alphanumeric()),
        b"upper" => ByteSet::of(|b| b.is_ascii_uppercase()),
        b"lower" => ByteSet::of(|b| b.is_ascii_lowercase()),
        b"space" => ByteSet::of(is_space),
        b"blank" => ByteSet::of(|b| matches!(b, b' ' | b'\t')),
        b"punct" => ByteSet::of(|b| b.is_ascii_punctuation()),
        b"print" => ByteSet::of(|b| matches!(b, b' '..=b'~')),
        b"graph" => ByteSet::of(|b| matches!(b, b'!'..=b'~')),
        b"cntrl" => ByteSet::of(|b| b.is_ascii_control()),
        b"xdigit" => ByteSet::of(|b| b.is_ascii_hexdigit()),
        b"word" => ByteSet::of(|b| b.is_ascii_alphanumeric() || b == b'_'),
        b"ascii" => ByteSet::of(|b| b.is_ascii()),
        _ => return None,
    })
}

/// `\s` under /aa: with the vertical tab, since Perl 5.18.
pub fn is_space(byte: u8) -> bool {
    matches!(byte, b'\t'..=b'\r' | b' ')
}

fn is_latin_word(byte: u8) -> bool {
    matches!(byte, 0xaa | 0xb5 | 0xba | 0xc0..=0xd6 | 0xd8..=0xf6 | 0xf8..=0xff)
}
