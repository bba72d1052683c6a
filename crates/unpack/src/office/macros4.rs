//! Excel 4.0 macros: sheets of formulas that run, whatever file they come in. Formulas are gathered as text, with what they
//! call; the text goes out as a part of its own.

use std::collections::BTreeSet;
use std::fmt::Write;

use gatepost_mail::FeatureKind;

use super::vba::list;
use super::words::{self, Words};
use crate::opening::{Member, Opening, Stop};

/// The macros of one workbook.
#[derive(Debug, Default)]
pub(crate) struct Macros4 {
    /// Macro sheets, hidden ones so called.
    pub(crate) sheets: BTreeSet<String>,
    /// Names that make a macro run by itself.
    auto: BTreeSet<String>,
    /// Functions that reach outside.
    calls: BTreeSet<String>,
    listing: String,
}

/// Functions of macro sheets that start programs, call libraries, or write files and formulas.
const CALLS: &[&str] = &[
    "CALL",
    "EXEC",
    "EXECUTE",
    "FILE.DELETE",
    "FOPEN",
    "FORMULA",
    "FORMULA.ARRAY",
    "FORMULA.FILL",
    "FWRITE",
    "FWRITELN",
    "INITIATE",
    "POKE",
    "REGISTER",
    "REGISTER.ID",
    "SEND.KEYS",
];

impl Macros4 {
    /// A macro sheet.
    pub(crate) fn sheet(&mut self, name: &str, hidden: bool) {
        /// More need not be told.
        const MOST: usize = 64;
        if self.sheets.len() < MOST {
            self.sheets.insert(if hidden { format!("{name} (hidden)") } else { name.to_owned() });
        }
    }

    /// A defined name. Excel heeds how it begins, in any case.
    pub(crate) fn name(&mut self, name: &str) {
        let lower = name.to_ascii_lowercase();
        let bare = lower.strip_prefix("_xlnm.").unwrap_or(&lower);
        const AUTO: &[&str] = &["auto_open", "auto_close", "auto_activate", "auto_deactivate"];
        if let Some(known) = AUTO.iter().find(|known| bare.starts_with(*known)) {
            self.auto.insert((*known).to_owned());
        }
    }

    /// A formula of a macro sheet, without the `=`.
    pub(crate) fn formula(&mut self, cell: &str, formula: &str) {
        /// The listing is for scanners and people; this much is enough for both.
        const MOST: usize = 4 << 20;
        if self.listing.len() > MOST {
            return;
        }
        // To write into a string cannot fail.
        let _ = writeln!(self.listing, "{cell}: ={formula}");
        for (at, _) in formula.match_indices('(') {
            let head = &formula[..at];
            let start = head.rfind(|c: char| !(c.is_ascii_alphanumeric() || c == '.')).map_or(0, |at| at + 1);
            let call = head.get(start..).unwrap_or_default().to_ascii_uppercase();
            if CALLS.contains(&call.as_str()) {
                self.calls.insert(call);
            }
        }
    }

    /// Whether there is anything to tell.
    fn is_empty(&self) -> bool {
        self.sheets.is_empty() && self.calls.is_empty()
    }

    /// Tells what was gathered.
    pub(crate) fn tell(mut self, opening: &mut Opening) -> Result<(), Stop> {
        if self.is_empty() {
            return Ok(());
        }
        opening.feature(FeatureKind::MacroXlm, list(&self.sheets));
        if !self.auto.is_empty() {
            opening.feature(FeatureKind::MacroAuto, list(&self.auto));
        }
        self.calls.extend(Words::of(self.listing.as_bytes()).suspicious);
        if !self.calls.is_empty() {
            opening.feature(FeatureKind::MacroSuspicious, list(&self.calls));
        }
        words::urls(self.listing.as_bytes()).into_iter().for_each(|url| opening.link(url));
        if !self.listing.is_empty() {
            let names = vec!["xlm/macros.txt".to_owned()];
            opening.text(
                Member { names, body: self.listing.into(), ..Member::default() },
                Some("utf-8".into()),
            )?;
        }
        Ok(())
    }
}

/// Where a cell is, as sheets count: `B7`. Both numbers begin with 0.
pub(crate) fn cell(row: u32, column: u32) -> String {
    let mut letters = Vec::new();
    let mut left = column.min(0xffff) + 1;
    while left > 0 {
        left -= 1;
        letters.push(b'A' + u8::try_from(left % 26).unwrap_or_default());
        left /= 26;
    }
    letters.reverse();
    format!("{}{}", String::from_utf8_lossy(&letters), u64::from(row) + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_counted_as_sheets_do() {
        assert_eq!([cell(0, 0), cell(6, 25), cell(9, 26), cell(0, 255)], ["A1", "Z7", "AA10", "IV1"]);
    }

    #[test]
    fn names_and_calls() {
        let mut macros = Macros4::default();
        for name in ["_xlnm.Auto_Open", "aUtO_cLoSe99", "Auto", "print_area"] {
            macros.name(name);
        }
        macros.formula("A1", "exec(\"calc\")+MYEXEC(1)+REGISTER.ID(2)");
        assert_eq!(list(&macros.auto), "auto_close, auto_open");
        assert_eq!(list(&macros.calls), "EXEC, REGISTER.ID");
        assert!(macros.listing.starts_with("A1: =exec"));
    }
}
