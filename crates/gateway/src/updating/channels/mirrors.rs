//! A channel's list of mirrors, `MIRRORED.BY`, and the order in which they are tried.

/// Mirrors that are read of a list.
const MOST: usize = 64;

/// Weights count up to this.
const HEAVIEST: u64 = 1_000_000;

/// A place that has a channel's archives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mirror {
    /// Without a slash at its end.
    pub url: String,
    /// How often it is chosen, relative to others.
    pub weight: u64,
}

/// Reads a list: a URL a line, `weight=N` behind it, comments from `#` on. What is not HTTP or HTTPS is passed over.
pub fn read(text: &str) -> Vec<Mirror> {
    let mut mirrors: Vec<Mirror> = Vec::new();
    for line in text.lines() {
        let mut words = line.split('#').next().unwrap_or_default().split_ascii_whitespace();
        let Some(url) = words.next().filter(|url| is_http(url)) else { continue };
        let url = url.trim_end_matches('/').to_owned();
        let weight = words.filter_map(|word| word.strip_prefix("weight=")).next_back();
        let weight = weight.map_or(1, |weight| weight.parse().unwrap_or(0)).min(HEAVIEST);
        match mirrors.iter().position(|mirror| mirror.url == url) {
            Some(known) => mirrors[known].weight = weight,
            None if mirrors.len() < MOST => mirrors.push(Mirror { url, weight }),
            None => break,
        }
    }
    mirrors
}

/// Whether a URL may be a mirror's.
pub fn is_http(url: &str) -> bool {
    let starts = |start: &str| url.get(..start.len()).is_some_and(|own| own.eq_ignore_ascii_case(start));
    starts("http://") || starts("https://")
}

/// An order to try mirrors in: each next one by chance, as its weight has it among those that are left. `random` gives a
/// number below the one that it is handed, which is never 0.
pub fn order(mut mirrors: Vec<Mirror>, mut random: impl FnMut(u64) -> u64) -> Vec<String> {
    let mut order = Vec::new();
    while !mirrors.is_empty() {
        let total: u64 = mirrors.iter().map(|mirror| mirror.weight).sum();
        let mut value = if total == 0 { 0 } else { random(total) };
        let chosen = mirrors.iter().position(|mirror| {
            let within = value < mirror.weight;
            value = value.saturating_sub(mirror.weight);
            within
        });
        order.push(mirrors.remove(chosen.unwrap_or(0)).url);
    }
    order
}

/// A random number below another, which is not 0.
pub fn random(below: u64) -> u64 {
    let mut bytes = [0; 8];
    // Without randomness the first is taken first, which harms nobody here.
    let _ = getrandom::fill(&mut bytes);
    u64::from_le_bytes(bytes) % below.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read() {
        let text = "# test mirrors\n\nhttp://a.example/u/ weight=5\n  HTTPS://b.example/v  other=x weight=10 # fast\n\
                    ftp://c.example/\nhttp://d.example\nhttp://e.example weight=none\nhttp://d.example/ weight=3\nx\n";
        let mirrors: Vec<String> =
            read(text).iter().map(|mirror| format!("{} {}", mirror.url, mirror.weight)).collect();
        assert_eq!(
            mirrors,
            ["http://a.example/u 5", "HTTPS://b.example/v 10", "http://d.example 3", "http://e.example 0"]
        );
        let many: String = (0..1000).map(|n| format!("http://{n}.example weight=99999999999\n")).collect();
        let many = read(&many);
        assert!(many.len() == MOST && many[0].weight == HEAVIEST);
    }

    #[test]
    fn weights_count() {
        let mirror = |url: &str, weight| Mirror { url: url.into(), weight };
        let mirrors = || vec![mirror("a", 1), mirror("b", 3), mirror("c", 0)];
        let mut firsts = String::new();
        for value in 0..4 {
            let order = order(mirrors(), |total| value.min(total - 1));
            assert_eq!(order.len(), 3);
            assert_eq!(order[2], "c");
            firsts.push_str(&order[0]);
        }
        assert_eq!(firsts, "abbb");
        assert_eq!(order(vec![mirror("a", 0), mirror("b", 0)], |_| unreachable!()), ["a", "b"]);
        assert!(order(Vec::new(), |_| 0).is_empty());
        assert!((0..100).all(|_| random(3) < 3) && random(1) == 0);
    }
}
