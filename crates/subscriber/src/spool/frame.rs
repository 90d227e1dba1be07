//! One frame of a segment: the messages of one group commit and what must be remembered with them, under one checksum.
//!
//! Layout, little endian:
//! `magic u32 | crc32 u32 | len u32 | first_sequence u64 | count u32 | mark u32 | (size u32, entry)*`, where `len`
//! counts what follows the 28 bytes of header, the checksum covers everything after itself, `count` is the number of
//! messages, and `mark` is 0 but in a checkpoint. An entry is a message, `captured_ms i64 | bits u8 | topic_len u16 |
//! topic | payload`, with `boot u64 | since_boot_ms u64` behind the bits where bit 4 of them is set, or, where the highest bit of its size is set, a note: `1 | pkid u16 | fingerprint u64 | late, dup
//! u8` (held), `2 | pkid u16` (released), `3` (session lost),
//! `4 | pkid u16 | fingerprint u64` (past), `5 | messages u32` (passed) or `6` (early). The magic lets a reader find
//! the next frame behind damaged bytes; it is each spool's own and nobody's business, so that no payload can pass for a
//! frame.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::session::{Fingerprint, Note};

/// Bytes before the messages.
pub(super) const HEADER_BYTES: usize = 28;
/// The longest `len` that is believed: a frame holds one group commit, or one message larger than that.
pub(super) const LEN_MAX: usize = 1 << 29;
const MESSAGE_HEADER_BYTES: usize = 11;
/// What a message takes beside its topic and payload where it has a frame of its own.
pub(crate) const MESSAGE_ALONE_BYTES: usize = HEADER_BYTES + 4 + MESSAGE_HEADER_BYTES;

const BIT_RETAIN: u8 = 1 << 2;
const BIT_DUP: u8 = 1 << 3;
const BIT_UNSET: u8 = 1 << 4;
const BOOT_TIME_BYTES: usize = 16;

/// In an entry's size: it is a note.
const NOTE: u32 = 1 << 31;
const HELD: u8 = 1;
const RELEASED: u8 = 2;
const LOST: u8 = 3;
const PAST: u8 = 4;
const PASSED: u8 = 5;
const EARLY: u8 = 6;
const BIT_LATE: u8 = 1;
const BIT_REPEATED: u8 = 2;

/// What the broker sent, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The topic's bytes; UTF-8 unless the broker broke the protocol.
    pub topic: Bytes,
    /// Any bytes.
    pub payload: Bytes,
    /// 0 to 2.
    pub qos: u8,
    /// Sent from the broker's store of retained messages.
    pub retain: bool,
    /// MQTT's DUP flag: it may have been stored before.
    pub dup: bool,
    /// Capture time, milliseconds since the Unix epoch.
    pub captured_ms: i64,
    /// Whether that can be right.
    pub clock: Clock,
}

/// Whether the clock was set when a message was captured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Clock {
    /// As far as is known.
    #[default]
    Set,
    /// It showed a time long before this program was made. What the clock that never steps showed is kept.
    Unset(BootTime),
    /// It was not, and the time was corrected since. A frame has no such message.
    Corrected,
}

/// A moment by the clock that never steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BootTime {
    /// Which boot of the machine it was.
    pub boot: u64,
    /// Milliseconds since then.
    pub since_ms: u64,
}

/// What an append takes: the entries of a frame, in receipt order.
#[derive(Clone, Copy, Debug)]
pub enum Entry<'a> {
    /// Gets the next sequence.
    Message(&'a Message),
    /// Has none.
    Note(Note),
}

impl Entry<'_> {
    /// Its size within a frame.
    pub(super) fn encoded_len(&self) -> usize {
        4 + match self {
            Self::Message(message) => {
                let boot_time = if matches!(message.clock, Clock::Unset(_)) { BOOT_TIME_BYTES } else { 0 };
                MESSAGE_HEADER_BYTES + boot_time + message.topic.len() + message.payload.len()
            }
            Self::Note(Note::Held { .. }) => 12,
            Self::Note(Note::Released { .. }) => 3,
            Self::Note(Note::Past { .. }) => 11,
            Self::Note(Note::Passed { .. }) => 5,
            Self::Note(Note::Lost | Note::Early) => 1,
        }
    }
}

/// Why bytes are no frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bad {
    /// They end before the frame does: a torn tail, if nothing follows.
    Short,
    /// The magic, a length or the checksum is wrong.
    Damaged,
}

/// A decoded frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// The sequence of the first message; the others count up by one.
    pub first_sequence: u64,
    /// In receipt order.
    pub messages: Vec<Message>,
    /// In receipt order.
    pub notes: Vec<Note>,
}

/// Writes and reads frames of one spool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Codec {
    /// How its frames begin.
    pub(super) magic: [u8; 4],
}

impl Codec {
    /// Appends one frame to `out`. The entries must sum up to less than [`LEN_MAX`].
    pub(super) fn encode<'a>(
        self,
        first_sequence: u64,
        mark: u32,
        entries: impl Iterator<Item = Entry<'a>>,
        out: &mut BytesMut,
    ) {
        let start = out.len();
        out.put_slice(&self.magic);
        out.put_bytes(0, HEADER_BYTES - self.magic.len());
        let mut count = 0u32;
        for entry in entries {
            match entry {
                Entry::Message(message) => {
                    put_message(message, entry.encoded_len(), out);
                    count += 1;
                }
                Entry::Note(note) => put_note(note, entry.encoded_len(), out),
            }
        }
        let len = out.len() - start - HEADER_BYTES;
        assert!(len <= LEN_MAX, "a frame of {count} messages and {len} bytes");
        let mut header = &mut out[start + 8..start + HEADER_BYTES];
        header.put_u32_le(len as u32);
        header.put_u64_le(first_sequence);
        header.put_u32_le(count);
        header.put_u32_le(mark);
        let crc = crc32fast::hash(&out[start + 8..]);
        out[start + 4..start + 8].copy_from_slice(&crc.to_le_bytes());
    }

    /// The extent of the frame at the start of `bytes`, checksum verified: its whole length, first sequence and count.
    pub(super) fn verify(self, bytes: &[u8]) -> Result<Extent, Bad> {
        let Some(mut header) = bytes.get(..HEADER_BYTES) else {
            // A damaged start is damage even where the file ends early.
            return Err(if self.magic.starts_with(&bytes[..bytes.len().min(4)]) { Bad::Short } else { Bad::Damaged });
        };
        if header[..4] != self.magic {
            return Err(Bad::Damaged);
        }
        header.advance(4);
        let crc = header.get_u32_le();
        let len = header.get_u32_le() as usize;
        let first_sequence = header.get_u64_le();
        let count = header.get_u32_le();
        let mark = header.get_u32_le();
        if len > LEN_MAX {
            return Err(Bad::Damaged);
        }
        let Some(covered) = bytes.get(8..HEADER_BYTES + len) else { return Err(Bad::Short) };
        if crc32fast::hash(covered) != crc {
            return Err(Bad::Damaged);
        }
        Ok(Extent { bytes: HEADER_BYTES + len, first_sequence, count: u64::from(count), mark })
    }

    /// Decodes the frame at the start of `bytes`; what is behind it is left alone.
    pub(super) fn decode(self, bytes: &Bytes) -> Result<(Frame, Extent), Bad> {
        let extent = self.verify(bytes)?;
        let mut rest = bytes.slice(HEADER_BYTES..extent.bytes);
        let mut frame = Frame {
            first_sequence: extent.first_sequence,
            messages: Vec::with_capacity(extent.count.min(4096) as usize),
            notes: Vec::new(),
        };
        while rest.has_remaining() {
            take_entry(&mut rest, &mut frame).ok_or(Bad::Damaged)?;
        }
        if frame.messages.len() as u64 != extent.count {
            return Err(Bad::Damaged);
        }
        Ok((frame, extent))
    }

    /// Where the next sound frame begins, searching from `from` on.
    pub(super) fn resync(self, bytes: &[u8], from: usize) -> Option<usize> {
        memchr::memmem::find_iter(bytes.get(from..)?, &self.magic)
            .map(|at| from + at)
            .find(|&at| self.verify(&bytes[at..]).is_ok())
    }
}

/// Where a verified frame ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Extent {
    /// Header included.
    pub(super) bytes: usize,
    pub(super) first_sequence: u64,
    pub(super) count: u64,
    pub(super) mark: u32,
}

fn put_message(message: &Message, encoded_len: usize, out: &mut BytesMut) {
    let bits = message.qos & 3 | if message.retain { BIT_RETAIN } else { 0 } | if message.dup { BIT_DUP } else { 0 };
    out.put_u32_le((encoded_len - 4) as u32);
    out.put_i64_le(message.captured_ms);
    match message.clock {
        Clock::Unset(BootTime { boot, since_ms }) => {
            out.put_u8(bits | BIT_UNSET);
            out.put_u64_le(boot);
            out.put_u64_le(since_ms);
        }
        Clock::Set | Clock::Corrected => out.put_u8(bits),
    }
    out.put_u16_le(message.topic.len() as u16);
    out.put_slice(&message.topic);
    out.put_slice(&message.payload);
}

fn put_note(note: Note, encoded_len: usize, out: &mut BytesMut) {
    out.put_u32_le((encoded_len - 4) as u32 | NOTE);
    match note {
        Note::Held { pkid, fingerprint, late, dup } => {
            out.put_u8(HELD);
            out.put_u16_le(pkid);
            out.put_u64_le(fingerprint.0);
            out.put_u8(if late { BIT_LATE } else { 0 } | if dup { BIT_REPEATED } else { 0 });
        }
        Note::Released { pkid } => {
            out.put_u8(RELEASED);
            out.put_u16_le(pkid);
        }
        Note::Past { pkid, fingerprint } => {
            out.put_u8(PAST);
            out.put_u16_le(pkid);
            out.put_u64_le(fingerprint.0);
        }
        Note::Passed { messages } => {
            out.put_u8(PASSED);
            out.put_u32_le(messages);
        }
        Note::Lost => out.put_u8(LOST),
        Note::Early => out.put_u8(EARLY),
    }
}

fn take_entry(rest: &mut Bytes, frame: &mut Frame) -> Option<()> {
    let size = rest.try_get_u32_le().ok()?;
    let len = (size & !NOTE) as usize;
    if len > rest.len() {
        return None;
    }
    let entry = rest.split_to(len);
    match size & NOTE {
        0 => frame.messages.push(message(entry)?),
        _ => frame.notes.push(note(entry)?),
    }
    Some(())
}

fn message(mut entry: Bytes) -> Option<Message> {
    let captured_ms = entry.try_get_i64_le().ok()?;
    let bits = entry.try_get_u8().ok()?;
    let clock = match bits & BIT_UNSET {
        0 => Clock::Set,
        _ => Clock::Unset(BootTime { boot: entry.try_get_u64_le().ok()?, since_ms: entry.try_get_u64_le().ok()? }),
    };
    let topic_len = entry.try_get_u16_le().ok()? as usize;
    if topic_len > entry.len() {
        return None;
    }
    let topic = entry.split_to(topic_len);
    Some(Message {
        topic,
        payload: entry,
        qos: bits & 3,
        retain: bits & BIT_RETAIN != 0,
        dup: bits & BIT_DUP != 0,
        captured_ms,
        clock,
    })
}

fn note(mut entry: Bytes) -> Option<Note> {
    let note = match entry.try_get_u8().ok()? {
        HELD => {
            let (pkid, fingerprint) = (entry.try_get_u16_le().ok()?, Fingerprint(entry.try_get_u64_le().ok()?));
            let bits = entry.try_get_u8().ok()?;
            Note::Held { pkid, fingerprint, late: bits & BIT_LATE != 0, dup: bits & BIT_REPEATED != 0 }
        }
        RELEASED => Note::Released { pkid: entry.try_get_u16_le().ok()? },
        PAST => {
            Note::Past { pkid: entry.try_get_u16_le().ok()?, fingerprint: Fingerprint(entry.try_get_u64_le().ok()?) }
        }
        PASSED => Note::Passed { messages: entry.try_get_u32_le().ok()? },
        LOST => Note::Lost,
        EARLY => Note::Early,
        _ => return None,
    };
    entry.is_empty().then_some(note)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use proptest::prelude::*;

    const CODEC: Codec = Codec { magic: *b"PNT1" };

    pub(in crate::spool) fn any_message() -> impl Strategy<Value = Message> {
        (
            prop::collection::vec(any::<u8>(), 0..40),
            prop::collection::vec(any::<u8>(), 0..200),
            0u8..3,
            any::<(bool, bool, i64)>(),
            any::<Option<(u64, u64)>>(),
        )
            .prop_map(|(topic, payload, qos, (retain, dup, captured_ms), unset)| Message {
                topic: topic.into(),
                payload: payload.into(),
                qos,
                retain,
                dup,
                captured_ms,
                clock: unset.map_or(Clock::Set, |(boot, since_ms)| Clock::Unset(BootTime { boot, since_ms })),
            })
    }

    fn any_note() -> impl Strategy<Value = Note> {
        let held = (any::<u16>(), any::<u64>(), any::<bool>(), any::<bool>());
        let held =
            held.prop_map(|(pkid, print, late, dup)| Note::Held { pkid, fingerprint: Fingerprint(print), late, dup });
        let past =
            (any::<u16>(), any::<u64>()).prop_map(|(pkid, print)| Note::Past { pkid, fingerprint: Fingerprint(print) });
        prop_oneof![
            held,
            past,
            any::<u32>().prop_map(|messages| Note::Passed { messages }),
            any::<u16>().prop_map(|pkid| Note::Released { pkid }),
            Just(Note::Lost),
            Just(Note::Early),
        ]
    }

    /// Notes first, then messages: `decode` keeps the order within each kind.
    fn encoded(first: u64, messages: &[Message], notes: &[Note]) -> Bytes {
        let mut out = BytesMut::new();
        let notes = notes.iter().copied().map(Entry::Note);
        CODEC.encode(first, 0, notes.chain(messages.iter().map(Entry::Message)), &mut out);
        out.freeze()
    }

    #[test]
    fn a_frame_from_before_messages_had_a_boot_time_is_read() {
        // Written by the program before: sequence 7, a message of QoS 1 captured at 5 ms, topic `a`, payload `x`.
        let entry = b"\x0d\0\0\0\x05\0\0\0\0\0\0\0\x01\x01\0ax";
        let mut bytes = b"PNT1\0\0\0\0\x11\0\0\0\x07\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0".to_vec();
        bytes.extend_from_slice(entry);
        let crc = crc32fast::hash(&bytes[8..]);
        bytes[4..8].copy_from_slice(&crc.to_le_bytes());
        let message = Message {
            topic: Bytes::from_static(b"a"),
            payload: Bytes::from_static(b"x"),
            qos: 1,
            retain: false,
            dup: false,
            captured_ms: 5,
            clock: Clock::Set,
        };
        assert_eq!(encoded(7, std::slice::from_ref(&message), &[])[..], bytes[..], "and what it reads is written");
        let (frame, _) = CODEC.decode(&bytes.into()).unwrap();
        assert_eq!(frame, Frame { first_sequence: 7, messages: vec![message], notes: Vec::new() });
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            messages in prop::collection::vec(any_message(), 0..20), notes in prop::collection::vec(any_note(), 0..20), first: u64,
        ) {
            let bytes = encoded(first, &messages, &notes);
            let (frame, extent) = CODEC.decode(&bytes).unwrap();
            prop_assert_eq!(extent.bytes, bytes.len());
            let entries = notes.iter().copied().map(Entry::Note).chain(messages.iter().map(Entry::Message));
            prop_assert_eq!(extent.bytes, HEADER_BYTES + entries.map(|entry| entry.encoded_len()).sum::<usize>());
            prop_assert_eq!(frame, Frame { first_sequence: first, messages, notes });
        }

        #[test]
        fn every_cut_and_every_flipped_bit_is_noticed(
            messages in prop::collection::vec(any_message(), 1..4), notes in prop::collection::vec(any_note(), 0..4), cut: prop::sample::Index, flip: prop::sample::Index,
        ) {
            let bytes = encoded(7, &messages, &notes);
            prop_assert_eq!(CODEC.decode(&bytes.slice(..cut.index(bytes.len()))), Err(Bad::Short));
            let bit = flip.index(bytes.len() * 8);
            let mut damaged = bytes.to_vec();
            damaged[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(CODEC.decode(&damaged.into()).is_err());
        }

        #[test]
        fn any_bytes_are_decoded_without_panic(bytes: Vec<u8>) {
            let _ = CODEC.decode(&bytes.into());
        }

        #[test]
        fn the_next_frame_is_found_behind_garbage(garbage: Vec<u8>, message in any_message()) {
            let frame = encoded(9, &[message], &[]);
            let mut bytes = garbage.clone();
            bytes.extend_from_slice(&frame);
            prop_assert_eq!(CODEC.resync(&bytes, 0), Some(garbage.len()));
        }
    }
}
