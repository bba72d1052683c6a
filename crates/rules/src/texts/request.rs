//! What a rule asks of the header: `From:addr`, `Received:first`, `ALL:raw`.

/// A header's name with what is to be made of its values.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct HeaderRequest {
    /// The name as written, without modifiers; pseudo headers too.
    pub name: String,
    /// `:raw`: encoded words and folds stay.
    pub raw: bool,
    /// `:addr`: the addresses in it.
    pub addr: bool,
    /// `:name`: the names in it.
    pub display_name: bool,
    /// `:host`: the first host in it that ends in a top-level domain.
    pub host: bool,
    /// `:domain`: the part of the host that was registered.
    pub domain: bool,
    /// `:ip`: the first address of IP in it.
    pub ip: bool,
    /// `:revip`: the same reversed.
    pub revip: bool,
    /// `:first`: only the topmost field.
    pub first: bool,
    /// `:last`: only the undermost field.
    pub last: bool,
}

impl HeaderRequest {
    /// Reads `Name:modifier:modifier`; modifiers that are not known count for nothing.
    pub fn parse(text: &str) -> HeaderRequest {
        let mut parts = text.split(':');
        let mut request =
            HeaderRequest { name: parts.next().unwrap_or_default().to_owned(), ..HeaderRequest::default() };
        for modifier in parts {
            match modifier {
                "raw" => request.raw = true,
                "addr" => request.addr = true,
                "name" => request.display_name = true,
                "host" => request.host = true,
                "domain" => (request.host, request.domain) = (true, true),
                "ip" => request.ip = true,
                "revip" => (request.ip, request.revip) = (true, true),
                "first" => request.first = true,
                "last" => request.last = true,
                _ => {}
            }
        }
        request
    }
}
