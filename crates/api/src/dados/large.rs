//! A value too large for memory: read from the database and written into an answer a piece at a time, as the client
//! takes it.
//!
//! A client that takes nothing holds one piece. The row may be changed or deleted meanwhile, which breaks the answer off:
//! nobody takes a part for the whole.

use std::str;

use bytes::Bytes;

use super::created::escape_json;
use crate::csv;
use crate::limits::{AnswerMemory, Memory};
use crate::store::{LargeValue, Reader, StoreError};

/// Bytes of a value that are read at once, where there is memory for them.
const PIECE_BYTES_MAX: usize = 512 << 10;
/// Pieces of the largest value: SQLite reads all of a value for each.
const PIECES_MAX: usize = 32;
/// Bytes of a piece that are written at once.
const FRAME_BYTES: usize = 64 << 10;
/// Bytes of a character that has not come whole yet.
const PARTIAL_BYTES_MAX: usize = 3;

/// In which form a text is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Escape {
    /// Between the quotes of a JSON string.
    Json,
    /// Between the quotes of a field of CSV.
    Csv,
}

impl Escape {
    fn write(self, into: &mut Vec<u8>, text: &str) {
        match self {
            Self::Json => escape_json(into, text),
            Self::Csv => into.extend_from_slice(text.replace('"', "\"\"").as_bytes()),
        }
    }
}

/// A value on its way into an answer.
pub(super) struct LargeText {
    reader: Reader,
    memory: Memory,
    value: LargeValue,
    escape: Escape,
    /// Bytes that have been read.
    read: usize,
    piece: Vec<u8>,
    /// Bytes of the piece that have been written.
    written: usize,
    /// Counts as long as the piece is there.
    held: Option<AnswerMemory>,
    /// The beginning of a character whose end is to come.
    partial: Vec<u8>,
}

impl LargeText {
    pub(super) fn new(reader: Reader, memory: Memory, value: LargeValue, escape: Escape) -> Self {
        let (piece, partial) = (Vec::new(), Vec::new());
        Self { reader, memory, value, escape, read: 0, piece, written: 0, held: None, partial }
    }

    /// What comes next of it; none at its end.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, StoreError> {
        let mut into = Vec::new();
        if self.written == self.piece.len() {
            if self.read == self.value.bytes {
                // A character without its end.
                let rest = std::mem::take(&mut self.partial);
                self.escape.write(&mut into, &String::from_utf8_lossy(&rest));
                return Ok((!into.is_empty()).then(|| into.into()));
            }
            self.read_piece().await?;
            if self.escape == Escape::Csv && self.read == self.piece.len() {
                into.extend_from_slice(csv::guard(&String::from_utf8_lossy(head(&self.piece))).as_bytes());
            }
        }
        let end = self.piece.len().min(self.written + FRAME_BYTES);
        let frame = &self.piece[self.written..end];
        let bytes = if self.partial.is_empty() { frame.into() } else { [&self.partial, frame].concat() };
        self.written = end;
        self.partial = write_whole(&bytes, |text| self.escape.write(&mut into, text));
        if self.written == self.piece.len() {
            (self.piece, self.written, self.held) = (Vec::new(), 0, None);
        }
        Ok(Some(into.into()))
    }

    async fn read_piece(&mut self) -> Result<(), StoreError> {
        let wanted = PIECE_BYTES_MAX.max(self.value.bytes / PIECES_MAX).min(self.value.bytes - self.read);
        let held = self.memory.answer(wanted);
        self.piece = self.reader.piece(self.value.id, self.read, held.bytes().min(wanted)).await?;
        if self.piece.is_empty() {
            return Err(StoreError::Changed);
        }
        (self.written, self.held) = (0, Some(held));
        self.read += self.piece.len();
        Ok(())
    }
}

/// Enough of a text to see what it begins with.
fn head(bytes: &[u8]) -> &[u8] {
    &bytes[..bytes.len().min(64)]
}

/// Writes the characters that are whole, and gives the bytes of one at the end that is not. What is no UTF-8 is written as
/// [`String::from_utf8_lossy`] has it.
fn write_whole(bytes: &[u8], mut write: impl FnMut(&str)) -> Vec<u8> {
    let mut chunks = bytes.utf8_chunks().peekable();
    while let Some(chunk) = chunks.next() {
        write(chunk.valid());
        let invalid = chunk.invalid();
        let is_partial = chunks.peek().is_none()
            && invalid.len() <= PARTIAL_BYTES_MAX
            && str::from_utf8(invalid).is_err_and(|error| error.error_len().is_none());
        if is_partial {
            return invalid.to_vec();
        }
        if !invalid.is_empty() {
            write("\u{fffd}");
        }
    }
    Vec::new()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_field_of_csv_may_have_anything() {
        let mut into = Vec::new();
        Escape::Csv.write(&mut into, "a\"b,\r\n");
        assert_eq!(into, b"a\"\"b,\r\n");
    }

    proptest! {
        #[test]
        fn a_text_is_the_same_wherever_it_is_cut(
            text in "(\\PC|[\"\\\\\n\u{0}\u{7f}é€😀]){0,40}", noise in prop::collection::vec(any::<u8>(), 0..6),
            at in 0..40_usize, size in 1..7_usize,
        ) {
            let mut bytes = text.into_bytes();
            let at = at.min(bytes.len());
            bytes.splice(at..at, noise);
            let (mut whole, mut partial) = (String::new(), Vec::new());
            for piece in bytes.chunks(size) {
                partial = write_whole(&[&partial, piece].concat(), |text| whole.push_str(text));
            }
            whole.push_str(&String::from_utf8_lossy(&partial));
            prop_assert_eq!(whole, String::from_utf8_lossy(&bytes).into_owned());
        }
    }
}
