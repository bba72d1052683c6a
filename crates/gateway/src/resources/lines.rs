//! Lists in files, read line by line.

use std::fmt::Display;
use std::path::Path;

/// Mistakes that are told of one file; of the others, how many.
const TOLD: usize = 10;

/// Reads each line of a file, without its LF. On mistakes, says of each which line it is in.
pub fn each_line<E: Display>(
    path: &Path,
    bytes: &[u8],
    mut read: impl FnMut(&[u8]) -> Result<(), E>,
) -> Result<(), Vec<String>> {
    let mut mistakes = Vec::new();
    let mut more = 0_usize;
    for (number, line) in bytes.split(|&byte| byte == b'\n').enumerate() {
        let Err(mistake) = read(line) else { continue };
        if mistakes.len() < TOLD {
            mistakes.push(format!("{}:{}: {mistake}", path.display(), number + 1));
        } else {
            more += 1;
        }
    }
    if more > 0 {
        mistakes.push(format!("{}: and {more} more such lines", path.display()));
    }
    if mistakes.is_empty() { Ok(()) } else { Err(mistakes) }
}
