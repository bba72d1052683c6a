//! The methods by which members are packed (APPNOTE 4.4.5).

use gatepost_mail::DefectKind;

use crate::codec::{Fault, Sink, bzip2, dcl, deflate64, implode, lzma, ppmd, reduce, shrink, xz, zstd};

pub(super) const STORED: u16 = 0;
pub(super) const DEFLATE: u16 = 8;
/// Stands for another method, which the field of WinZip's AES names.
pub(super) const AES: u16 = 99;

/// What is told of a member that its decoder has to know.
#[derive(Clone, Copy, Debug)]
pub(super) struct Told {
    /// General purpose flags.
    pub(super) flags: u16,
    /// Size of the content; None where it is not known.
    pub(super) size: Option<u64>,
    /// Most memory that a decoder may ask for.
    pub(super) memory: u64,
}

/// The decoder of a method other than stored and deflate: what it makes of `input`, and how many bytes of it it used.
pub(super) type Decoder =
    fn(input: &[u8], told: Told, sink: &mut Sink, complaints: &mut Vec<&'static str>) -> Result<usize, Fault>;

/// The decoder of a method, if there is one.
pub(super) fn decoder(method: u16) -> Option<Decoder> {
    Some(match method {
        1 => |input, told, sink, _| shrink::decode(input, told.size.unwrap_or(0), sink),
        2 => |input, told, sink, _| reduce::decode(input, 1, told.size.unwrap_or(0), sink),
        3 => |input, told, sink, _| reduce::decode(input, 2, told.size.unwrap_or(0), sink),
        4 => |input, told, sink, _| reduce::decode(input, 3, told.size.unwrap_or(0), sink),
        5 => |input, told, sink, _| reduce::decode(input, 4, told.size.unwrap_or(0), sink),
        6 => |input, told, sink, _| implode::decode(input, told.flags, told.size.unwrap_or(0), sink),
        9 => |input, _, sink, _| deflate64::decode(input, sink),
        10 => |input, _, sink, _| dcl::decode(input, sink),
        12 => |input, _, sink, _| again(input, b"BZh", |rest| bzip2::decode(rest, sink)),
        14 => lzma,
        20 | 93 => |input, told, sink, complaints| {
            again(input, zstd::MAGIC, |rest| zstd::decode(rest, told.memory, sink, complaints))
        },
        95 => |input, _, sink, complaints| again(input, xz::MAGIC, |rest| xz::decode(rest, sink, complaints)),
        98 => |input, told, sink, _| ppmd::variant_i(input, told.memory, told.size.unwrap_or(u64::MAX), sink),
        _ => return None,
    })
}

/// Whether data of this method knows its own end, so that readers may go by it whatever the header says.
pub(super) fn ends_itself(method: u16) -> bool {
    matches!(method, DEFLATE | 9 | 10 | 12 | 20 | 93 | 95)
}

/// LZMA behind its version and properties (5.8.8); flag bit 1 announces an end marker.
fn lzma(input: &[u8], told: Told, sink: &mut Sink, _: &mut Vec<&'static str>) -> Result<usize, Fault> {
    let len = input.get(2..).and_then(|rest| rest.first_chunk()).ok_or(Fault::Truncated)?;
    let len = usize::from(u16::from_le_bytes(*len));
    let properties = lzma::Properties::of(*input.get(4).ok_or(Fault::Truncated)?).ok_or(Fault::Corrupt)?;
    let packed = input.get(4 + len..).ok_or(Fault::Truncated)?;
    let marked = told.flags & 1 << 1 != 0;
    let size = if marked { None } else { told.size };
    Ok(4 + len + lzma::decode(packed, properties, size, sink)?)
}

/// Decodes one stream, and all that follow it with the same mark.
fn again(
    input: &[u8],
    mark: &[u8],
    mut decoder: impl FnMut(&[u8]) -> Result<usize, Fault>,
) -> Result<usize, Fault> {
    let mut used = decoder(input)?.max(1);
    while let Some(rest) = input.get(used..).filter(|rest| rest.starts_with(mark)) {
        used += decoder(rest)?.max(1);
    }
    Ok(used)
}

/// Names of the methods.
pub(super) fn name(method: u16) -> Option<&'static str> {
    Some(match method {
        0 => "stored",
        1 => "shrink",
        2..=5 => "reduce",
        6 => "implode",
        8 => "deflate",
        9 => "deflate64",
        10 => "dcl implode",
        12 => "bzip2",
        14 => "lzma",
        16 => "cmpsc",
        18 => "terse",
        19 => "lz77",
        20 | 93 => "zstd",
        94 => "mp3",
        95 => "xz",
        96 => "jpeg",
        97 => "wavpack",
        98 => "ppmd",
        99 => "aes",
        _ => return None,
    })
}

/// What a method that cannot be read here is told as.
pub(super) fn unknown(method: u16) -> (DefectKind, String) {
    (DefectKind::UnknownMethod, format!("method {method} ({})", name(method).unwrap_or("unknown")))
}
