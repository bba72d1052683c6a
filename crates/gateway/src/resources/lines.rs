//! Lists in files, read line by line.

use std::fmt::Display;
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// Mistakes that are told of one file; of the others, how many.
const TOLD: usize = 10;

/// As [`each_line`], of a file that is read here and has at most `largest` bytes.
pub fn each_line_of<E: Display>(
    path: &Path,
    largest: u64,
    read: impl FnMut(&[u8]) -> Result<(), E>,
) -> Result<(), Vec<String>> {
    let bytes = bytes(path, largest).map_err(|why| vec![format!("{}: {why}", path.display())])?;
    each_line(path, &bytes, read)
}

fn bytes(path: &Path, largest: u64) -> Result<Vec<u8>, String> {
    let file = File::open(path).map_err(|error| error.to_string())?;
    let mut bytes = Vec::new();
    file.take(largest + 1).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    if bytes.len() as u64 > largest {
        return Err(format!("is larger than {} MiB", largest >> 20));
    }
    Ok(bytes)
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_within_its_limit_is_read() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "a\nb").unwrap();
        let read = |largest| {
            let mut lines = Vec::new();
            each_line_of(file.path(), largest, |line| {
                lines.push(line.to_owned());
                Ok::<_, String>(())
            })
            .map(|()| lines)
        };
        assert_eq!(read(3).unwrap(), [b"a", b"b"]);
        assert!(read(2).unwrap_err()[0].ends_with(": is larger than 0 MiB"));
    }
}
