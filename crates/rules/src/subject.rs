//! What the engine asks of a message, and how `Texts` answers.

use bytes::Bytes;

use crate::conf::Settings;
use crate::regex::{Matcher, Pattern, fold};
use crate::texts::{
    HeaderRequest, Networks, Plugins, Redirector, Registry, TextSettings, Texts, Uri, idn_to_ascii,
};

/// A message as rules see it. All texts are bytes: SpamAssassin hands its expressions octets, never characters.
pub trait Subject {
    /// The value of a field as a `header` rule reads it: the values of all such fields (or addresses, names …) one after the
    /// other, with `\n` between them where they do not end in one. `None`: the field, or what is asked of it, is not there.
    fn header(&self, request: &HeaderRequest) -> Option<Bytes>;

    /// The value of a field in each MIME part, the whole message being the first, in the order of the parts; `None` for a part
    /// without it. `ALL` is all header fields of a part.
    fn mime_headers(&self, name: &str, raw: bool) -> Vec<Option<Bytes>>;

    /// The rendered text, a paragraph each, the subject first.
    fn body(&self) -> &[Bytes];

    /// The decoded text before rendering, in chunks of 2 to 4 kB.
    fn rawbody(&self) -> &[Bytes];

    /// The message as it came.
    fn full(&self) -> &[u8];

    /// The addresses of pages found in the text, in HTML and in DKIM signatures.
    fn uris(&self) -> &[Uri];
}

impl Subject for Texts<'_> {
    fn header(&self, request: &HeaderRequest) -> Option<Bytes> {
        Texts::header(self, request).joined()
    }

    fn mime_headers(&self, name: &str, raw: bool) -> Vec<Option<Bytes>> {
        Texts::mime_headers(self, name, raw)
    }

    fn body(&self) -> &[Bytes] {
        Texts::body(self)
    }

    fn rawbody(&self) -> &[Bytes] {
        Texts::rawbody(self)
    }

    fn full(&self) -> &[u8] {
        Texts::full(self)
    }

    fn uris(&self) -> &[Uri] {
        Texts::uris(self)
    }
}

/// What rules files say about texts.
pub fn text_settings(settings: &Settings) -> TextSettings {
    let size = |name| settings.number(name).map_or(0, |number| number.max(0.0) as usize);
    let words = |name: &str| -> std::collections::HashSet<Vec<u8>> {
        let all = settings.words(name).into_iter().flatten();
        all.map(|word| idn_to_ascii(word.as_bytes()).to_ascii_lowercase()).collect()
    };
    let mut text = TextSettings {
        normalize_charset: settings.flag("normalize_charset"),
        body_part_scan_size: size("body_part_scan_size"),
        rawbody_part_scan_size: size("rawbody_part_scan_size"),
        registry: Registry {
            tlds: words("util_rb_tld"),
            two_level: words("util_rb_2tld"),
            three_level: words("util_rb_3tld"),
        },
        redirectors: settings
            .lines("redirector_pattern")
            .iter()
            .filter_map(|line| redirector(line))
            .collect(),
        trusted_networks: networks(settings, "trusted_networks", Networks::loopback()),
        internal_networks: networks(settings, "internal_networks", Networks::loopback()),
        msa_networks: networks(settings, "msa_networks", Networks::default()).unwrap_or_default(),
        envelope_sender_header: settings.get("envelope_sender_header").map(String::from),
        parse_dkim_uris: settings.flag("parse_dkim_uris"),
        plugins: Plugins::of(settings),
        ..TextSettings::default()
    };
    let lines = settings.lines("originating_ip_headers").iter();
    text.originating_ip_headers = lines.flat_map(|line| line.split_whitespace()).map(String::from).collect();
    text
}

/// A list of networks, if it is configured. What could not be read was told when the file was.
fn networks(settings: &Settings, name: &str, mut list: Networks) -> Option<Networks> {
    let written = settings.networks(name)?;
    for network in written {
        // It was read once already.
        let _ = list.add(&network.to_string());
    }
    Some(list)
}

/// A `redirector_pattern`, with texts of which what it matches contains one.
#[derive(Debug)]
struct Pointer {
    matcher: Matcher,
    required: Option<Vec<Vec<u8>>>,
}

fn redirector(line: &str) -> Option<Box<dyn Redirector>> {
    let pattern = Pattern::literal(line.as_bytes()).ok()?;
    Some(Box::new(Pointer { matcher: pattern.backtracking().ok()?, required: pattern.required() }))
}

impl Redirector for Pointer {
    fn target<'a>(&self, uri: &'a [u8]) -> Option<&'a [u8]> {
        if let Some(required) = &self.required {
            let folded: Vec<u8> = uri.iter().map(|byte| fold(*byte)).collect();
            if !required.iter().any(|text| memchr::memmem::find(&folded, text).is_some()) {
                return None;
            }
        }
        // What takes too long to find out leads nowhere.
        let place = self.matcher.group(uri, 1).ok().flatten()?;
        uri.get(place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conf::{Options, Reader};

    #[test]
    fn settings_of_texts() {
        let conf = "util_rb_tld com org\nutil_rb_2tld co.uk\ntrusted_networks 192.0.2. !192.0.2.9\n\
                    redirector_pattern m'^http:\\/\\/x\\.example\\/r\\/(.*)$'i\n\
                    originating_ip_headers X-My-IP X-Other\nbody_part_scan_size 1000\nnormalize_charset 0";
        let mut reader = Reader::new(Options::default());
        reader.read("t.cf", conf.as_bytes(), &mut |_| Err(String::new()));
        let set = reader.finish();
        assert_eq!(set.warnings, []);
        let settings = text_settings(&set.settings);
        assert!(settings.registry.is_tld(b"COM") && !settings.registry.is_tld(b"net"));
        assert!(settings.registry.two_level.contains(&b"co.uk"[..]));
        assert!(settings.trusted_networks.is_some() && settings.internal_networks.is_none());
        assert_eq!(settings.originating_ip_headers, ["X-My-IP", "X-Other"]);
        assert_eq!((settings.body_part_scan_size, settings.normalize_charset), (1000, false));
        let target = |uri: &'static [u8]| settings.redirectors[0].target(uri);
        assert_eq!(target(b"HTTP://x.example/r/www.example.org"), Some(&b"www.example.org"[..]));
        assert_eq!(target(b"http://www.example.org/"), None);
    }
}
