//! The subcommand `quarantine`.

use service::commands::print;
use service::{Exit, Fatal, shown};

use crate::config::{Chosen, QuarantineAction, Settings};
use crate::forward::batch::Stored;
use crate::forward::post::{Client, Outcome};
use crate::forward::quarantine::{Entry, Quarantine};

/// Lists, replays or drops quarantined messages; a running subscriber is not disturbed.
pub async fn quarantine(settings: &Settings, action: QuarantineAction) -> Result<(), Fatal> {
    let quarantine = Quarantine::of_spool(&settings.spool_dir);
    match action {
        QuarantineAction::List => list(settings, &quarantine),
        QuarantineAction::Replay(chosen) => replay(&quarantine, &chosen, &Client::new(&settings.api()?)?).await,
        QuarantineAction::Drop(chosen) => {
            let entries = entries(&quarantine, &chosen)?;
            for entry in &entries {
                quarantine.remove(entry.sequence).map_err(|error| unreadable(&error))?;
            }
            print(&format!("dropped {}\n", entries.len()));
            Ok(())
        }
    }
}

fn list(settings: &Settings, quarantine: &Quarantine) -> Result<(), Fatal> {
    let entries = quarantine.list().map_err(|error| unreadable(&error))?;
    if entries.is_empty() {
        // Not on standard output, where each line is a message.
        let dir = std::path::absolute(&settings.spool_dir).unwrap_or_else(|_| settings.spool_dir.clone());
        eprintln!("the quarantine of SPOOL_DIR {} is empty", dir.display());
    }
    for entry in entries {
        let Entry { sequence, quarantined_at, status, reason, topic, payload_base64, .. } = &entry;
        let bytes = payload_base64.len() / 4 * 3;
        // The files may come from an older version, and the topic is a publisher's.
        let (topic, reason) = (shown(topic), shown(reason));
        print(&format!("{sequence}\t{quarantined_at}\t{status}\t≤ {bytes} bytes\t{topic}\t{reason}\n"));
    }
    Ok(())
}

/// Posts each message under a key of its own, so that a repeated replay stores nothing twice.
async fn replay(quarantine: &Quarantine, chosen: &Chosen, client: &Client) -> Result<(), Fatal> {
    let mut refused = 0;
    let mut taken = 0;
    for entry in entries(quarantine, chosen)? {
        let stored = entry.stored().map_err(|error| {
            Fatal::new(Exit::Data, format_args!("quarantine: sequence {}: {error}", entry.sequence))
        })?;
        match client.post_once(&entry.idempotency_key(), line(&stored)).await {
            Outcome::Taken { .. } => {
                quarantine.remove(entry.sequence).map_err(|error| unreadable(&error))?;
                taken += 1;
            }
            Outcome::Refused(refusal) => {
                print(&format!("{}\tstill refused: {} {}\n", entry.sequence, refusal.status, refusal.reason));
                refused += 1;
            }
            Outcome::Unreported { fault } | Outcome::Again { fault, .. } => {
                return Err(Fatal::new(Exit::Unavailable, format_args!("replayed {taken}, then: {fault}")));
            }
        }
    }
    print(&format!("replayed {taken}, still refused {refused}\n"));
    if refused == 0 { Ok(()) } else { Err(Fatal::new(Exit::Data, "the API still refuses some messages")) }
}

fn line(stored: &Stored) -> bytes::Bytes {
    serde_json::to_vec(&stored.novo_dado()).expect("a message is always JSON").into()
}

fn entries(quarantine: &Quarantine, chosen: &Chosen) -> Result<Vec<Entry>, Fatal> {
    if chosen.all {
        return quarantine.list().map_err(|error| unreadable(&error));
    }
    let read = |sequence: &u64| {
        quarantine
            .read(*sequence)
            .map_err(|error| Fatal::new(Exit::Usage, format_args!("no sequence {sequence} in quarantine: {error}")))
    };
    chosen.sequences.iter().map(read).collect()
}

fn unreadable(error: &std::io::Error) -> Fatal {
    Fatal::new(Exit::Io, format_args!("SPOOL_DIR: quarantine: {error}"))
}
