//! A MIME entity: its header read, with every value that steers reading in all the ways that readers take it.

use memchr::memmem;

use crate::header::{Headers, Noticed, counted, unfold};
use crate::limits::Limit;
use crate::parameters::{self, Structured};
use crate::split::Source;
use crate::transfer::Transfer;
use crate::{DefectKind, charset, names, words};

/// A MIME entity with its header read and its body as it stands.
pub(crate) struct Entity {
    pub headers: Headers,
    pub body: Source,
    /// The type, as the first field says.
    pub declared: String,
    /// The transfer encoding, as the first field says.
    pub transfer: Transfer,
    /// What other readers take the field for, or what other fields say: encodings to be undone one after the other.
    pub other_transfers: Vec<Vec<Transfer>>,
    /// Some reader may take it for a multipart.
    pub multipart: bool,
    /// Some reader takes it for no multipart.
    pub leaf: bool,
    /// Some reader may take it for a message, and the first does not.
    pub message: bool,
    pub charset: Option<String>,
    pub attachment: bool,
    pub names: Vec<String>,
    /// The boundary in all readings, as text.
    pub boundaries: Vec<String>,
    /// Further readings of the boundary: bytes found by those who only look for its name.
    pub loose_boundaries: Vec<Vec<u8>>,
    pub noticed: Noticed,
    /// A transfer encoding is declared.
    pub encoded: bool,
}

/// Fields of one name, like Content-Type, that are read at most: the first and the last.
const MOST_REPEATED: usize = 20;

impl Entity {
    /// Reads the header; `default` is the type where none is declared.
    pub(crate) fn open(source: &Source, default: &str) -> Entity {
        let (headers, at, noticed) = Headers::parse(source.bytes.clone());
        Entity::with(headers, source.slice(at..source.bytes.len()), noticed, default)
    }

    /// An entity with this header and this body.
    pub(crate) fn with(headers: Headers, body: Source, noticed: Noticed, default: &str) -> Entity {
        let mut entity = Entity {
            headers,
            body,
            declared: default.to_owned(),
            transfer: Transfer::Identity,
            other_transfers: Vec::new(),
            multipart: default.starts_with("multipart"),
            leaf: false,
            message: false,
            charset: None,
            attachment: false,
            names: Vec::new(),
            boundaries: Vec::new(),
            loose_boundaries: Vec::new(),
            noticed,
            encoded: false,
        };
        entity.read_fields();
        entity
    }

    fn read_fields(&mut self) {
        let values = self.values("Content-Type");
        let types = values.parse();
        let dispositions = self.values("Content-Disposition").parse();
        let encodings = self.values("Content-Transfer-Encoding");
        self.read_types(&values, &types);
        self.read_transfers(&encodings);
        self.attachment = dispositions.first().is_some_and(|first| first.main == "attachment");
        self.charset =
            types.iter().find_map(|field| field.get("charset")).map(|label| label.trim().to_lowercase());
        self.names = names::declared(&types, &dispositions);
        self.check_parameters(&types, &dispositions);
        self.check_words();
    }

    /// The unfolded values of all fields of that name, those under its exact name first.
    fn values(&mut self, name: &'static str) -> Values {
        let value = |field| unfold(self.headers.raw_value(field)).into_owned();
        let mut fields: Vec<&crate::Field> = self.headers.all(name).collect();
        let count = fields.len();
        parameters::ends(&mut fields, MOST_REPEATED);
        let mut list: Vec<Vec<u8>> = fields.into_iter().map(value).collect();
        let exact = list.len();
        let mut misspelt = self.headers.misspelt(name);
        let shown = misspelt.first().map(|(name, _)| name.clone());
        parameters::ends(&mut misspelt, MOST_REPEATED);
        list.extend(misspelt.into_iter().map(|(_, value)| value));
        if count > 1 {
            self.note(DefectKind::DuplicateMimeHeader, format!("{name} stands {count} times"));
        }
        if count > MOST_REPEATED {
            self.note(DefectKind::Over(Limit::Parts), format!("{name} stands too often to read them all"));
        }
        if let Some(shown) = shown {
            self.note(DefectKind::MisspeltMimeHeader, format!("“{shown}” for {name}"));
        }
        Values { list, exact }
    }

    fn read_types(&mut self, values: &Values, types: &[Structured]) {
        if values.exact > 0
            && let Some(first) = types.first()
        {
            self.read_type(first);
        }
        // What stands in encoded words some readers decode before they look at it.
        let worded = values.list.iter().filter(|value| memmem::find(value, b"=?").is_some());
        let decoded: Vec<String> = worded.map(|value| words::decode(value)).collect();
        let decoded_types: Vec<Structured> =
            decoded.iter().map(|value| Structured::parse(value.as_bytes())).collect();
        let all = || types.iter().chain(&decoded_types);
        self.boundaries = parameters::readings(all().flat_map(|field| &field.parameters), "boundary");
        for value in values.list.iter().map(Vec::as_slice).chain(decoded.iter().map(String::as_bytes)) {
            parameters::loose(value, "boundary", &mut self.loose_boundaries);
        }
        self.loose_boundaries.retain(|loose| !self.boundaries.iter().any(|known| known.as_bytes() == loose));
        self.multipart = self.declared.starts_with("multipart/")
            || all().any(|field| field.main.contains("multipart"))
            || !(self.boundaries.is_empty() && self.loose_boundaries.is_empty());
        self.leaf =
            types.len() > values.exact || types.iter().any(|field| !field.main.starts_with("multipart"));
        let message =
            |field: &Structured| field.main.contains("rfc822") || field.main.starts_with("message/");
        self.message = !self.declared.starts_with("message/") && all().any(message);
    }

    fn read_type(&mut self, field: &Structured) {
        let main = field.main.as_str();
        let token =
            |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'/');
        match main.split_once('/') {
            Some((kind, subtype)) if token(kind) && token(subtype) => {
                self.declared = main.to_owned();
                return;
            }
            _ => {}
        }
        self.note(DefectKind::BadContentType, format!("“{main}”"));
        // What readers make of it: a multipart stays one, anything else is plain text (RFC 2045 section 5.2).
        let multipart = main.starts_with("multipart") && field.get("boundary").is_some();
        self.declared = if multipart { "multipart/mixed".into() } else { "text/plain".into() };
    }

    fn read_transfers(&mut self, values: &Values) {
        self.encoded = !values.list.is_empty();
        let mut others: Vec<Vec<Transfer>> = Vec::new();
        let mut first = None;
        for (place, value) in values.list.iter().enumerate() {
            let token = parameters::clean_token(value);
            let transfer = Transfer::of(&token);
            if place == 0 && values.exact > 0 {
                first = Some((token, transfer));
            }
            others.push(vec![transfer]);
            // By the book there is one word, and perhaps a comment.
            if value.trim_ascii().eq_ignore_ascii_case(parameters::clean_token(value).as_bytes())
                && transfer != Transfer::Unknown
            {
                continue;
            }
            let text = words::decode(value);
            let hinted = Transfer::hinted(&text);
            others.extend(hinted.iter().map(|transfer| vec![*transfer]));
            if let [one, two, ..] = hinted[..] {
                others.extend([vec![one, two], vec![two, one]]);
            }
            others.push(vec![Transfer::Identity]);
        }
        if values.list.is_empty() {
            others.extend(self.prefixed_transfers());
        }
        if let Some((token, transfer)) = first {
            self.transfer = transfer;
            self.check_transfer(&token);
        }
        let identity = |transfer: Transfer| matches!(transfer, Transfer::Identity | Transfer::Unknown);
        for steps in others {
            let new = match steps[..] {
                [one] => one != self.transfer && !(identity(one) && identity(self.transfer)),
                _ => !steps.contains(&Transfer::Identity),
            };
            if new && !self.other_transfers.contains(&steps) {
                self.other_transfers.push(steps);
            }
        }
    }

    /// What a field says that has the name of the right one within its own, for those who look for no more than that.
    fn prefixed_transfers(&self) -> Vec<Vec<Transfer>> {
        const NAME: &[u8] = b"content-transfer-encoding";
        let named = self.headers.fields.iter().filter(|field| {
            let name = self.headers.name(field).as_bytes();
            name.len() > NAME.len()
                && name.windows(NAME.len()).any(|window| window.eq_ignore_ascii_case(NAME))
        });
        let value = |field| Transfer::of(&parameters::clean_token(&unfold(self.headers.raw_value(field))));
        named.take(MOST_REPEATED).map(|field| vec![value(field)]).collect()
    }

    fn check_transfer(&mut self, token: &str) {
        if self.transfer == Transfer::Unknown {
            self.note(DefectKind::BadTransferEncoding, format!("“{token}” is not known"));
        }
        let composite = self.declared.starts_with("multipart/") || self.declared == "message/rfc822";
        if composite && !matches!(self.transfer, Transfer::Identity | Transfer::Unknown) {
            self.note(DefectKind::BadTransferEncoding, format!("{token} on {}", self.declared));
        }
    }

    fn check_parameters(&mut self, types: &[Structured], dispositions: &[Structured]) {
        let parameters = || types.iter().chain(dispositions).flat_map(|field| &field.parameters);
        for name in ["filename", "name", "boundary", "charset"] {
            if let Some(wrong) = parameters::wrong(parameters(), name) {
                self.note(DefectKind::BadParameter, format!("{name} {wrong}"));
            }
        }
    }

    /// Notes encoded words that cannot be decoded.
    fn check_words(&mut self) {
        if memmem::find(&self.headers.raw, b"=?").is_none() {
            return;
        }
        let bad = |field: &&crate::Field| {
            let value = self.headers.raw_value(field);
            memmem::find(value, b"=?").is_some() && words::decode_noting(&unfold(value)).1 > 0
        };
        let found: Vec<&crate::Field> = self.headers.fields.iter().filter(bad).collect();
        if let Some(first) = found.first() {
            let name = self.headers.name(first).to_owned();
            let count = found.len();
            self.note(DefectKind::BadEncodedWord, counted(count, name));
        }
    }

    fn note(&mut self, kind: DefectKind, detail: String) {
        self.noticed.push((kind, detail));
    }

    /// Whether the body is a message of its own, as the first field says. The first piece of a partial message begins
    /// with its header.
    pub(crate) fn is_message(&self) -> bool {
        match self.declared.as_str() {
            "message/rfc822" | "message/global" | "message/news" => true,
            "message/partial" => self.type_parameter("number").is_some_and(|number| number == "1"),
            _ => false,
        }
    }

    /// A parameter of the first Content-Type.
    pub(crate) fn type_parameter(&self, name: &str) -> Option<String> {
        let value = self.headers.get("Content-Type").map(|field| self.headers.raw_value(field));
        Structured::parse(&unfold(value.unwrap_or_default())).get(name)
    }

    /// The first few bytes of what a boundary may be, for people.
    pub(crate) fn shown_boundary(&self) -> Option<String> {
        let loose = || self.loose_boundaries.first().map(|loose| charset::guess(loose).into_owned());
        self.boundaries.first().cloned().or_else(loose)
    }
}

/// Unfolded values of the fields of one name; the first `exact` of them stand under exactly that name.
struct Values {
    list: Vec<Vec<u8>>,
    exact: usize,
}

impl Values {
    fn parse(&self) -> Vec<Structured> {
        self.list.iter().map(|value| Structured::parse(value)).collect()
    }
}
