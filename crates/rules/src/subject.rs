//! What the engine asks of a message, and of those who answer its `eval:` rules.

use std::borrow::Cow;

use bytes::Bytes;

/// A message as rules see it. All texts are bytes: SpamAssassin hands its expressions octets, never characters.
pub trait Subject {
    /// The value of a field as a `header` rule reads it: the values of all such fields (or addresses, names …) one after the
    /// other, with `\n` between them where they do not end in one. `None`: the field, or what is asked of it, is not there.
    ///
    /// `name` is written as in the rule, without modifiers: a field's name in any case, or one of the pseudo headers `ALL`,
    /// `ALL-TRUSTED`, `ALL-UNTRUSTED`, `ALL-INTERNAL`, `ALL-EXTERNAL`, `ToCc`, `EnvelopeFrom`, `MESSAGEID`, `X-Spam-Relays-…`.
    fn header(&self, name: &str, form: HeaderForm) -> Option<Cow<'_, [u8]>>;

    /// The value of a field in each MIME part, the whole message being the first, in the order of the parts; `None` for a part
    /// without it. `ALL` is all header fields of a part. At most 1000 parts are asked for.
    fn mime_headers(&self, name: &str, raw: bool) -> Vec<Option<Cow<'_, [u8]>>>;

    /// The rendered text, a paragraph each, the subject first.
    fn body(&self) -> &[Bytes];

    /// The decoded text before rendering, in chunks of 2 to 4 kB.
    fn rawbody(&self) -> &[Bytes];

    /// The message as it came.
    fn full(&self) -> &[u8];

    /// The addresses of pages found in the text, in HTML and in DKIM signatures.
    fn uris(&self) -> &[Uri];
}

/// The modifiers behind a field's name: `From:addr`, `Received:first:raw`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HeaderForm {
    /// `:raw`: nothing decoded or unfolded.
    pub raw: bool,
    /// `:addr`: the addresses.
    pub addr: bool,
    /// `:name`: the display names.
    pub name: bool,
    /// `:host`, and implied by `:domain`: the first host name with a known top-level domain.
    pub host: bool,
    /// `:domain`: that host's registered domain.
    pub domain: bool,
    /// `:ip`, and implied by `:revip`: the first IP address.
    pub ip: bool,
    /// `:revip`: that address in reverse.
    pub revip: bool,
    /// `:first`: only the topmost such field is looked at.
    pub first: bool,
    /// `:last`: only the last such field is looked at.
    pub last: bool,
}

impl HeaderForm {
    /// Adds one modifier, without its colon; whether there is such a modifier. Case counts.
    pub fn add(&mut self, modifier: &str) -> bool {
        match modifier {
            "raw" => self.raw = true,
            "addr" => self.addr = true,
            "name" => self.name = true,
            "host" => self.host = true,
            "domain" => (self.host, self.domain) = (true, true),
            "ip" => self.ip = true,
            "revip" => (self.ip, self.revip) = (true, true),
            "first" => self.first = true,
            "last" => self.last = true,
            _ => return false,
        }
        true
    }

    /// Splits `Received:first:raw` into name and form; modifiers that do not exist are ignored, as SpamAssassin does.
    pub fn split(request: &str) -> (&str, HeaderForm) {
        let mut parts = request.split(':');
        let name = parts.next().unwrap_or_default();
        let mut form = HeaderForm::default();
        for modifier in parts {
            form.add(modifier);
        }
        (name, form)
    }
}

/// An address of a page, as it stands in the message and as it is meant.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Uri {
    /// As written.
    pub raw: Bytes,
    /// Its canonical forms: what `uri` rules look at.
    pub cleaned: Vec<Bytes>,
    /// The registered domains of the canonical forms.
    pub domains: Vec<Bytes>,
    /// Their host names.
    pub hosts: Vec<Bytes>,
    /// Where it was found: `parsed` (text), `a`, `img`, `form`, `domainkeys` …
    pub types: Vec<&'static str>,
    /// The texts of the HTML anchors that lead to it.
    pub anchor_text: Vec<Bytes>,
}
