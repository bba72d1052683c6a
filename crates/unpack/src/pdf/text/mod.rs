//! The text of a PDF as a reader sees it, page by page and line by line (ISO 32000-1 section 9): what `pdftotext -layout`
//! prints, but for how many spaces lie between words.
//!
//! Pages are found by their tree, or else by what they say they are. What they draw is followed, forms and annotations
//! included, and what was drawn is put into lines by where it stands. Steps, depth, bytes and text are bounded.

mod cff;
mod cmap;
mod content;
mod encoding;
mod font;
mod lines;
mod matrix;

use std::collections::HashSet;

use super::document::Document;
use super::object::{Dict, Object};
use crate::opening::Opening;
use content::{Page, Reader};
use lines::Words;
use matrix::Matrix;

/// Bytes that contents and fonts may be decoded to.
const MOST_BYTES: u64 = 64 << 20;
/// Nodes of the tree of pages.
const MOST_NODES: usize = 50_000;

/// Reads the text of a document; None if it has no page.
pub(super) fn read(opening: &mut Opening, document: &Document) -> Option<String> {
    let most = opening.most_text();
    let leaves = leaves(document);
    if leaves.is_empty() {
        return None;
    }
    let shown = opening.aside(MOST_BYTES, |opening| {
        let mut reader = Reader::new(document, most);
        let mut out = String::new();
        for leaf in leaves {
            if out.len() >= most || reader.is_over() || opening.is_late() {
                break;
            }
            leaf.draw(opening, document, &mut reader, &mut out);
        }
        out
    });
    Some(shown)
}

/// A page, with what it has of the nodes above it.
#[derive(Clone, Copy)]
struct Leaf<'d> {
    dict: &'d Dict,
    resources: Option<&'d Object>,
    area: Option<&'d Object>,
    turned: Option<&'d Object>,
}

static NOTHING: Dict = Dict(Vec::new());

/// The pages in their order.
fn leaves(document: &Document) -> Vec<Leaf<'_>> {
    let root =
        document.roots().into_iter().find_map(|root| document.get(root, b"Pages").map(|pages| (root, pages)));
    let mut found = Vec::new();
    if let Some((_, Object::Dict(pages))) = root {
        let mut open = vec![Leaf::under(None, document, pages)];
        let mut known = HashSet::new();
        // Nodes may share what they lead to, which is looked at for each.
        let mut left = 4 * MOST_NODES;
        while let Some(node) = open.pop() {
            if known.len() + found.len() >= MOST_NODES || left == 0 {
                break;
            }
            let Some(kids) = document.get(node.dict, b"Kids").and_then(Object::array) else {
                found.push(node);
                continue;
            };
            let kids = &kids[..kids.len().min(left)];
            left -= kids.len();
            for kid in kids.iter().rev() {
                let is_new = !matches!(kid, Object::Reference(number) if !known.insert(*number));
                if let Some(dict) = document.resolve(kid).dict().filter(|_| is_new && open.len() < MOST_NODES)
                {
                    open.push(Leaf::under(Some(&node), document, dict));
                }
            }
        }
    }
    if found.is_empty() {
        let dicts = document.entries.iter().filter_map(|entry| entry.object.dict());
        let pages = dicts.filter(|dict| dict.is(b"Type", b"Page")).take(MOST_NODES);
        found = pages.map(|dict| Leaf::under(None, document, dict)).collect();
    }
    found
}

impl<'d> Leaf<'d> {
    fn under(above: Option<&Leaf<'d>>, document: &'d Document, dict: &'d Dict) -> Leaf<'d> {
        let own = |key: &[u8], above: Option<&'d Object>| document.get(dict, key).or(above);
        Leaf {
            dict,
            resources: own(b"Resources", above.and_then(|above| above.resources)),
            area: own(b"MediaBox", above.and_then(|above| above.area)),
            turned: own(b"Rotate", above.and_then(|above| above.turned)),
        }
    }

    fn draw(&self, opening: &mut Opening, document: &'d Document, reader: &mut Reader<'d>, out: &mut String) {
        const MOST_PIECES: usize = 10_000;
        const MOST_ANNOTATIONS: usize = 1000;
        let resources = self.resources.and_then(Object::dict).unwrap_or(&NOTHING);
        let (base, width, height) = self.base(document);
        let mut page = Page { words: Words::default(), width, height, out };
        let contents = document.item(self.dict, b"Contents");
        let pieces = match contents.map(|contents| (contents, document.resolve(contents))) {
            Some((_, Object::Array(pieces))) => pieces.iter().take(MOST_PIECES).collect(),
            Some((contents, _)) => vec![contents],
            None => Vec::new(),
        };
        let mut data = Vec::new();
        for place in pieces.into_iter().filter_map(|piece| document.stream(piece)) {
            data.extend_from_slice(&reader.content(opening, place));
            data.push(b'\n');
            if data.len() as u64 > MOST_BYTES {
                break;
            }
        }
        reader.draw(opening, &mut page, &data, (resources, base));
        let annotations = document.get(self.dict, b"Annots").and_then(Object::array).unwrap_or_default();
        for annotation in annotations.iter().take(MOST_ANNOTATIONS) {
            if reader.is_over() {
                break;
            }
            if let Some(dict) = document.resolve(annotation).dict() {
                reader.annotation(opening, &mut page, dict, (resources, base));
            }
        }
        page.words.lines(page.out);
    }

    /// From the page's own coordinates to those from its lower left corner on, turned as it is shown; its width and height.
    fn base(&self, document: &Document) -> (Matrix, f64, f64) {
        const LETTER: [f64; 4] = [0.0, 0.0, 612.0, 792.0];
        let area = self.area.and_then(Object::array);
        let number =
            |place: usize| match area.and_then(|area| area.get(place)).map(|one| document.resolve(one)) {
                Some(Object::Number(number)) => *number,
                _ => LETTER[place],
            };
        let (left, right) = (number(0).min(number(2)), number(0).max(number(2)));
        let (bottom, top) = (number(1).min(number(3)), number(1).max(number(3)));
        let (width, height) = (right - left, top - bottom);
        match self.turned.and_then(Object::integer).unwrap_or(0).rem_euclid(360) {
            90 => (Matrix([0.0, -1.0, 1.0, 0.0, -bottom, right]), height, width),
            180 => (Matrix([-1.0, 0.0, 0.0, -1.0, right, top]), width, height),
            270 => (Matrix([0.0, 1.0, -1.0, 0.0, top, -left]), height, width),
            _ => (Matrix([1.0, 0.0, 0.0, 1.0, -left, -bottom]), width, height),
        }
    }
}

#[cfg(test)]
mod tests;
