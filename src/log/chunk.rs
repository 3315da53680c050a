//! Frames: how a slot's bytes stand in a session's log files.
//!
//! ```text
//!  0: magic u32, version u16, flags u16, seq u32, raw_len u32
//! 16: stored_len u32, first_record u32, first_step u64
//! 32: key u64, raw_hash u64, reserved u64, header_hash u64
//! 64: stored_len bytes: one zstd frame if flags has ZSTD, else the raw bytes
//! ```
//!
//! One frame holds one slot of one process. Frames of a process follow each other by `seq` over
//! its files `procs/<key>.<n>.log`. A frame's `first_step` and `first_record` are a checkpoint:
//! a reader can start there without what stands before. Bytes in, frames out: no I/O here.

use log_format::arena::SLOT_BYTES;
use xxhash_rust::xxh3::xxh3_64;

/// First four bytes of a frame.
pub const MAGIC: u32 = u32::from_le_bytes(*b"RRCH");
/// Bytes of a frame's header.
pub const HEADER_BYTES: usize = 64;
/// Flag: the payload is one zstd frame.
pub const ZSTD: u16 = 1;
/// Largest payload a reader accepts: a slot, plus what zstd adds to incompressible bytes.
pub const STORED_BYTES_MAX: usize = SLOT_BYTES + SLOT_BYTES / 128 + 512;

/// A frame's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Whether the payload is compressed.
    pub compressed: bool,
    /// Position in the process's stream: 0, 1, 2 ...
    pub seq: u32,
    /// Bytes of the stream in this frame.
    pub raw_len: u32,
    /// Bytes that follow the header.
    pub stored_len: u32,
    /// Offset in the raw bytes of the first record that starts here; `raw_len` if none does.
    pub first_record: u32,
    /// Step of that record.
    pub first_step: u64,
    /// Key of the process.
    pub key: u64,
    /// xxh3 of the raw bytes.
    pub raw_hash: u64,
}

/// Why bytes are not a frame.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadFrame {
    /// The bytes end inside the frame.
    #[error("the file ends inside a frame")]
    Truncated,
    /// The header is not one.
    #[error("a frame's header is damaged")]
    Header,
    /// The frame has a version this reader does not know.
    #[error("a frame has format version {0}")]
    Version(u32),
    /// The payload is not what was written.
    #[error("a frame's content is damaged")]
    Payload,
}

fn u32_at(bytes: &[u8; HEADER_BYTES], at: usize) -> u32 {
    bytes.get(at..at + 4).and_then(|b| b.try_into().ok()).map_or(0, u32::from_le_bytes)
}

fn u64_at(bytes: &[u8; HEADER_BYTES], at: usize) -> u64 {
    bytes.get(at..at + 8).and_then(|b| b.try_into().ok()).map_or(0, u64::from_le_bytes)
}

impl Header {
    /// The header's bytes.
    pub fn to_bytes(self) -> [u8; HEADER_BYTES] {
        let mut out = [0; HEADER_BYTES];
        let version = log_format::VERSION as u16;
        let flags = if self.compressed { ZSTD } else { 0 };
        out[0..4].copy_from_slice(&MAGIC.to_le_bytes());
        out[4..6].copy_from_slice(&version.to_le_bytes());
        out[6..8].copy_from_slice(&flags.to_le_bytes());
        out[8..12].copy_from_slice(&self.seq.to_le_bytes());
        out[12..16].copy_from_slice(&self.raw_len.to_le_bytes());
        out[16..20].copy_from_slice(&self.stored_len.to_le_bytes());
        out[20..24].copy_from_slice(&self.first_record.to_le_bytes());
        out[24..32].copy_from_slice(&self.first_step.to_le_bytes());
        out[32..40].copy_from_slice(&self.key.to_le_bytes());
        out[40..48].copy_from_slice(&self.raw_hash.to_le_bytes());
        let hash = xxh3_64(&out[..56]);
        out[56..64].copy_from_slice(&hash.to_le_bytes());
        out
    }

    /// Reads a header.
    ///
    /// # Errors
    /// [`BadFrame::Header`] if the bytes or their hash are wrong, or a length is beyond its
    /// limit; [`BadFrame::Version`] for a frame of another version.
    pub fn from_bytes(bytes: &[u8; HEADER_BYTES]) -> Result<Header, BadFrame> {
        if u32_at(bytes, 0) != MAGIC || u64_at(bytes, 56) != xxh3_64(&bytes[..56]) {
            return Err(BadFrame::Header);
        }
        let version = u32_at(bytes, 4) & 0xffff;
        if version != log_format::VERSION {
            return Err(BadFrame::Version(version));
        }
        let header = Header {
            compressed: (u32_at(bytes, 4) >> 16) as u16 & ZSTD != 0,
            seq: u32_at(bytes, 8),
            raw_len: u32_at(bytes, 12),
            stored_len: u32_at(bytes, 16),
            first_record: u32_at(bytes, 20),
            first_step: u64_at(bytes, 24),
            key: u64_at(bytes, 32),
            raw_hash: u64_at(bytes, 40),
        };
        let fits = header.raw_len as usize <= SLOT_BYTES
            && header.stored_len as usize <= STORED_BYTES_MAX
            && header.first_record <= header.raw_len;
        if fits { Ok(header) } else { Err(BadFrame::Header) }
    }
}

/// Where a frame stands in its stream, for [`Encoder::encode`].
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// Key of the process.
    pub key: u64,
    /// Position in its stream.
    pub seq: u32,
    /// Offset of the first record that starts in the frame.
    pub first_record: u32,
    /// Step of that record.
    pub first_step: u64,
}

/// A frame to be written.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    /// Its header's bytes.
    pub header: [u8; HEADER_BYTES],
    /// What follows.
    pub payload: &'a [u8],
}

impl Frame<'_> {
    /// Bytes of header and payload.
    pub fn bytes(&self) -> u64 {
        (HEADER_BYTES + self.payload.len()) as u64
    }
}

/// Turns slots into frames.
pub struct Encoder {
    compressor: Option<zstd::bulk::Compressor<'static>>,
    level: i32,
    /// Bytes that are still compressed quickly.
    quick_bytes: u64,
    /// What is left of them when everything is compressed from then on.
    sparing_until: u64,
    out: Vec<u8>,
}

impl Encoder {
    /// An encoder with this zstd level; 0 stores the bytes as they are.
    ///
    /// # Errors
    /// zstd's own, for lack of memory.
    pub fn new(level: i32) -> std::io::Result<Encoder> {
        let compressor = match level {
            0 => None,
            _ => Some(zstd::bulk::Compressor::new(level)?),
        };
        Ok(Encoder { compressor, level, quick_bytes: 0, sparing_until: 0, out: Vec::new() })
    }

    /// Compresses the first `bytes` by a quicker level, and in the first half only what that makes
    /// much smaller: it would take a short program's recording more time than everything else.
    ///
    /// # Errors
    /// zstd's own.
    pub fn quick_first(mut self, bytes: u64) -> std::io::Result<Encoder> {
        /// About three times as fast as level 1, and nine tenths of its savings.
        const QUICK_LEVEL: i32 = -4;
        if let Some(compressor) = self.compressor.as_mut().filter(|_| self.level > 0) {
            compressor.set_compression_level(QUICK_LEVEL)?;
            (self.quick_bytes, self.sparing_until) = (bytes, bytes / 2);
        }
        Ok(self)
    }

    /// The frame of `raw` (at most a slot).
    ///
    /// Bytes that do not get smaller are stored as they are.
    pub fn encode<'a>(&'a mut self, place: Place, raw: &'a [u8]) -> Frame<'a> {
        if self.out.is_empty() {
            // Not by `resize`, which would touch every page of it.
            self.out = vec![0; STORED_BYTES_MAX];
        }
        let quick = self.quick_bytes > 0;
        let spare = self.quick_bytes > self.sparing_until && !self.shrinks_much(raw);
        let packed = if spare { None } else { self.pack(raw) };
        if quick {
            self.quick_bytes = self.quick_bytes.saturating_sub(raw.len() as u64);
            if let (0, Some(compressor)) = (self.quick_bytes, &mut self.compressor) {
                // Where it fails, the quick level stays.
                let _ = compressor.set_compression_level(self.level);
            }
        }
        let payload = packed.and_then(|len| self.out.get(..len)).unwrap_or(raw);
        let header = Header {
            compressed: packed.is_some(),
            seq: place.seq,
            raw_len: raw.len() as u32,
            stored_len: payload.len() as u32,
            first_record: place.first_record.min(raw.len() as u32),
            first_step: place.first_step,
            key: place.key,
            raw_hash: xxh3_64(raw),
        };
        Frame { header: header.to_bytes(), payload }
    }

    /// Compresses `raw` into `out`; the length, if it is smaller.
    fn pack(&mut self, raw: &[u8]) -> Option<usize> {
        let len = self.compressor.as_mut()?.compress_to_buffer(raw, &mut self.out[..]).ok()?;
        (len < raw.len()).then_some(len)
    }

    /// Whether bytes shrink much, by the look of some: text of models does, compiled code does not.
    fn shrinks_much(&mut self, raw: &[u8]) -> bool {
        const PARTS: usize = 4;
        const PART_BYTES: usize = 4 << 10;
        let part = |i| raw.get(raw.len() * i / PARTS..)?.get(..PART_BYTES);
        let sample = (0..PARTS).filter_map(part).collect::<Vec<_>>().concat();
        // By half: that is a third, or less, with all that stands around.
        sample.is_empty() || self.pack(&sample).is_some_and(|len| len * 2 <= sample.len())
    }
}

/// Turns payloads back into slots' bytes.
pub struct Decoder {
    decompressor: zstd::bulk::Decompressor<'static>,
}

impl Decoder {
    /// A decoder.
    ///
    /// # Errors
    /// zstd's own, for lack of memory.
    pub fn new() -> std::io::Result<Decoder> {
        Ok(Decoder { decompressor: zstd::bulk::Decompressor::new()? })
    }

    /// Appends the raw bytes of the frame with this header and payload to `out`.
    ///
    /// # Errors
    /// [`BadFrame::Payload`] unless exactly the written bytes come out; `out` is then unchanged.
    pub fn decode(
        &mut self,
        header: &Header,
        payload: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), BadFrame> {
        let start = out.len();
        let raw_len = header.raw_len as usize;
        let whole = if header.compressed {
            out.resize(start + raw_len, 0);
            self.decompressor.decompress_to_buffer(payload, &mut out[start..]).ok() == Some(raw_len)
        } else {
            out.extend_from_slice(payload);
            payload.len() == raw_len
        };
        if whole && xxh3_64(&out[start..]) == header.raw_hash {
            return Ok(());
        }
        out.truncate(start);
        Err(BadFrame::Payload)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(level: i32, raw: &[u8]) -> Vec<u8> {
        let place = Place { key: 7, seq: 3, first_record: 8, first_step: 99 };
        let mut encoder = Encoder::new(level).unwrap();
        let frame = encoder.encode(place, raw);
        [&frame.header, frame.payload].concat()
    }

    fn read(frame: &[u8]) -> Result<(Header, Vec<u8>), BadFrame> {
        let head = frame.first_chunk().ok_or(BadFrame::Truncated)?;
        let header = Header::from_bytes(head)?;
        let payload = frame
            .get(HEADER_BYTES..HEADER_BYTES + header.stored_len as usize)
            .ok_or(BadFrame::Truncated)?;
        let mut out = Vec::new();
        Decoder::new().unwrap().decode(&header, payload, &mut out)?;
        Ok((header, out))
    }

    #[test]
    fn a_frame_gives_back_its_bytes_compressed_or_not() {
        let raw: Vec<u8> = (0..5000u32).flat_map(|i| (i / 100).to_le_bytes()).collect();
        for level in [0, 1, 9] {
            let frame = sample(level, &raw);
            let (header, back) = read(&frame).unwrap();
            assert_eq!(back, raw);
            assert_eq!((header.key, header.seq, header.first_step), (7, 3, 99));
            assert_eq!(header.compressed, level != 0);
        }
    }

    #[test]
    fn at_first_only_what_shrinks_much_is_compressed() {
        let text = "data: {\"delta\": \"one more token\"}\n".repeat(3000).into_bytes();
        let mut random = fastrand::Rng::with_seed(1);
        // A byte of five bits: zstd saves three of eight.
        let code: Vec<u8> = (0..text.len()).map(|_| random.u8(0..32)).collect();
        let place = Place { key: 7, seq: 0, first_record: 0, first_step: 0 };
        let budget = 4 * text.len() as u64;
        let mut encoder = Encoder::new(1).unwrap().quick_first(budget).unwrap();
        let all = [&text, &code, &code, &code, &code];
        let sizes = all.map(|raw| encoder.encode(place, raw).payload.len());
        let [text_bytes, first, .., behind] = sizes;
        assert!(text_bytes < text.len() / 5);
        assert_eq!(first, code.len());
        assert!(behind < code.len() * 3 / 4);
    }

    #[test]
    fn every_bit_flip_and_every_truncation_is_an_error() {
        let raw: Vec<u8> = (0..40u32).flat_map(|i| (i * i).to_le_bytes()).collect();
        for level in [0, 1] {
            let frame = sample(level, &raw);
            for at in 0..frame.len() {
                assert!(read(&frame[..at]).is_err());
                for bit in 0..8 {
                    let mut bad = frame.clone();
                    bad[at] ^= 1 << bit;
                    // A flip that zstd does not notice must give the same bytes.
                    assert!(
                        read(&bad).map_or(true, |(_, back)| back == raw),
                        "byte {at} bit {bit}"
                    );
                }
            }
        }
    }
}
