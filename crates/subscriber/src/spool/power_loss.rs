//! Power loss, simulated: what was written and not synced may be there, or not, or in part, and in any order.
//!
//! A history of the spool is recorded change by change. For a cut at any of them, files are put together of what was
//! synced before, and of a random choice of sectors and names that were not; then the spool is opened on them.

use std::collections::BTreeMap;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;

use bytes::Bytes;
use proptest::prelude::*;

use super::disk::recorded::{self, Change};
use super::*;
use crate::session::{Fingerprint, Inbound, Note};

/// Disks write so much whole or not at all.
const SECTOR: usize = 512;
const CUTS: usize = 16;

/// A change of a file or of the directory that is not durable yet.
enum Unsynced {
    Write(u64, Vec<u8>),
    SetLen(u64),
}

enum Name {
    Link(PathBuf, usize),
    Rename(PathBuf, PathBuf),
    Unlink(PathBuf),
}

/// A disk: files by number, and names for them, each with what a power cut may take.
#[derive(Default)]
struct Disk {
    files: Vec<(Vec<u8>, Vec<Unsynced>)>,
    by_inode: BTreeMap<u64, usize>,
    names: BTreeMap<PathBuf, usize>,
    unsynced_names: Vec<Name>,
}

impl Disk {
    fn apply(&mut self, change: &Change, random: &mut fastrand::Rng) {
        match change {
            Change::Open { path, file } => {
                let now = self.names_now();
                let known = now.get(path).filter(|number| self.by_inode.get(file) == Some(number));
                if known.is_none() {
                    self.files.push(Default::default());
                    let number = self.files.len() - 1;
                    self.by_inode.insert(*file, number);
                    self.unsynced_names.push(Name::Link(path.clone(), number));
                }
            }
            Change::Write { file, offset, bytes } => self.unsynced(*file).push(Unsynced::Write(*offset, bytes.clone())),
            Change::SetLen { file, len } => self.unsynced(*file).push(Unsynced::SetLen(*len)),
            Change::Sync { file } => {
                let (content, unsynced) = &mut self.files[self.by_inode[file]];
                unsynced.drain(..).for_each(|change| write(content, &change, |_| true));
            }
            Change::FailedSync { file } => {
                let (content, unsynced) = &mut self.files[self.by_inode[file]];
                unsynced.drain(..).for_each(|change| write(content, &change, |_| random.bool()));
            }
            Change::SyncDir => {
                self.names = self.names_now();
                self.unsynced_names.clear();
            }
            Change::Rename { from, to } => self.unsynced_names.push(Name::Rename(from.clone(), to.clone())),
            Change::Remove { path } => self.unsynced_names.push(Name::Unlink(path.clone())),
        }
    }

    fn unsynced(&mut self, inode: u64) -> &mut Vec<Unsynced> {
        &mut self.files[self.by_inode[&inode]].1
    }

    fn names_now(&self) -> BTreeMap<PathBuf, usize> {
        self.names_with(|| true)
    }

    fn names_with(&self, mut survives: impl FnMut() -> bool) -> BTreeMap<PathBuf, usize> {
        let mut names = self.names.clone();
        for name in self.unsynced_names.iter().filter(|_| survives()) {
            match name {
                Name::Link(path, number) => drop(names.insert(path.clone(), *number)),
                Name::Unlink(path) => drop(names.remove(path)),
                Name::Rename(from, to) => {
                    if let Some(number) = names.remove(from) {
                        names.insert(to.clone(), number);
                    }
                }
            }
        }
        names
    }

    /// What the disk may hold after a power cut now, in `dir`; `share` of what is not synced survives.
    fn cut(&self, dir: &Path, share: f64, random: &mut fastrand::Rng) {
        let mut survives = || random.f64() < share;
        for (path, number) in self.names_with(&mut survives) {
            let (mut content, unsynced) = (self.files[number].0.clone(), &self.files[number].1);
            unsynced.iter().for_each(|change| write(&mut content, change, |_| survives()));
            save(&dir.join(path.file_name().expect("a file of the spool")), &content);
        }
    }
}

/// A directory in memory where there is one: nothing here relies on what the real disk does.
fn scratch() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

/// Writes a file and leaves out what is zero: a checkpoint is mostly a hole.
fn save(path: &Path, content: &[u8]) {
    let file = File::create(path).unwrap();
    file.set_len(content.len() as u64).unwrap();
    for (block, bytes) in content.chunks(SECTOR).enumerate().filter(|(_, bytes)| bytes.iter().any(|byte| *byte != 0)) {
        file.write_all_at(bytes, (block * SECTOR) as u64).unwrap();
    }
}

/// Makes a change, but for the sectors that do not survive.
fn write(content: &mut Vec<u8>, change: &Unsynced, mut survives: impl FnMut(Range<usize>) -> bool) {
    match change {
        Unsynced::SetLen(len) => {
            if survives(0..0) {
                content.resize(*len as usize, 0);
            }
        }
        Unsynced::Write(offset, bytes) => {
            let (mut at, end) = (*offset as usize, *offset as usize + bytes.len());
            while at < end {
                let next = end.min((at / SECTOR + 1) * SECTOR);
                if survives(at..next) {
                    content.resize(content.len().max(next), 0);
                    content[at..next].copy_from_slice(&bytes[at - *offset as usize..next - *offset as usize]);
                }
                at = next;
            }
        }
    }
}

#[derive(Clone, Debug)]
enum Step {
    /// So many messages of this size; the first one with a packet id.
    Append(usize, usize),
    Release,
    Deliver,
    Verify,
    Rename,
    Restart,
    /// The next sync fails.
    Fault(bool),
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (1..6usize, 0..1500usize).prop_map(|(count, bytes)| Step::Append(count, bytes)),
        3 => Just(Step::Release),
        3 => Just(Step::Deliver),
        1 => Just(Step::Verify),
        1 => Just(Step::Rename),
        1 => Just(Step::Restart),
        3 => any::<bool>().prop_map(Step::Fault),
    ]
}

/// What was promised, and from which change on.
#[derive(Clone, Debug)]
enum Promise {
    /// Handed to the spool: it may be there from now on.
    Begun {
        messages: Vec<Message>,
        notes: Vec<Note>,
    },
    /// Durable: it must be there from now on.
    Kept,
    /// The API has everything up to here: it need not be there any more.
    Delivered(u64),
    RenameBegun,
    Renamed(Uuid),
}

/// Runs the steps, and gives the changes with the promises between them.
fn history(dir: &Path, steps: &[Step]) -> (Vec<Change>, Vec<(usize, Promise)>) {
    let settings = Settings { dir: dir.to_owned(), bytes_max: 64 << 10, durability: Durability::Fsync };
    recorded::start();
    let mut spool = Some(open(settings.clone()).unwrap());
    let mut promises = vec![(recorded::count(), Promise::Renamed(spool.as_ref().unwrap().2.usage().progress.producer))];
    let (mut pkid, mut failed) = (0, None);
    for step in steps {
        let (writer, reader, gauge, _) = spool.as_mut().unwrap();
        let mut promise = |promise| promises.push((recorded::count(), promise));
        match step {
            Step::Append(count, bytes) => {
                pkid += 1;
                let messages: Vec<_> = (0..*count).map(|index| message(pkid, index, *bytes)).collect();
                let held = Note::Held { pkid, fingerprint: Fingerprint(pkid.into()), late: true, dup: false };
                promise(Promise::Begun { messages: messages.clone(), notes: vec![held] });
                let entries = [Entry::Note(held)].into_iter().chain(messages.iter().map(Entry::Message));
                failed = writer.append(entries).is_err().then_some((*count as u64, held));
                if failed.is_none() {
                    promise(Promise::Kept);
                }
            }
            Step::Release => {
                let note = Note::Released { pkid };
                promise(Promise::Begun { messages: Vec::new(), notes: vec![note] });
                failed = writer.append([Entry::Note(note)].into_iter()).is_err().then_some((0, note));
                if failed.is_none() {
                    promise(Promise::Kept);
                }
            }
            Step::Deliver => {
                while reader.try_next().unwrap().is_some() {}
                let last = gauge.usage().next_sequence - 1;
                promise(Promise::Delivered(last));
                let _ = reader.ack(last);
            }
            Step::Verify => drop(reader.verified()),
            Step::Rename => {
                // The API has everything before, as it does where a name is changed.
                let next = gauge.usage().next_sequence;
                promise(Promise::Delivered(next - 1));
                promise(Promise::RenameBegun);
                // As the forwarder does: until it is done.
                let producer = reader.rename(next).or_else(|_| reader.rename(next)).unwrap();
                promise(Promise::Renamed(producer));
            }
            Step::Restart => {
                let before = (gauge.usage().next_sequence, writer.inbound().clone());
                drop(spool.take());
                let reopened = open(settings.clone()).or_else(|_| open(settings.clone())).unwrap();
                // What could not be made durable may be found, and is promised from then on.
                if let Some((count, note)) = failed.take() {
                    let mut with = before.1;
                    with.apply(note);
                    let found = (reopened.2.usage().next_sequence, reopened.0.inbound());
                    if found == (before.0 + count, &with) {
                        promises.push((recorded::count(), Promise::Kept));
                    }
                }
                spool = Some(reopened);
            }
            Step::Fault(full) => {
                recorded::fail_next_sync(if *full { ErrorKind::StorageFull } else { ErrorKind::Other });
            }
        }
    }
    (recorded::finish(), promises)
}

fn message(pkid: u16, index: usize, bytes: usize) -> Message {
    let payload = format!("{pkid} {index} {}", "x".repeat(bytes));
    Message {
        topic: Bytes::from_static(b"t"),
        payload: payload.into(),
        qos: 2,
        retain: false,
        dup: false,
        captured_ms: 1,
        clock: Default::default(),
    }
}

/// What must and what may be found after a cut.
#[derive(Default)]
struct Expected {
    /// By sequence, from 1 on.
    messages: Vec<Message>,
    kept: usize,
    /// Begun since, and not kept: one of them may be there.
    in_flight: Vec<(Vec<Message>, Vec<Note>)>,
    delivered: u64,
    inbound: Inbound,
    producer: Option<Uuid>,
    renaming: bool,
}

impl Expected {
    fn at(promises: &[(usize, Promise)], cut: usize) -> Self {
        let mut expected = Self::default();
        for (_, promise) in promises.iter().take_while(|(at, _)| *at <= cut) {
            match promise.clone() {
                Promise::Begun { messages, notes } => expected.in_flight.push((messages, notes)),
                Promise::Kept => {
                    let (messages, notes) = expected.in_flight.pop().expect("begun before");
                    expected.in_flight.clear();
                    expected.messages.extend(messages);
                    notes.into_iter().for_each(|note| expected.inbound.apply(note));
                    expected.kept = expected.messages.len();
                }
                Promise::Delivered(sequence) => expected.delivered = sequence,
                Promise::RenameBegun => expected.renaming = true,
                Promise::Renamed(producer) => {
                    expected.producer = Some(producer);
                    expected.renaming = false;
                }
            }
        }
        expected
    }

    /// Opens what is left, and compares.
    fn check(&self, dir: &Path) -> Result<(), String> {
        let settings = Settings { dir: dir.to_owned(), bytes_max: 64 << 10, durability: Durability::Write };
        let (mut writer, mut reader, gauge, recovery) = open(settings).map_err(|error| error.to_string())?;
        let mut found = Vec::new();
        while let Some(frame) = reader.try_next().map_err(|error| error.to_string())? {
            for (sequence, message) in (frame.first_sequence..).zip(frame.messages) {
                let index = sequence as usize - 1;
                let of_a_try = |(messages, _): &(Vec<Message>, _)| messages.get(index - self.kept) == Some(&message);
                let is_known = match self.messages.get(index) {
                    Some(kept) => *kept == message,
                    None => self.in_flight.iter().any(of_a_try),
                };
                if !is_known {
                    return Err(format!("{sequence} is not what was stored under it"));
                }
                found.push(sequence);
            }
        }
        let due = self.delivered + 1..=self.kept as u64;
        if let Some(missing) = due.clone().find(|sequence| !found.contains(sequence)) {
            return Err(format!("{missing} of {due:?} is missing; found {found:?}"));
        }
        let usage = gauge.usage();
        if (recovery.missing, usage.progress.damaged) != (0, 0) {
            return Err(format!("{recovery:?} and {} damaged, though only the power failed", usage.progress.damaged));
        }
        if usage.next_sequence <= self.kept as u64 {
            return Err(format!("{} begins again, {} are kept", usage.next_sequence, self.kept));
        }
        if !self.renaming && self.producer.is_some_and(|producer| producer != usage.progress.producer) {
            return Err("another producer".into());
        }
        let with = |(_, notes): &(_, Vec<Note>)| {
            let mut inbound = self.inbound.clone();
            notes.iter().for_each(|note| inbound.apply(*note));
            inbound == *writer.inbound()
        };
        if *writer.inbound() != self.inbound && !self.in_flight.iter().any(with) {
            return Err(format!("the session is {:?} instead of {:?}", writer.inbound(), self.inbound));
        }
        let first =
            writer.append([Entry::Message(&message(0, 0, 0))].into_iter()).map_err(|error| error.to_string())?;
        (first == usage.next_sequence).then_some(()).ok_or("it does not go on".into())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn what_was_promised_survives_a_power_cut_at_any_moment(
        steps in prop::collection::vec(any_step(), 1..30), seed: u64,
    ) {
        let dir = scratch();
        let (changes, promises) = history(dir.path(), &steps);
        let mut random = fastrand::Rng::with_seed(seed);
        // Before the spool was opened for the first time nothing was promised.
        let opened = promises[0].0;
        for _ in 0..CUTS {
            let cut = random.usize(opened..=changes.len());
            let mut disk = Disk::default();
            changes[..cut].iter().for_each(|change| disk.apply(change, &mut random));
            for share in [0.0, 0.5, 1.0] {
                let left = scratch();
                disk.cut(left.path(), share, &mut random);
                let verdict = Expected::at(&promises, cut).check(left.path());
                prop_assert!(verdict.is_ok(), "cut at {cut} of {}, {share} survives: {verdict:?}", changes.len());
            }
        }
    }
}
