//! What must hold for any bytes that a disk may give back.

use std::path::Path;

use bytes::{Bytes, BytesMut};

use super::cursor;
use super::frame::{Codec, Entry, HEADER_BYTES};

const CODEC: Codec = Codec { magic: *b"PNT1" };

/// The bytes as they are, and with a header that makes them pass for sound: a checksum keeps random bytes out.
pub(crate) fn frame(bytes: &[u8]) {
    let _ = CODEC.verify(bytes);
    if let Some(at) = CODEC.resync(bytes, 0) {
        assert!(CODEC.verify(&bytes[at..]).is_ok());
    }
    let mut passing = BytesMut::zeroed(HEADER_BYTES);
    passing.extend_from_slice(bytes.get(4..).unwrap_or_default());
    let len = passing.len() - HEADER_BYTES;
    passing[..4].copy_from_slice(&CODEC.magic);
    passing[8..12].copy_from_slice(&(len as u32).to_le_bytes());
    passing[20..24].copy_from_slice(bytes.get(..4).unwrap_or(&[0; 4]));
    let crc = crc32fast::hash(&passing[8..]);
    passing[4..8].copy_from_slice(&crc.to_le_bytes());
    let passing = passing.freeze();
    for bytes in [Bytes::copy_from_slice(bytes), passing] {
        let Ok((frame, extent)) = CODEC.decode(&bytes) else { continue };
        assert!(extent.bytes <= bytes.len() && frame.messages.len() as u64 == extent.count);
        let notes = frame.notes.iter().copied().map(Entry::Note);
        let entries = notes.chain(frame.messages.iter().map(Entry::Message));
        let mut again = BytesMut::new();
        CODEC.encode(frame.first_sequence, extent.mark, entries, &mut again);
        let (reread, _) = CODEC.decode(&again.freeze()).expect("what was written can be read");
        assert_eq!(reread, frame);
    }
}

/// The same for the three sectors of a cursor: the first bytes, each part with a checksum that passes.
pub(crate) fn cursor(bytes: &[u8]) {
    let mut sectors = [0; cursor::BYTES];
    let len = bytes.len().min(sectors.len());
    sectors[..len].copy_from_slice(&bytes[..len]);
    let path = Path::new("cursor");
    let _ = cursor::decode(&sectors, path);
    cursor::seal(&mut sectors);
    if let Ok(contents) = cursor::decode(&sectors, path)
        && let Some(slot) = contents.slot
    {
        assert!(slot.generation > 0 && slot.progress.base <= slot.progress.acked);
    }
}
