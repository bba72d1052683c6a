//! Links whose text is one address and that lead to another.
//!
//! Only text that is nothing but an address or a host's name is compared, by registrable domain. Newsletters show their
//! own address and lead over the counting host of whoever sends them: where most links of a page lead to one domain, or
//! the target names the shown domain, nothing is said.

use memchr::{memchr, memmem, memrchr};

/// Links of one page that are compared.
const MOST: usize = 500;
/// Longest text of a link that is compared, in bytes.
const LONGEST: usize = 300;

/// Whether some text before an end tag `</a` looks like an address. This costs one search of the page.
pub(super) fn may_mislead(body: &[u8]) -> bool {
    let ends = memmem::find_iter(body, b"</a").chain(memmem::find_iter(body, b"</A"));
    ends.take(4 * MOST).any(|end| {
        let near = &body[end.saturating_sub(4 * LONGEST)..end];
        let text = last_text(near);
        shown_host(text).is_some()
    })
}

/// The last text in a piece of a page that is more than space, without entities decoded.
fn last_text(mut near: &[u8]) -> &[u8] {
    const TAGS: usize = 8;
    for _ in 0..TAGS {
        let start = memrchr(b'>', near).map_or(0, |at| at + 1);
        let text = near[start..].trim_ascii();
        if !text.is_empty() || start == 0 {
            return text;
        }
        near = &near[..memrchr(b'<', &near[..start]).unwrap_or(0)];
    }
    b""
}

/// The links of a page, as far as they were read.
#[derive(Default)]
pub(super) struct Anchors {
    open: Option<(Vec<u8>, Vec<u8>)>,
    /// Domains that links lead to, with how many do.
    domains: Vec<(Vec<u8>, usize)>,
    links: usize,
    /// Shown domain, its text, the target, its domain.
    found: Vec<Mismatch>,
}

struct Mismatch {
    text: String,
    target: String,
    domain: Vec<u8>,
}

impl Anchors {
    pub(super) fn start(&mut self, name: &[u8], href: Option<&[u8]>) {
        if name == b"a" {
            self.close();
            self.open = href.map(|href| (href.to_vec(), Vec::new()));
        }
    }

    pub(super) fn text(&mut self, text: &[u8]) {
        if let Some((_, so_far)) = &mut self.open
            && so_far.len() <= 4 * LONGEST
        {
            so_far.extend_from_slice(&text[..text.len().min(4 * LONGEST)]);
        }
    }

    pub(super) fn end(&mut self, name: &[u8]) {
        if name == b"a" {
            self.close();
        }
    }

    /// What misleads, for people.
    pub(super) fn mismatch(mut self) -> Option<String> {
        self.close();
        let counting = |domain: &[u8]| {
            let count = self.domains.iter().find(|(known, _)| known == domain).map_or(0, |(_, count)| *count);
            count >= 4 && count * 2 >= self.links
        };
        let found = self.found.iter().find(|found| !counting(&found.domain))?;
        Some(format!("“{}” leads to {}", found.text, found.target))
    }

    fn close(&mut self) {
        let Some((href, text)) = self.open.take() else { return };
        if self.links > 40 * MOST {
            return;
        }
        let Some(target) = host_of(href.trim_ascii()) else { return };
        let domain = registrable(&target);
        self.links += 1;
        match self.domains.iter().position(|(known, _)| *known == domain) {
            Some(place) => self.domains[place].1 += 1,
            None if self.domains.len() < MOST => self.domains.push((domain.clone(), 1)),
            None => {}
        }
        let text = text.trim_ascii();
        let Some(shown) = shown_host(text) else { return };
        let shown = registrable(&shown);
        let same = shown == domain || contains(&href.to_ascii_lowercase(), &shown);
        if !same && self.found.len() < MOST {
            let text = String::from_utf8_lossy(text).into_owned();
            let target = String::from_utf8_lossy(&target).into_owned();
            self.found.push(Mismatch { text, target, domain });
        }
    }
}

fn contains(text: &[u8], word: &[u8]) -> bool {
    memmem::find(text, word).is_some()
}

/// The host that a text shows, if it is an address or a host's name and nothing else.
fn shown_host(text: &[u8]) -> Option<Vec<u8>> {
    if text.len() < 4 || text.len() > LONGEST || !text.is_ascii() {
        return None;
    }
    if text.iter().any(|byte| byte.is_ascii_whitespace() || b"<>\"@".contains(byte)) {
        return None;
    }
    if let Some(host) = host_of(text) {
        return is_host(&host).then_some(host);
    }
    let end = text.iter().position(|byte| b"/?#:".contains(byte)).unwrap_or(text.len());
    let host = text[..end].to_ascii_lowercase();
    let www = host.starts_with(b"www.");
    (is_host(&host) && (www || !looks_like_file(&host))).then_some(host)
}

/// Endings of files that are domains, too.
fn looks_like_file(host: &[u8]) -> bool {
    const EXTENSIONS: &[&[u8]] = &[
        b"md", b"py", b"sh", b"pl", b"rs", b"ps", b"so", b"cc", b"zip", b"mov", b"ai", b"app", b"name",
        b"do", b"in", b"am", b"pm", b"st", b"ph", b"mk", b"ms", b"co", b"la", b"as", b"cab",
    ];
    let last = host.rsplit(|byte| *byte == b'.').next().unwrap_or_default();
    host.iter().filter(|byte| **byte == b'.').count() == 1 && EXTENSIONS.contains(&last)
}

/// Whether this is a host's name below a public suffix that is known.
fn is_host(host: &[u8]) -> bool {
    let labels = host.split(|byte| *byte == b'.');
    let label = |label: &[u8]| {
        !label.is_empty()
            && label.len() < 64
            && label.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    labels.clone().count() >= 2
        && labels.clone().all(label)
        && psl::domain(host).is_some_and(|domain| domain.suffix().is_known())
}

/// The host of an http or https address, in lower case, without user, port and final dot.
fn host_of(address: &[u8]) -> Option<Vec<u8>> {
    let lower = address[..address.len().min(2048)].to_ascii_lowercase();
    let rest = lower.strip_prefix(b"https:").or_else(|| lower.strip_prefix(b"http:"))?;
    // Browsers take any number of slashes of either kind.
    let start = rest.iter().take_while(|byte| matches!(byte, b'/' | b'\\')).count();
    let rest = &rest[start..];
    let end = rest.iter().position(|byte| b"/\\?#".contains(byte)).unwrap_or(rest.len());
    let authority = &rest[..end];
    let host = memrchr(b'@', authority).map_or(authority, |at| &authority[at + 1..]);
    let host = if host.starts_with(b"[") { host } else { &host[..memchr(b':', host).unwrap_or(host.len())] };
    let host = host.strip_suffix(b".").unwrap_or(host);
    (!host.is_empty()).then(|| host.to_vec())
}

/// The domain that somebody registered; the host itself where there is none.
fn registrable(host: &[u8]) -> Vec<u8> {
    psl::domain_str(std::str::from_utf8(host).unwrap_or_default())
        .map_or(host.to_vec(), |domain| domain.as_bytes().to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_that_texts_show() {
        for (text, host) in [
            ("http://www.bank.example.com/login", Some("www.bank.example.com")),
            ("HTTPS://Bank.com:443/", Some("bank.com")),
            ("www.bank.com", Some("www.bank.com")),
            ("bank.co.uk/account", Some("bank.co.uk")),
            ("http://user@bank.com/", None),
            ("someone@bank.com", None),
            ("click here", None),
            ("README.md", None),
            ("invoice.pdf", None),
            ("v1.2.3", None),
            ("main.rs", None),
            ("node.js", None),
            ("...", None),
        ] {
            let found = shown_host(text.as_bytes());
            assert_eq!(found.as_deref(), host.map(str::as_bytes), "{text}");
        }
    }

    #[test]
    fn the_search_before_reading() {
        for (page, wanted) in [
            ("<a href=x>click</a>", false),
            ("<a href=x>www.bank.com</a>", true),
            ("<A HREF=x><b> http://bank.com/ </b></A>", true),
            ("<a href=x>two words bank.com</a>", false),
            ("no links", false),
        ] {
            assert_eq!(may_mislead(page.as_bytes()), wanted, "{page}");
        }
    }
}
