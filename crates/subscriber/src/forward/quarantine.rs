//! Messages that the API will not take, one file each, with the reason; nothing is dropped but by a person.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use dados::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::time::interval;
use tokio_util::sync::CancellationToken;
use tracing::warn;
use uuid::Uuid;

use super::batch::{Stored, topic_text};
use super::post::Refusal;
use crate::spool::{Clock, Gauge, Message};
use crate::status::Status;

const SUFFIX: &str = ".json";
/// How often the quarantine is counted.
const WATCH_INTERVAL: Duration = Duration::from_secs(1);

/// The directory `quarantine` within the spool.
#[derive(Clone, Debug)]
pub struct Quarantine {
    dir: PathBuf,
}

/// A quarantined message as its file holds it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Whose sequence it is.
    pub producer: Uuid,
    /// Its sequence in the spool.
    pub sequence: u64,
    /// When it was refused.
    pub quarantined_at: Timestamp,
    /// The API's status.
    pub status: u16,
    /// The API's words.
    pub reason: String,
    /// The topic.
    pub topic: String,
    /// The payload in base64, so that any bytes survive.
    pub payload_base64: String,
    /// 0 to 2.
    pub qos: u8,
    /// From the broker's store of retained messages.
    pub retain: bool,
    /// MQTT's DUP flag.
    pub dup: bool,
    /// When it was captured.
    pub captured_at: Timestamp,
    /// Whether that was corrected, since the clock was not set.
    #[serde(default)]
    pub hora_corrigida: bool,
}

impl Quarantine {
    /// The quarantine of the spool in this directory; it need not exist yet.
    pub fn of_spool(spool: &Path) -> Self {
        Self { dir: spool.join("quarantine") }
    }

    /// Keeps a message, durably; the same one twice is kept once.
    pub(super) fn add(&self, producer: Uuid, stored: &Stored, refusal: &Refusal) -> io::Result<()> {
        let Message { payload, qos, retain, dup, captured_ms, clock, .. } = &stored.message;
        let entry = Entry {
            producer,
            sequence: stored.sequence,
            quarantined_at: Timestamp::now(),
            status: refusal.status,
            reason: refusal.reason.clone(),
            topic: topic_text(&stored.message).into_owned(),
            payload_base64: STANDARD.encode(payload),
            qos: *qos,
            retain: *retain,
            dup: *dup,
            captured_at: Timestamp::from_ms(*captured_ms).unwrap_or_else(|_| Timestamp::now()),
            hora_corrigida: *clock == Clock::Corrected,
        };
        fs::create_dir_all(&self.dir)?;
        let draft = self.dir.join("draft");
        let mut file = File::create(&draft)?;
        serde_json::to_writer_pretty(&mut file, &entry)?;
        file.write_all(b"\n")?;
        file.sync_all()?;
        fs::rename(&draft, self.path(stored.sequence))?;
        File::open(&self.dir)?.sync_all()
    }

    /// All messages, oldest first.
    pub fn list(&self) -> io::Result<Vec<Entry>> {
        let mut sequences =
            self.files()?.map(|file| file.map(|(sequence, _)| sequence)).collect::<io::Result<Vec<_>>>()?;
        sequences.sort_unstable();
        sequences.into_iter().map(|sequence| self.read(sequence)).collect()
    }

    /// One message.
    pub fn read(&self, sequence: u64) -> io::Result<Entry> {
        Ok(serde_json::from_slice(&fs::read(self.path(sequence))?)?)
    }

    /// Forgets one message for good.
    pub fn remove(&self, sequence: u64) -> io::Result<()> {
        fs::remove_file(self.path(sequence))
    }

    /// How many messages, and how many bytes their files have.
    pub fn size(&self) -> io::Result<(u64, u64)> {
        let mut size = (0, 0);
        for file in self.files()? {
            let (_, bytes) = file?;
            size = (size.0 + 1, size.1 + bytes);
        }
        Ok(size)
    }

    /// Tells the spool and the status how large it is now.
    pub(super) fn count(&self, gauge: &Gauge, status: &Status) {
        match self.size() {
            Ok((messages, bytes)) => {
                gauge.set_quarantine_bytes(bytes);
                status.quarantined(messages);
            }
            Err(error) => warn!(%error, "the quarantine cannot be counted"),
        }
    }

    fn path(&self, sequence: u64) -> PathBuf {
        self.dir.join(format!("{sequence:020}{SUFFIX}"))
    }

    /// Sequence and size of each file. One that is removed meanwhile is left out.
    fn files(&self) -> io::Result<impl Iterator<Item = io::Result<(u64, u64)>>> {
        let entries = match fs::read_dir(&self.dir) {
            Ok(entries) => Some(entries),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        Ok(entries.into_iter().flatten().filter_map(|entry| {
            let entry = match entry {
                Ok(entry) => entry,
                Err(error) => return Some(Err(error)),
            };
            let sequence = entry.file_name().to_str()?.strip_suffix(SUFFIX)?.parse().ok()?;
            match entry.metadata() {
                Ok(metadata) => Some(Ok((sequence, metadata.len()))),
                Err(error) if error.kind() == ErrorKind::NotFound => None,
                Err(error) => Some(Err(error)),
            }
        }))
    }
}

/// Keeps the spool's limit and the status true to what is in quarantine: an operator takes messages out of it from
/// another process, and the space is then free again. Runs until `token` is cancelled.
pub async fn watch(quarantine: Quarantine, gauge: Gauge, status: Arc<Status>, token: CancellationToken) {
    let mut tick = interval(WATCH_INTERVAL);
    while token.run_until_cancelled(tick.tick()).await.is_some() {
        quarantine.count(&gauge, &status);
    }
}

impl Entry {
    /// The message as it came from the spool.
    pub fn stored(&self) -> Result<Stored, base64::DecodeError> {
        let message = Message {
            topic: Bytes::copy_from_slice(self.topic.as_bytes()),
            payload: STANDARD.decode(&self.payload_base64)?.into(),
            qos: self.qos,
            retain: self.retain,
            dup: self.dup,
            captured_ms: self.captured_at.as_ms(),
            clock: if self.hora_corrigida { Clock::Corrected } else { Clock::Set },
        };
        Ok(Stored { sequence: self.sequence, message })
    }

    /// A key under which the API stores it once, however often it is replayed while the API remembers keys (24 h).
    pub fn idempotency_key(&self) -> String {
        format!("{}-{}", self.producer, self.sequence)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_comes_out_as_it_went_in() {
        let dir = tempfile::tempdir().unwrap();
        let quarantine = Quarantine::of_spool(dir.path());
        assert_eq!(quarantine.size().unwrap(), (0, 0));
        let message = Message {
            topic: Bytes::from("ção/#1"),
            payload: Bytes::from_static(&[0, 0xff, b'\n']),
            qos: 2,
            retain: true,
            dup: true,
            captured_ms: 1_700_000_000_123,
            clock: Clock::Corrected,
        };
        let stored = Stored { sequence: 12, message };
        let refusal = Refusal { status: 422, reason: "no".into() };
        let producer = Uuid::new_v4();
        quarantine.add(producer, &stored, &refusal).unwrap();
        quarantine.add(producer, &stored, &refusal).unwrap();
        let listed = quarantine.list().unwrap();
        assert_eq!(listed.len(), 1);
        assert_eq!(listed[0].stored().unwrap(), stored);
        assert_eq!((listed[0].status, listed[0].reason.as_str()), (422, "no"));
        assert_eq!(quarantine.size().unwrap().0, 1);
        quarantine.remove(12).unwrap();
        assert_eq!(quarantine.list().unwrap(), []);
    }
}
