//! Prints the text of documents, as rules are told of it: `read_text FILE...`.

use gatepost_mail::Limits;

fn main() -> std::io::Result<()> {
    let limits = Limits { texts: 16 << 20, ..Limits::default() };
    for file in std::env::args().skip(1) {
        let message = gatepost_unpack::read_file(std::fs::read(&file)?.into(), Some(&file), &limits);
        for told in &message.texts {
            print!("{}", told.text);
        }
        for defect in &message.defects {
            eprintln!("{file}: {:?} {}", defect.kind, defect.detail);
        }
    }
    Ok(())
}
