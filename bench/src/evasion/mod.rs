//! A generator of mails that readers take in different ways, each with the EICAR test file inside: what hides a file from
//! a filter hides nothing that a mail program opens.
//!
//! A mail is a plan ([`plan`]) in which everything is usual, until a value of an axis changes one thing. Each value of
//! each axis stands alone in one mail, plain and zipped; then come pairs and triples of values of different axes, drawn by
//! a seed. A value of which RFCs, or the sources of mail programs, say who reads it as it is meant carries that reader's
//! name: there a filter must find the file. For the others, readers are asked (`bench/peers/readers`).

mod bodies;
mod boundaries;
mod encodings;
mod fields;
mod frames;
mod messages;
mod payload;
mod plan;
#[cfg(test)]
mod tests;
mod text_encodings;

use std::collections::HashSet;
use std::io::{self, Write};
use std::path::PathBuf;

use plan::Plan;

pub use payload::{eicar, zip};

/// Write mails that readers take in different ways, each with the EICAR test file inside.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// Folder to write them into: NUMBER.eml, and `manifest.tsv` (file, values, reader).
    #[arg(long, value_name = "FOLDER")]
    out: PathBuf,
    /// How many; the single values come first.
    #[arg(long, default_value_t = 5000)]
    count: usize,
    /// What pairs and triples are drawn by.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// One mail.
pub struct Case {
    /// The values that make it up, `axis=value` joined by commas.
    pub name: String,
    /// Who is documented to read it so that the payload comes out; empty where nobody is.
    pub reader: &'static str,
    /// The mail.
    pub mail: Vec<u8>,
}

/// Writes the mails, their manifest, and the payload as `needle-1` and `needle-2`, which the readers look for.
pub fn run(options: &Options) -> io::Result<()> {
    std::fs::create_dir_all(&options.out)?;
    let mut manifest = io::BufWriter::new(std::fs::File::create(options.out.join("manifest.tsv"))?);
    for (number, case) in cases(options.count, options.seed).into_iter().enumerate() {
        let file = format!("{number:05}.eml");
        std::fs::write(options.out.join(&file), &case.mail)?;
        writeln!(manifest, "{file}\t{}\t{}", case.name, case.reader)?;
    }
    std::fs::write(options.out.join("needle-1"), eicar())?;
    std::fs::write(options.out.join("needle-2"), zip())?;
    manifest.flush()
}

/// The first `count` mails that a seed gives, all different. Fewer when there are no more singles and draws repeat.
pub fn cases(count: usize, seed: u64) -> Vec<Case> {
    let axes = axes();
    let mut cases = Vec::new();
    let mut known = HashSet::new();
    let mut add = |choice: &[(usize, usize)], zip: bool, cases: &mut Vec<Case>| {
        let case = case(&axes, choice, zip);
        if known.insert(case.mail.clone()) {
            cases.push(case);
        }
    };
    let singles: Vec<(usize, usize)> = (0..axes.len())
        .flat_map(|axis| (0..axes[axis].values.len()).map(move |value| (axis, value)))
        .collect();
    for zip in [true, false] {
        add(&[], zip, &mut cases);
        for single in &singles {
            add(&[*single], zip, &mut cases);
        }
    }
    let mut random = Random(seed);
    let most_draws = count.saturating_mul(4);
    for draw in 0..most_draws {
        if cases.len() >= count {
            break;
        }
        let size = if draw % 3 == 2 { 3 } else { 2 };
        let mut choice: Vec<(usize, usize)> = Vec::new();
        while choice.len() < size {
            let single = singles[random.below(singles.len())];
            if choice.iter().all(|chosen| chosen.0 != single.0) {
                choice.push(single);
            }
        }
        choice.sort_unstable();
        add(&choice, random.below(4) != 0, &mut cases);
    }
    cases.truncate(count);
    cases
}

/// A value: its name, its reader, and what it is.
type Row<T> = (&'static str, &'static str, T);

// Who reads what is as the RFCs want it.
const FIELDS_BY_RFC: &str = "RFC 5322";
const MULTIPART_BY_RFC: &str = "RFC 2046";
const BASE64_BY_RFC: &str = "RFC 2045 6.8";
const QP_BY_RFC: &str = "RFC 2045 6.7";

struct Axis {
    name: &'static str,
    values: Vec<Value>,
}

struct Value {
    name: &'static str,
    reader: &'static str,
    change: Box<dyn Fn(&mut Plan)>,
}

fn axes() -> Vec<Axis> {
    fn axis<T: 'static>(
        name: &'static str,
        rows: &'static [Row<T>],
        change: fn(&mut Plan, &'static T),
    ) -> Axis {
        let value = |row: &'static Row<T>| Value {
            name: row.0,
            reader: row.1,
            change: Box::new(move |plan: &mut Plan| change(plan, &row.2)),
        };
        Axis { name, values: rows.iter().map(value).collect() }
    }
    vec![
        axis("multipart-field", fields::WAYS, |plan, way| plan.multipart_field = way),
        axis("type-field", fields::WAYS, |plan, way| plan.type_field = way),
        axis("encoding-field", fields::WAYS, |plan, way| plan.encoding_field = way),
        axis("disposition-field", fields::WAYS, |plan, way| plan.disposition_field = way),
        axis("boundary", boundaries::WAYS, |plan, (declared, used)| {
            (plan.boundary, plan.delimiter) = (declared.to_vec(), used.to_vec());
        }),
        axis("frame", frames::WAYS, |plan, way| plan.frame = way),
        axis("body", bodies::WAYS, |plan, (encoding, encoder)| {
            (plan.encoding, plan.encoder) = (encoding.as_bytes().to_vec(), *encoder);
        }),
        axis("text", bodies::IN_TEXT, |plan, (encoding, encoder)| {
            (plan.encoding, plan.encoder) = (encoding.as_bytes().to_vec(), *encoder);
            (plan.part_type, plan.disposition) = (b"text/plain".into(), b"inline".into());
        }),
        axis("encoding", encodings::WAYS, |plan, (word, encoder)| {
            (plan.encoding, plan.encoder) = (word.to_vec(), *encoder);
        }),
        axis("nest", messages::NESTS, |plan, way| plan.nest = *way),
        axis("multipart-type", messages::MULTIPART_TYPES, |plan, way| plan.multipart_type = way),
        axis("part-type", messages::PART_TYPES, |plan, way| plan.part_type = way.to_vec()),
        axis("name", messages::NAMES, |plan, (parameters, disposition)| {
            (plan.type_parameters, plan.disposition) = (parameters.to_vec(), disposition.to_vec());
        }),
        axis("part", messages::PARTS, |plan, way| plan.part = way),
        axis("top", messages::TOPS, |plan, way| plan.top = way),
        axis("lines", messages::LINES, |plan, way| plan.lines = *way),
    ]
}

/// The mail of a choice of values, given as places of axis and value.
fn case(axes: &[Axis], choice: &[(usize, usize)], zip: bool) -> Case {
    let mut plan = Plan { zip, ..Plan::default() };
    let mut names = vec![format!("content={}", if zip { "zip" } else { "plain" })];
    let mut readers = Vec::new();
    for (axis, value) in choice {
        let (axis, value) = (&axes[*axis], &axes[*axis].values[*value]);
        (value.change)(&mut plan);
        names.push(format!("{}={}", axis.name, value.name));
        readers.push(value.reader);
    }
    // Two values at once may hide what each alone shows: then only asked readers tell.
    let reader = match readers[..] {
        [] => MULTIPART_BY_RFC,
        [reader] => reader,
        _ => "",
    };
    Case { name: names.join(","), reader, mail: plan.write() }
}

/// SplitMix64: the same mails for the same seed on every machine.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ mixed >> 31) % bound.max(1) as u64) as usize
    }
}
