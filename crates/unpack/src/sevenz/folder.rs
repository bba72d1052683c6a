//! A folder of a 7z archive unpacked: its coders, each after those that it takes its input from.

use sha2::{Digest, Sha256};

use super::header::{Coder, Folder};
use crate::codec::{Fault, Sink, bcj, bzip2, deflate64, lz4, lzma, lzma2, ppmd, zstd};
use crate::crypto::Aes;
use crate::fields::u32_le;

const AES: u64 = 0x06f1_0701;

/// Runs a decoder on so many packed bytes: what it makes, and why it stopped if not at its end.
pub(super) type Run<'a> =
    dyn FnMut(u64, &mut dyn FnMut(&mut Sink) -> Result<usize, Fault>) -> (Vec<u8>, Result<(), Fault>) + 'a;

/// A folder being unpacked.
pub(super) struct Unpacking<'a, 'b> {
    pub(super) folder: &'a Folder<'a>,
    /// Its packed streams.
    pub(super) packed: Vec<&'a [u8]>,
    /// The key, if it is encrypted.
    pub(super) key: Option<[u8; 32]>,
    /// The most memory that a decoder may ask for.
    pub(super) memory: u64,
    pub(super) run: &'b mut Run<'b>,
    /// Why the content is not all there.
    pub(super) fault: Option<Fault>,
    /// A coder that is not known here.
    pub(super) unknown: Option<u64>,
}

impl Unpacking<'_, '_> {
    /// The folder's content, as far as it can be had.
    pub(super) fn unpack(&mut self) -> Vec<u8> {
        match self.folder.last().ok_or(Fault::Corrupt).and_then(|last| self.outgoing(last, 0)) {
            Ok(data) => data,
            Err(fault) => {
                self.fault.get_or_insert(fault);
                Vec::new()
            }
        }
    }

    /// An outgoing stream. Coders in a circle end at a depth that no real folder has.
    fn outgoing(&mut self, stream: usize, depth: usize) -> Result<Vec<u8>, Fault> {
        if depth > self.folder.coders.len() {
            return Err(Fault::Corrupt);
        }
        let (mut first_in, mut first_out) = (0, 0);
        let folder = self.folder;
        for coder in &folder.coders {
            if stream == first_out && coder.outgoing == 1 {
                let size = *folder.sizes.get(stream).ok_or(Fault::Corrupt)?;
                let inputs = (first_in..first_in + coder.incoming).map(|place| self.incoming(place, depth));
                let inputs: Vec<Vec<u8>> = inputs.collect::<Result<_, Fault>>()?;
                return self.code(coder, inputs, size);
            }
            first_in += coder.incoming;
            first_out += coder.outgoing;
        }
        Err(Fault::Corrupt)
    }

    fn incoming(&mut self, stream: usize, depth: usize) -> Result<Vec<u8>, Fault> {
        if let Some(from) = self.folder.bound(stream) {
            return self.outgoing(from, depth + 1);
        }
        let place = self.folder.packed.iter().position(|packed| *packed == stream).ok_or(Fault::Corrupt)?;
        self.packed.get(place).map(|data| data.to_vec()).ok_or(Fault::Truncated)
    }

    /// What one coder makes. Filters work in place; what they yield was paid for before.
    fn code(&mut self, coder: &Coder, mut inputs: Vec<Vec<u8>>, size: u64) -> Result<Vec<u8>, Fault> {
        let most = usize::try_from(size).unwrap_or(usize::MAX);
        let start = u32_le(coder.properties, 0).unwrap_or(0);
        let filter: bcj::Filter = match coder.id {
            0x04 | 0x0303_0103 => bcj::x86,
            0x05 | 0x0303_0205 => bcj::powerpc,
            0x06 | 0x0303_0401 => bcj::ia64,
            0x07 | 0x0303_0501 => bcj::arm,
            0x08 | 0x0303_0701 => bcj::thumb,
            0x09 | 0x0303_0805 => bcj::sparc,
            0x0a => bcj::arm64,
            0x0b => bcj::riscv,
            0x03 => {
                let distance = usize::from(coder.properties.first().copied().unwrap_or(0)) + 1;
                let mut data = inputs.swap_remove(0);
                bcj::delta(&mut data, distance);
                return Ok(data);
            }
            0x0303_011b => {
                let [main, calls, jumps, choices] = &inputs[..] else { return Err(Fault::Corrupt) };
                return Ok(bcj::bcj2(main, calls, jumps, choices, most));
            }
            AES => {
                let mut data = inputs.swap_remove(0);
                let (key, iv) =
                    (self.key.ok_or(Fault::Corrupt)?, Key::read(coder.properties).ok_or(Fault::Corrupt)?.iv);
                Aes::new(&key).ok_or(Fault::Corrupt)?.cbc(iv, &mut data);
                data.truncate(most);
                return Ok(data);
            }
            _ => return self.decompress(coder, &inputs[0], size),
        };
        let mut data = inputs.swap_remove(0);
        filter(&mut data, start);
        Ok(data)
    }

    fn decompress(&mut self, coder: &Coder, input: &[u8], size: u64) -> Result<Vec<u8>, Fault> {
        let properties = coder.properties;
        let memory = self.memory;
        let mut ignored = Vec::new();
        let mut unknown = None;
        let (data, ended) = (self.run)(input.len() as u64, &mut |sink| match coder.id {
            0 => sink.extend(input).map(|()| input.len()),
            0x21 => lzma2::decode(input, sink),
            0x03_0101 => {
                let told =
                    properties.first().and_then(|&byte| lzma::Properties::of(byte)).ok_or(Fault::Corrupt)?;
                lzma::decode(input, told, Some(size), sink)
            }
            0x03_0401 => {
                let order = u32::from(*properties.first().ok_or(Fault::Corrupt)?);
                let model = u32_le(properties, 1).ok_or(Fault::Corrupt)?;
                if u64::from(model) > memory {
                    return Err(Fault::Over(gatepost_mail::Limit::Memory));
                }
                ppmd::variant_h(input, order, model, size, sink)
            }
            0x04_0108 => {
                let mut inflating = flate2::read::DeflateDecoder::new(input);
                sink.drain(&mut inflating, None).map(|()| input.len())
            }
            0x04_0109 => deflate64::decode(input, sink),
            0x04_0202 => frames(input, |rest| bzip2::decode(rest, sink)),
            0x04f7_1101 => frames(input, |rest| zstd::decode(rest, memory, sink, &mut ignored)),
            0x04f7_1104 => frames(input, |rest| lz4::frame(rest, sink, &mut ignored)),
            id => {
                unknown = Some(id);
                Err(Fault::Corrupt)
            }
        });
        self.unknown = self.unknown.or(unknown);
        if let Err(fault) = ended {
            // What was made goes through the other coders all the same.
            self.fault.get_or_insert(fault);
        }
        Ok(data)
    }
}

/// Frames one behind the other, those among them that are to be passed over.
fn frames(input: &[u8], mut decoder: impl FnMut(&[u8]) -> Result<usize, Fault>) -> Result<usize, Fault> {
    let mut used = 0;
    while let Some(rest) = input.get(used..).filter(|rest| !rest.is_empty()) {
        used += match rest {
            [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => 8 + u32_le(rest, 4).ok_or(Fault::Truncated)? as usize,
            _ => decoder(rest)?.max(1),
        };
    }
    Ok(used)
}

/// What a folder tells of its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Key<'a> {
    power: u32,
    salt: &'a [u8],
    iv: [u8; 16],
}

impl<'a> Key<'a> {
    /// Of the folder's coder that decrypts, if it has one.
    pub(super) fn of(folder: &Folder<'a>) -> Option<Option<Key<'a>>> {
        let coder = folder.coders.iter().find(|coder| coder.id == AES)?;
        Some(Key::read(coder.properties))
    }

    fn read(properties: &'a [u8]) -> Option<Key<'a>> {
        let first = *properties.first()?;
        let (mut salt, mut iv) = (usize::from(first >> 7), usize::from(first >> 6 & 1));
        let mut rest = &properties[1..];
        if salt + iv > 0 {
            let (&second, behind) = rest.split_first()?;
            salt += usize::from(second >> 4);
            iv += usize::from(second & 15);
            rest = behind;
        }
        let (salt, rest) = rest.split_at_checked(salt)?;
        let mut vector = [0; 16];
        vector.get_mut(..iv)?.copy_from_slice(rest.get(..iv)?);
        Some(Key { power: u32::from(first & 0x3f), salt, iv: vector })
    }

    /// What deriving it costs, in blocks of the hash; None where it is more than anybody would wait for.
    pub(super) fn rounds(&self) -> Option<u64> {
        match self.power {
            0x3f => Some(1),
            0..=22 => Some(((1_u64 << self.power) * (self.salt.len() as u64 + 8 + 16) / 64).max(1)),
            _ => None,
        }
    }

    /// The key that a password makes.
    pub(super) fn derive(&self, password: &str) -> [u8; 32] {
        let password = password.encode_utf16().flat_map(u16::to_le_bytes);
        let mut unit: Vec<u8> = self.salt.iter().copied().chain(password).collect();
        if self.power == 0x3f {
            unit.resize(32, 0);
            return unit.first_chunk().copied().unwrap_or_default();
        }
        let at = unit.len();
        unit.resize(at + 8, 0);
        let mut hash = Sha256::new();
        for round in 0..1_u64 << self.power.min(22) {
            unit[at..].copy_from_slice(&round.to_le_bytes());
            hash.update(&unit);
        }
        hash.finalize().into()
    }
}
