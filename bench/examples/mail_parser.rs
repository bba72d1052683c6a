//! What the mail-parser crate makes of mails: `mail_parser FOLDER` prints the name of each FOLDER/*.eml of which a part,
//! decoded, holds one of the files FOLDER/needle-*.

use std::path::PathBuf;

use mail_parser::{Message, MessageParser, PartType};
use memchr::memmem;

fn main() -> std::io::Result<()> {
    let folder = std::env::args().nth(1).unwrap_or_default();
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.path())).collect::<Result<_, _>>()?;
    files.sort();
    let name = |path: &PathBuf| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let mut needles = Vec::new();
    for file in files.iter().filter(|file| name(file).starts_with("needle-")) {
        needles.push(std::fs::read(file)?);
    }
    for file in files.iter().filter(|file| name(file).ends_with(".eml")) {
        let mail = std::fs::read(file)?;
        if MessageParser::default().parse(&mail).is_some_and(|message| holds(&message, &needles)) {
            println!("{}", name(file));
        }
    }
    Ok(())
}

fn holds(message: &Message, needles: &[Vec<u8>]) -> bool {
    message.parts.iter().any(|part| match &part.body {
        PartType::Message(inner) => holds(inner, needles),
        _ => needles.iter().any(|needle| memmem::find(part.contents(), needle).is_some()),
    })
}
