//! What the operators of content streams draw (ISO 32000-1 sections 8 and 9): text is placed, all else passed over.

use std::collections::HashMap;
use std::rc::Rc;

use bytes::Bytes;

use super::super::document::Document;
use super::super::object::{Dict, Object, Parser, is_regular, is_space, text};
use super::font::Font;
use super::lines::{Place, Words};
use super::matrix::Matrix;
use crate::opening::Opening;

/// Operands, glyphs and kin of one document.
const MOST_STEPS: u64 = 4_000_000;
/// Bytes of text that are drawn, for each that is asked for.
const DRAWN: usize = 4;
/// Contents one in the other.
const DEEPEST: u32 = 10;

/// A document whose text is read.
pub(super) struct Reader<'d> {
    document: &'d Document,
    /// By where their dictionaries are in memory: all of them stay there while the document does.
    fonts: HashMap<*const Dict, Rc<Font>>,
    contents: HashMap<usize, Bytes>,
    steps: u64,
    left: usize,
}

/// A page that is drawn.
pub(super) struct Page<'o> {
    pub(super) words: Words,
    pub(super) width: f64,
    pub(super) height: f64,
    pub(super) out: &'o mut String,
}

/// What `q` keeps and `Q` brings back.
#[derive(Clone)]
struct State {
    matrix: Matrix,
    font: Option<Rc<Font>>,
    size: f64,
    /// Between characters, between words.
    apart: f64,
    words_apart: f64,
    /// How wide characters are drawn: 1 is as they are.
    stretch: f64,
    leading: f64,
    rise: f64,
}

/// A content stream being followed.
struct Frame<'d> {
    state: State,
    saved: Vec<State>,
    resources: &'d Dict,
    depth: u32,
    text: Matrix,
    line: Matrix,
    /// For each marked content that is open, whether it stands for a text.
    marks: Vec<bool>,
    /// What is shown instead of what is drawn, and where that is.
    instead: Option<(String, Option<Place>)>,
}

impl<'d> Reader<'d> {
    /// `most`: bytes of text that are wanted.
    pub(super) fn new(document: &'d Document, most: usize) -> Reader<'d> {
        let left = most.saturating_mul(DRAWN);
        Reader { document, fonts: HashMap::new(), contents: HashMap::new(), steps: MOST_STEPS, left }
    }

    /// Whether nothing more is read.
    pub(super) fn is_over(&self) -> bool {
        self.steps == 0 || self.left == 0
    }

    /// Follows a content stream.
    pub(super) fn draw(
        &mut self,
        opening: &mut Opening,
        page: &mut Page,
        data: &[u8],
        (resources, matrix): (&'d Dict, Matrix),
    ) {
        self.follow(opening, page, data, Frame::new(resources, State::new(matrix), 0));
    }

    /// The content of a stream; one that is drawn often is decoded once.
    pub(super) fn content(&mut self, opening: &mut Opening, place: usize) -> Bytes {
        const KEPT: usize = 1 << 20;
        const MOST: usize = 4096;
        self.spend(1);
        if let Some(known) = self.contents.get(&place) {
            return known.clone();
        }
        let data = self.document.content(opening, place).data;
        let keys = self.document.entries[place].object.dict().map_or(0, |dict| dict.0.len());
        self.spend(100 + (keys + data.len() / 64) as u64);
        if self.contents.len() < MOST && data.len() <= KEPT {
            self.contents.insert(place, data.clone());
        }
        data
    }

    fn spend(&mut self, steps: u64) {
        self.steps = self.steps.saturating_sub(steps.max(1));
    }

    fn follow(&mut self, opening: &mut Opening, page: &mut Page, data: &[u8], mut frame: Frame<'d>) {
        const MOST_OPERANDS: usize = 64;
        const LONGEST: usize = 1 << 16;
        let mut operands = Vec::new();
        let mut at = 0;
        let mut count = 0u32;
        while at < data.len() && !self.is_over() {
            count = count.wrapping_add(1);
            if count.is_multiple_of(4096) && opening.is_late() {
                self.steps = 0;
            }
            let mut room = LONGEST;
            let mut parser = Parser::new(data, at, &mut room);
            let object = parser.object();
            let from = at;
            at = parser.at;
            self.spend((at - from) as u64 / 16);
            if let Some(object) = object {
                if operands.len() < MOST_OPERANDS {
                    operands.push(object);
                }
                continue;
            }
            let length = data[at..].iter().take_while(|byte| is_regular(**byte)).count();
            let operator = &data[at..at + length];
            at += length.max(1);
            match operator {
                b"BI" => at = behind_picture(data, at),
                b"Do" => self.object(opening, page, &operands, &frame),
                b"Tf" => self.font(opening, &operands, &mut frame),
                b"BDC" => {
                    let cost = frame.marks(self.document, &operands);
                    self.spend(cost / 4);
                }
                _ => self.operator(page, operator, &operands, &mut frame),
            }
            operands.clear();
        }
        self.instead(page, &mut frame);
    }

    /// Shows what stands for what was drawn.
    fn instead(&mut self, page: &mut Page, frame: &mut Frame) {
        if let Some((text, Some(place))) = frame.instead.take() {
            self.left = self.left.saturating_sub(text.len());
            page.put(place, &text);
        }
    }

    fn operator(&mut self, page: &mut Page, operator: &[u8], operands: &[Object], frame: &mut Frame) {
        const MOST_SAVED: usize = 256;
        const MOST_MARKS: usize = 4096;
        let number = |place: usize| operands.get(place).and_then(number).unwrap_or(0.0);
        let state = &mut frame.state;
        match operator {
            b"q" if frame.saved.len() < MOST_SAVED => frame.saved.push(state.clone()),
            b"Q" => {
                if let Some(saved) = frame.saved.pop() {
                    frame.state = saved;
                }
            }
            b"cm" => state.matrix = Matrix::of(operands).times(&state.matrix),
            b"BT" => (frame.text, frame.line) = (Matrix::ONE, Matrix::ONE),
            b"Tc" => state.apart = number(0),
            b"Tw" => state.words_apart = number(0),
            b"Tz" => state.stretch = number(0) / 100.0,
            b"TL" => state.leading = number(0),
            b"Ts" => state.rise = number(0),
            b"Td" => frame.next_line(number(0), number(1)),
            b"TD" => {
                state.leading = -number(1);
                frame.next_line(number(0), number(1));
            }
            b"Tm" => {
                frame.line = Matrix::of(operands);
                frame.text = frame.line;
            }
            b"T*" => frame.next_line(0.0, -frame.state.leading),
            b"Tj" => self.strings(page, operands, frame),
            b"TJ" => self.strings(page, operands.first().and_then(Object::array).unwrap_or_default(), frame),
            b"'" => {
                frame.next_line(0.0, -frame.state.leading);
                self.strings(page, operands, frame);
            }
            b"\"" => {
                (state.words_apart, state.apart) = (number(0), number(1));
                frame.next_line(0.0, -frame.state.leading);
                self.strings(page, operands.get(2..).unwrap_or_default(), frame);
            }
            b"BMC" if frame.marks.len() < MOST_MARKS => frame.marks.push(false),
            b"EMC" => {
                let told = frame.marks.pop();
                if told == Some(true) {
                    self.instead(page, frame);
                }
            }
            _ => {}
        }
    }

    /// Strings, and numbers that move what follows them back.
    fn strings(&mut self, page: &mut Page, items: &[Object], frame: &mut Frame) {
        let Some(font) = frame.state.font.clone() else { return };
        for item in items {
            match item {
                Object::String(string) => self.string(page, string, &font, frame),
                Object::Number(back) => {
                    let moved = -back / 1000.0 * frame.state.size;
                    match font.vertical {
                        true => frame.text = frame.text.moved(0.0, moved),
                        false => frame.text = frame.text.moved(moved * frame.state.stretch, 0.0),
                    }
                }
                _ => {}
            }
        }
    }

    fn string(&mut self, page: &mut Page, string: &[u8], font: &Font, frame: &mut Frame) {
        let state = &frame.state;
        let own = Matrix([state.size * state.stretch, 0.0, 0.0, state.size, 0.0, state.rise]);
        let mut rest = string;
        let mut shown = String::new();
        while !rest.is_empty() && !self.is_over() {
            shown.clear();
            let glyph = font.next(rest, &mut shown);
            rest = rest.get(glyph.length..).unwrap_or_default();
            self.spend(1);
            let matrix = own.times(&frame.text).times(&state.matrix);
            let words_apart = if glyph.spaces { state.words_apart } else { 0.0 };
            let place = if font.vertical {
                frame.text = frame.text.moved(0.0, -state.size + state.apart + words_apart);
                matrix.place((0.0, -1.0))
            } else {
                let moved = glyph.width * state.size + state.apart + words_apart;
                frame.text = frame.text.moved(moved * state.stretch, 0.0);
                matrix.place((glyph.width, 0.0))
            };
            let place = place.map(|place| Place { size: place.size * font.height, ..place });
            let Some(place) = place.filter(|place| page.shows(place)) else { continue };
            self.left = self.left.saturating_sub(shown.len());
            match &mut frame.instead {
                Some((_, Some(whole))) => whole.to = whole.to.max(place.to),
                Some((_, whole)) => *whole = Some(place),
                None => page.put(place, &shown),
            }
        }
    }

    fn font(&mut self, opening: &mut Opening, operands: &[Object], frame: &mut Frame<'d>) {
        const MOST: usize = 500;
        let document = self.document;
        frame.state.size = operands.get(1).and_then(number).unwrap_or(0.0);
        let fonts = document.get(frame.resources, b"Font").and_then(Object::dict);
        let name = operands.first().and_then(Object::name);
        let font = fonts.zip(name).and_then(|(fonts, name)| document.get(fonts, name)).and_then(Object::dict);
        let Some(dict) = font else {
            frame.state.font = None;
            return;
        };
        let key = std::ptr::from_ref(dict);
        if !self.fonts.contains_key(&key) {
            if self.fonts.len() >= MOST {
                self.fonts.clear();
            }
            self.spend(1000);
            self.fonts.insert(key, Rc::new(Font::load(opening, document, dict)));
        }
        frame.state.font = self.fonts.get(&key).cloned();
    }

    /// Another content that is drawn here.
    fn object(&mut self, opening: &mut Opening, page: &mut Page, operands: &[Object], frame: &Frame<'d>) {
        let document = self.document;
        let objects = document.get(frame.resources, b"XObject").and_then(Object::dict);
        let object = objects
            .zip(operands.first().and_then(Object::name))
            .and_then(|(objects, name)| document.item(objects, name));
        if let Some(object) = object.filter(|_| frame.depth < DEEPEST) {
            self.form(opening, page, object, (frame.resources, frame.state.clone(), frame.depth + 1));
        }
    }

    fn form(
        &mut self,
        opening: &mut Opening,
        page: &mut Page,
        object: &Object,
        (resources, mut state, depth): (&'d Dict, State, u32),
    ) {
        let document = self.document;
        let Some(place) = document.stream(object) else { return };
        let Some(dict) = document.entries.get(place).and_then(|entry| entry.object.dict()) else { return };
        if document.get(dict, b"Subtype").and_then(Object::name) == Some(b"Image") {
            return;
        }
        let matrix = document.get(dict, b"Matrix").and_then(Object::array);
        state.matrix = matrix.map_or(Matrix::ONE, |matrix| document.matrix(matrix)).times(&state.matrix);
        let resources = document.get(dict, b"Resources").and_then(Object::dict).unwrap_or(resources);
        let data = self.content(opening, place);
        self.spend(100);
        self.follow(opening, page, &data, Frame::new(resources, state, depth));
    }

    /// What an annotation looks like: its appearance, put where it belongs (ISO 32000-1 section 12.5.5).
    pub(super) fn annotation(
        &mut self,
        opening: &mut Opening,
        page: &mut Page,
        dict: &Dict,
        (resources, base): (&'d Dict, Matrix),
    ) {
        const HIDDEN: usize = 2;
        const NOT_SEEN: usize = 32;
        let document = self.document;
        self.spend(100);
        let flags = document.get(dict, b"F").and_then(Object::count).unwrap_or(0);
        let is_popup = document.get(dict, b"Subtype").and_then(Object::name) == Some(b"Popup");
        let Some(looks) = document.get(dict, b"AP").and_then(Object::dict) else { return };
        let Some(mut normal) =
            document.item(looks, b"N").filter(|_| flags & (HIDDEN | NOT_SEEN) == 0 && !is_popup)
        else {
            return;
        };
        if document.stream(normal).is_none() {
            let state = document.get(dict, b"AS").and_then(Object::name).unwrap_or_default();
            let Some(of_state) =
                document.resolve(normal).dict().and_then(|states| document.item(states, state))
            else {
                return;
            };
            normal = of_state;
        }
        let form = document.stream(normal).and_then(|place| document.entries[place].object.dict());
        let numbers = |dict: &Dict, key: &[u8]| {
            let numbers = document.get(dict, key).and_then(Object::array)?;
            Some(std::array::from_fn(|place| {
                numbers.get(place).and_then(|one| number(document.resolve(one))).unwrap_or(0.0)
            }))
        };
        let Some(((form, area), rect)) =
            form.and_then(|form| Some((form, numbers(form, b"BBox")?))).zip(numbers(dict, b"Rect"))
        else {
            return;
        };
        let own = document.get(form, b"Matrix").and_then(Object::array);
        let own = own.map_or(Matrix::ONE, |own| document.matrix(own));
        let state = State::new(own.fitting(area, rect).times(&base));
        self.form(opening, page, normal, (resources, state, 1));
    }
}

impl Page<'_> {
    /// Whether something stands on the page, as far as its base line goes.
    fn shows(&self, place: &Place) -> bool {
        let (across, down) = match place.turn {
            0 => ((place.from, place.to), -place.line),
            1 => ((place.line, place.line), place.from.max(0.0)),
            2 => ((-place.to, -place.from), place.line),
            _ => ((-place.line, -place.line), (-place.to).max(0.0)),
        };
        across.1 >= 0.0 && across.0 <= self.width && (0.0..=self.height).contains(&down)
    }

    fn put(&mut self, place: Place, text: &str) {
        self.words.draw(place, text, self.out);
    }
}

impl State {
    fn new(matrix: Matrix) -> State {
        State {
            matrix,
            font: None,
            size: 0.0,
            apart: 0.0,
            words_apart: 0.0,
            stretch: 1.0,
            leading: 0.0,
            rise: 0.0,
        }
    }
}

impl<'d> Frame<'d> {
    fn new(resources: &'d Dict, state: State, depth: u32) -> Frame<'d> {
        let (saved, marks, instead) = (Vec::new(), Vec::new(), None);
        Frame { state, saved, resources, depth, text: Matrix::ONE, line: Matrix::ONE, marks, instead }
    }

    fn next_line(&mut self, right: f64, up: f64) {
        self.line = self.line.moved(right, up);
        self.text = self.line;
    }

    /// Content is marked; with what it stands for, if that is told (ISO 32000-1 section 14.9.4).
    /// What it costs is given, in bytes.
    fn marks(&mut self, document: &Document, operands: &[Object]) -> u64 {
        const MOST_MARKS: usize = 4096;
        const LONGEST: usize = 4096;
        if self.marks.len() >= MOST_MARKS {
            return 0;
        }
        let properties = match operands.get(1) {
            Some(Object::Name(name)) => {
                let known = document.get(self.resources, b"Properties").and_then(Object::dict);
                known.and_then(|known| document.get(known, name)).and_then(Object::dict)
            }
            Some(Object::Dict(dict)) => Some(dict),
            _ => None,
        };
        let actual = properties
            .and_then(|properties| document.get(properties, b"ActualText"))
            .and_then(Object::string);
        let actual = actual.filter(|actual| self.instead.is_none() && actual.len() <= LONGEST);
        self.marks.push(actual.is_some());
        let Some(actual) = actual else { return 0 };
        self.instead = Some((text(actual), None));
        actual.len() as u64
    }
}

/// Behind a picture that stands in the content: `ID`, its bytes, `EI`.
fn behind_picture(data: &[u8], at: usize) -> usize {
    let is_end = |at: usize| data.get(at).is_none_or(|byte| is_space(*byte));
    let word = |from: usize, word: &[u8]| {
        let mut places = memchr::memmem::find_iter(&data[from..], word).map(|place| from + place);
        places.find(|place| is_space(data[place.saturating_sub(1)]) && is_end(place + word.len()))
    };
    let data_at = word(at, b"ID").map_or(at, |place| place + 2);
    word(data_at, b"EI").map_or(data.len(), |place| place + 2)
}

fn number(object: &Object) -> Option<f64> {
    if let Object::Number(number) = object { Some(*number) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_are_passed_over() {
        for (data, wanted) in [
            (&b"BI /W 1 ID xEIx EI Q"[..], 18),
            (b"BI /W 1 ID x EI", 15),
            (b"BI /W 1 ID x", 12),
            (b"BI EI Q", 5),
        ] {
            assert_eq!(behind_picture(data, 2), wanted, "{data:?}");
        }
    }
}
