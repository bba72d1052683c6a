//! Encodings that stand in text by themselves: uuencode, yEnc (yenc.org, draft 1.3) and BinHex 4.0 (RFC 1741).

/// uuencode between a line that begins it and one that ends it.
pub fn uuencode(content: &[u8], begin: &str, end: &str) -> Vec<u8> {
    let digit = |value: u32| if value & 63 == 0 { b'`' } else { (value & 63) as u8 + b' ' };
    let mut out = begin.as_bytes().to_vec();
    for line in content.chunks(45) {
        out.push(digit(line.len() as u32));
        for group in line.chunks(3) {
            let byte = |place: usize| u32::from(group.get(place).copied().unwrap_or(0));
            let word = byte(0) << 16 | byte(1) << 8 | byte(2);
            out.extend([18, 12, 6, 0].map(|shift| digit(word >> shift)));
        }
        out.extend(b"\r\n");
    }
    [&out[..], b"`\r\n", end.as_bytes()].concat()
}

/// yEnc, in one piece or as the only one of several, with or without its last line.
pub fn yenc(content: &[u8], whole: bool, closed: bool) -> Vec<u8> {
    let size = content.len();
    let mut out = match whole {
        true => format!("=ybegin line=128 size={size} name=file.bin\r\n").into_bytes(),
        false => format!(
            "=ybegin part=1 total=1 line=128 size={size} name=file.bin\r\n=ypart begin=1 end={size}\r\n"
        )
        .into_bytes(),
    };
    for (place, byte) in content.iter().enumerate() {
        let shifted = byte.wrapping_add(42);
        match shifted {
            0 | b'\n' | b'\r' | b'=' | b'.' => out.extend([b'=', shifted.wrapping_add(64)]),
            _ => out.push(shifted),
        }
        if place % 128 == 127 {
            out.extend(b"\r\n");
        }
    }
    out.extend(b"\r\n");
    if closed {
        let mut crc = flate2::Crc::new();
        crc.update(content);
        out.extend(format!("=yend size={size} crc32={:08x}\r\n", crc.sum()).as_bytes());
    }
    out
}

/// BinHex 4.0 behind its usual note: a header, the data fork and an empty resource fork, each with its checksum.
pub fn binhex(content: &[u8], note: &str) -> Vec<u8> {
    const ALPHABET: &[u8; 64] = b"!\"#$%&'()*+,-012345689@ABCDEFGHIJKLMNPQRSTUVXYZ[`abcdefhijklmpqr";
    const NAME: &[u8] = b"file.bin";
    let mut header = vec![NAME.len() as u8];
    header.extend(NAME);
    header.extend(b"\0BINAhDmp\0\0");
    header.extend((content.len() as u32).to_be_bytes());
    header.extend([0; 4]);
    let mut all = Vec::new();
    for fork in [&header[..], content, b""] {
        all.extend(fork);
        all.extend(crc16(fork).to_be_bytes());
    }
    // 0x90 marks repetition; the byte itself is marked by a count of zero.
    let marked: Vec<u8> =
        all.iter().flat_map(|byte| if *byte == 0x90 { vec![0x90, 0] } else { vec![*byte] }).collect();
    let mut letters = Vec::new();
    for group in marked.chunks(3) {
        let byte = |place: usize| u32::from(group.get(place).copied().unwrap_or(0));
        let word = byte(0) << 16 | byte(1) << 8 | byte(2);
        letters.extend((0..=group.len()).map(|digit| ALPHABET[(word >> (18 - 6 * digit) & 63) as usize]));
    }
    let text = [b":", &letters[..], b":"].concat();
    let lines: Vec<&[u8]> = text.chunks(64).collect();
    [note.as_bytes(), &lines.join(&b"\r\n"[..]), b"\r\n"].concat()
}

/// CRC-16 of XMODEM, as BinHex has it: over the bytes and two that are zero.
fn crc16(bytes: &[u8]) -> u16 {
    let mut crc = 0u16;
    for byte in bytes.iter().chain(&[0, 0]) {
        for bit in (0..8).rev() {
            let out = crc & 0x8000 != 0;
            crc = crc << 1 | u16::from(byte >> bit & 1);
            if out {
                crc ^= 0x1021;
            }
        }
    }
    crc
}
