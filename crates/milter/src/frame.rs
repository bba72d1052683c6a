//! Packets: four octets of length, big-endian, then so many octets, of which the first is the command.

use std::fmt;

use bytes::{Buf, Bytes, BytesMut};

/// One packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// The letter of the command or response.
    pub code: u8,
    /// What follows it.
    pub data: Bytes,
}

impl Frame {
    /// Takes one packet from the front of `buf`; `None` when it is not whole yet. `limit` is the most octets of data.
    /// A packet that is too long is known by its first four octets, before anything is kept of it.
    pub fn take(buf: &mut BytesMut, limit: usize) -> Result<Option<Frame>, FrameError> {
        let Some(head) = buf.first_chunk::<4>() else { return Ok(None) };
        let length = u32::from_be_bytes(*head) as usize;
        if length == 0 {
            return Err(FrameError::Empty);
        }
        if length - 1 > limit {
            return Err(FrameError::TooLong { length: length - 1, limit });
        }
        if buf.len() < 4 + length {
            buf.reserve(4 + length - buf.len());
            return Ok(None);
        }
        buf.advance(4);
        let code = buf.get_u8();
        Ok(Some(Frame { code, data: buf.split_to(length - 1).freeze() }))
    }
}

/// Appends a packet whose data is made of `pieces`. What is longer than 4 GiB cannot be told and is cut off.
pub(crate) fn write(out: &mut Vec<u8>, code: u8, pieces: &[&[u8]]) {
    let length: usize = 1 + pieces.iter().map(|piece| piece.len()).sum::<usize>();
    let length = u32::try_from(length).unwrap_or(u32::MAX);
    out.extend_from_slice(&length.to_be_bytes());
    out.push(code);
    let mut left = length as usize - 1;
    for piece in pieces {
        let piece = &piece[..piece.len().min(left)];
        out.extend_from_slice(piece);
        left -= piece.len();
    }
}

/// Why what was sent is no packet. The connection is of no use afterwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameError {
    /// A length of 0: not even a command.
    Empty,
    /// More data than the limit.
    TooLong {
        /// Octets of data announced.
        length: usize,
        /// Octets allowed.
        limit: usize,
    },
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FrameError::Empty => f.write_str("a packet without a command"),
            FrameError::TooLong { length, limit } => {
                write!(f, "a packet of {length} octets; at most {limit} are taken")
            }
        }
    }
}

impl std::error::Error for FrameError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn taken_when_whole() {
        let input = b"\0\0\0\x01Q\0\0\0\x04Babc\0\0";
        for step in 1..=input.len() {
            let (mut buf, mut frames) = (BytesMut::new(), Vec::new());
            for chunk in input.chunks(step) {
                buf.extend_from_slice(chunk);
                while let Some(frame) = Frame::take(&mut buf, 3).unwrap() {
                    frames.push((frame.code, frame.data));
                }
            }
            assert_eq!(frames, [(b'Q', Bytes::new()), (b'B', Bytes::from_static(b"abc"))]);
            assert_eq!(&buf[..], b"\0\0");
        }
    }

    #[test]
    fn refused_by_its_length() {
        for (input, expected) in [
            (&b"\0\0\0\0"[..], FrameError::Empty),
            (b"\0\0\0\x05", FrameError::TooLong { length: 4, limit: 3 }),
            (b"\xff\xff\xff\xff", FrameError::TooLong { length: 0xffff_fffe, limit: 3 }),
        ] {
            assert_eq!(Frame::take(&mut BytesMut::from(input), 3), Err(expected));
        }
    }
}
