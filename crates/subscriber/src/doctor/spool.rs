//! The spool's directory: whether it can be written, on what it lies, how fast it is, and how much room it has.

use std::fs;
use std::path::{Path, PathBuf};

use service::doctor::mounts::{self, Kind, Mount};
use service::doctor::words::size;
use service::doctor::{Finding, access, disk};

use crate::mqtt;
use crate::spool::{Durability, Settings};

const DIR: &str = "SPOOL_DIR";
const MAX: &str = "SPOOL_MAX_BYTES";
/// With less, nothing can be taken any more, nearly.
const FREE_MIN: u64 = 1 << 20;

/// How much the spool may still take, and what binds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Left {
    pub(super) bytes: u64,
    /// The disk, not the setting.
    pub(super) is_disk: bool,
}

/// Looks at the directory, or at the nearest one above it. It blocks.
pub(super) fn examine(settings: &Settings, is_qos2: bool, used: Option<u64>) -> (Vec<Finding>, Option<Left>) {
    let dir = access::existing(&settings.dir);
    let subject = format!("{DIR} {}", settings.dir.display());
    // A file in the way, or a directory that may not be looked into.
    if let Err(error) = fs::read_dir(&settings.dir).map(drop)
        && (settings.dir.exists() || error.kind() != std::io::ErrorKind::NotFound)
    {
        return (vec![access::failed(&subject, &settings.dir, &error)], None);
    }
    let syncs = match disk::measure(&dir) {
        Ok(syncs) => syncs,
        Err(error) => return (vec![access::failed(&subject, &dir, &error)], None),
    };
    let mut findings = vec![written(&subject, settings, &dir)];
    findings.extend(mounts::of(&dir).and_then(|mount| lies_on(&mount)));
    findings.push(speed(settings.durability, syncs, is_qos2));
    let Ok(room) = disk::room(&dir) else { return (findings, None) };
    let used = used.unwrap_or_else(|| used_bytes(&settings.dir));
    let left = left(settings.bytes_max, used, room.free);
    findings.push(fits(settings.bytes_max, used, room.free));
    (findings, Some(left))
}

fn written(subject: &str, settings: &Settings, dir: &Path) -> Finding {
    let files: Vec<PathBuf> =
        fs::read_dir(&settings.dir).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path())).collect();
    if let Some(path) = access::unwritable(&files).next() {
        let what = format!("{} cannot be written: {}", path.display(), access::who(path));
        return Finding::fail(service::Exit::CantCreate, subject, what)
            .note("was the subscriber started as another user once? give the whole directory to the user that it runs as (chown -R)");
    }
    Finding::ok(subject, if dir == settings.dir { "can be written" } else { "is not there yet; it can be made" })
}

fn lies_on(mount: &Mount) -> Option<Finding> {
    let (what, note) = match mount.kind() {
        Kind::Local => return None,
        Kind::Memory => ("is memory: a restart of this machine loses what waits there", "put SPOOL_DIR on a disk"),
        Kind::Container => (
            "is the container's own layer: what waits there is gone when the container is removed",
            "put SPOOL_DIR on a volume (docker-compose.yml has one)",
        ),
        Kind::Network => (
            "is another machine's disk: each commit waits for the network, and a cut of it stops the capture",
            "put SPOOL_DIR on a disk of this machine",
        ),
        Kind::Shared => (
            "is a shared folder: many of them say that a write is safe before it is",
            "put SPOOL_DIR on a disk of this machine, or on a Docker volume",
        ),
    };
    Some(Finding::warn(DIR, format!("the file system there ({}) {what}", mount.name)).note(note))
}

fn speed(durability: Durability, syncs: disk::Syncs, is_qos2: bool) -> Finding {
    let finding = disk::speed("disk of the spool", syncs, mqtt::receive_maximum(is_qos2).into());
    match durability {
        Durability::Fsync => finding,
        Durability::Write => {
            finding.note("SPOOL_DURABILITY=write does not wait for it: a power cut can lose the last seconds")
        }
    }
}

fn left(bytes_max: u64, used: u64, free: u64) -> Left {
    let allowed = bytes_max.saturating_sub(used);
    Left { bytes: allowed.min(free), is_disk: free < allowed }
}

/// Whether the disk has the room that the setting allows.
fn fits(bytes_max: u64, used: u64, free: u64) -> Finding {
    let text = |bytes: u64| size(bytes as f64);
    let subject = format!("{MAX} {}", text(bytes_max));
    let allowed = bytes_max.saturating_sub(used);
    if free < FREE_MIN {
        return Finding::fail(
            service::Exit::CantCreate,
            subject,
            format!("the disk is full, but for {}: no message can be taken, and the broker must keep them", text(free)),
        )
        .note("make room (df -h), or move SPOOL_DIR to a larger disk with the subscriber stopped");
    }
    if allowed == 0 {
        return Finding::fail(
            service::Exit::CantCreate,
            subject,
            format!("the spool is full ({}): nothing more is taken until the API has some of it", text(used)),
        )
        .note("see the lines about the API; to take more meanwhile, raise SPOOL_MAX_BYTES");
    }
    if free < allowed {
        return Finding::warn(
            subject,
            format!(
                "the disk has {} left, and the spool may still take {}: the disk is full first",
                text(free),
                text(allowed)
            ),
        )
        .note("make room, or lower SPOOL_MAX_BYTES, so that other programs on this disk are spared");
    }
    Finding::ok(subject, format!("{} used, and the disk has room for the rest ({} free)", text(used), text(free)))
}

/// Segments and quarantine, as far as they can be seen.
fn used_bytes(dir: &Path) -> u64 {
    let bytes = |dir: PathBuf| -> u64 {
        let entries = fs::read_dir(dir).into_iter().flatten().flatten();
        entries.filter_map(|entry| entry.metadata().ok()).filter(|it| it.is_file()).map(|it| it.len()).sum()
    };
    bytes(dir.to_owned()) + bytes(dir.join("quarantine"))
}

#[cfg(test)]
mod tests {
    use service::doctor::Level;

    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn the_room_is_what_the_setting_and_the_disk_leave() {
        let fail = Level::Fail(service::Exit::CantCreate);
        for (max, used, free, level, bytes, is_disk) in [
            (1024, 24, 2048, Level::Ok, 1000, false),
            (1024, 24, 1000, Level::Ok, 1000, false),
            (1024, 24, 999, Level::Warn, 999, true),
            (1024, 0, 0, fail, 0, true),
            (1024, 1024, 2048, fail, 0, false),
            (1024, 2048, 2048, fail, 0, false),
        ] {
            let finding = fits(max * MIB, used * MIB, free * MIB);
            assert_eq!(finding.level, level, "{finding:?}");
            assert_eq!(left(max * MIB, used * MIB, free * MIB), Left { bytes: bytes * MIB, is_disk });
        }
        assert_eq!(fits(1024 * MIB, 0, MIB - 1).level, fail);
    }

    #[test]
    fn an_examination_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let of =
            |name: &str| Settings { dir: dir.path().join(name), bytes_max: 64 << 20, durability: Durability::Fsync };
        let (findings, left) = examine(&of("spool"), false, None);
        assert!(findings[0].what.contains("can be made"), "{findings:?}");
        assert!(left.is_some());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);

        fs::create_dir_all(dir.path().join("spool/quarantine")).unwrap();
        fs::write(dir.path().join("spool/1.seg"), [0; 100]).unwrap();
        fs::write(dir.path().join("spool/quarantine/2"), [0; 10]).unwrap();
        assert_eq!(used_bytes(&dir.path().join("spool")), 110);
        assert_eq!(examine(&of("spool"), false, Some(7)).1.unwrap().bytes, (64 << 20) - 7);
        assert_eq!(fs::read_dir(dir.path().join("spool")).unwrap().count(), 2);

        let (findings, left) = examine(&of("spool/1.seg/spool"), true, None);
        assert_eq!((findings.len(), left), (1, None));
        assert_eq!(findings[0].level, Level::Fail(service::Exit::CantCreate));
    }
}
