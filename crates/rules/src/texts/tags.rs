//! The tags that SpamAssassin knows, and the white space they make.

/// What there is to know of a tag.
#[derive(Clone, Copy, Default)]
pub(crate) struct Tag {
    /// It is an element of HTML.
    pub element: bool,
    /// It is none, but mail programs know it.
    pub trick: bool,
    /// White space it makes.
    pub space: &'static [u8],
}

impl Tag {
    /// By its name in lower case.
    pub(crate) fn named(name: &[u8]) -> Tag {
        let space: &[u8] = match name {
            b"br" | b"div" => b"\n",
            b"li" | b"th" | b"td" | b"dt" | b"dd" | b"embed" => b" ",
            b"h1" | b"h2" | b"h3" | b"h4" | b"h5" | b"h6" => b" ",
            b"p" | b"hr" | b"blockquote" | b"pre" | b"listing" | b"plaintext" | b"xmp" | b"title" => b"\n\n",
            _ => b"",
        };
        let trick = matches!(name, b"bgsound" | b"embed" | b"listing" | b"plaintext" | b"xmp");
        let element = ELEMENTS.binary_search_by(|element| element.as_bytes().cmp(name)).is_ok();
        Tag { element, trick, space }
    }
}

/// `o:p`, `st1:place`: tags of word processors.
pub(crate) fn is_namespaced(tag: &[u8]) -> bool {
    let rest = match tag {
        [b'o', b':', rest @ ..] => rest,
        [b's', b't', digit, b':', rest @ ..] if digit.is_ascii_digit() => rest,
        _ => return false,
    };
    let rest = rest.strip_suffix(b"/").unwrap_or(rest);
    !rest.is_empty() && rest.iter().all(|byte| super::perl::is_word(*byte) || *byte == b'-')
}

/// Elements of HTML 4, strict and loose, and some that are in use beside them.
#[rustfmt::skip]
const ELEMENTS: [&str; 94] = [
    "a", "abbr", "acronym", "address", "applet", "area", "b", "base", "basefont", "bdo", "big",
    "blockquote", "body", "br", "button", "caption", "center", "cite", "code", "col", "colgroup", "dd",
    "del", "dfn", "dir", "div", "dl", "dt", "em", "fieldset", "font", "form", "frame", "frameset", "h1",
    "h2", "h3", "h4", "h5", "h6", "head", "hr", "html", "i", "iframe", "img", "input", "ins", "isindex",
    "kbd", "label", "legend", "li", "link", "map", "menu", "meta", "nobr", "noframes", "noscript", "object",
    "ol", "optgroup", "option", "p", "param", "pre", "q", "s", "samp", "script", "select", "small", "span",
    "strike", "strong", "style", "sub", "sup", "table", "tbody", "td", "textarea", "tfoot", "th", "thead",
    "title", "tr", "tt", "u", "ul", "var", "x-sigsep", "x-tab",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_known() {
        assert!(ELEMENTS.is_sorted());
        for (name, element, trick, space) in [
            ("p", true, false, "\n\n"),
            ("embed", false, true, " "),
            ("foo", false, false, ""),
            ("x-tab", true, false, ""),
        ] {
            let tag = Tag::named(name.as_bytes());
            assert_eq!((tag.element, tag.trick, tag.space), (element, trick, space.as_bytes()), "{name}");
        }
        assert!(
            is_namespaced(b"o:p")
                && is_namespaced(b"st1:place/")
                && !is_namespaced(b"x:y")
                && !is_namespaced(b"o:")
        );
    }
}
