//! Whether the spool's files are still where they were opened, and putting back what was removed meanwhile.
//!
//! A file that was unlinked or replaced takes writes and syncs as before, but nobody finds them again at the next start.
//! So the writer compares device and inode after each sync, before anything is acknowledged. What it still has in memory
//! or behind an open descriptor it puts back: the lock, the cursor, the checkpoint and the active segment. Older segments
//! are gone; the reader counts their messages as damaged.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use tracing::warn;

use super::{AppendError, Shared, Writer, disk, segment};

/// What is copied at a time.
const COPY_BYTES: usize = 256 << 10;

/// The disk that a directory is on.
pub(super) fn device(dir: &Path) -> io::Result<u64> {
    Ok(fs::metadata(dir)?.dev())
}

impl Writer {
    /// Whether everything that was written will be found again at the next start; puts back what an earlier check missed.
    pub fn check(&mut self) -> Result<(), AppendError> {
        if self.misplaced {
            self.put_back()?;
            self.misplaced = false;
        }
        match self.first_misplaced()? {
            None => Ok(()),
            Some(path) => {
                self.misplaced = true;
                Err(AppendError::Misplaced { path })
            }
        }
    }

    /// The first of the spool's files that is not in its place.
    fn first_misplaced(&self) -> io::Result<Option<PathBuf>> {
        let dir = &self.shared.settings.dir;
        let (lock, cursor, session) = (dir.join("lock"), dir.join("cursor"), dir.join("session"));
        if !disk::is_at(&self.shared.lock(), &lock)? {
            return Ok(Some(lock));
        }
        if !self.shared.state().cursor.is_at(&cursor)? {
            return Ok(Some(cursor));
        }
        if !self.checkpoint.is_at(&session)? {
            return Ok(Some(session));
        }
        let segment = segment::path(dir, self.active.first_sequence);
        let is_in_place = match &self.active.file {
            Some(file) => disk::is_at(file, &segment)? && !self.is_cut_short()?,
            None => segment.exists(),
        };
        Ok((!is_in_place).then_some(segment))
    }

    /// Whether the active segment lacks what was durable in it; a write behind that would hide it.
    pub(super) fn is_cut_short(&self) -> io::Result<bool> {
        match &self.active.file {
            Some(file) => Ok(file.metadata()?.len() < self.active.offset),
            None => Ok(false),
        }
    }

    fn put_back(&mut self) -> io::Result<()> {
        let dir = self.shared.settings.dir.clone();
        self.shared.put_back_directory(&dir)?;
        self.shared.put_back_lock(&dir.join("lock"))?;
        self.shared.put_back_cursor(&dir)?;
        if !self.checkpoint.is_at(&dir.join("session"))? {
            self.checkpoint.put_back(&dir)?;
        }
        self.save_checkpoint(self.active.first_sequence)?;
        self.put_back_segment()?;
        disk::sync_dir(&dir)?;
        warn!(dir = %dir.display(), "files of the spool were removed or replaced while it was in use: they are put back");
        Ok(())
    }

    /// The active segment's content is still there behind its descriptor, unless it was cut short or given up.
    fn put_back_segment(&mut self) -> io::Result<()> {
        let path = segment::path(&self.shared.settings.dir, self.active.first_sequence);
        let file = self.active.file.take();
        let Some(file) = file.filter(|file| file.metadata().is_ok_and(|it| it.len() >= self.active.offset)) else {
            return self.begin_anew(&path);
        };
        if disk::is_at(&file, &path)? {
            // What was written last was not acknowledged.
            return self.mend();
        }
        let draft = path.with_extension("new");
        let copied = copy(&file, &draft, self.active.offset);
        // Until the copy is in its place, the descriptor is the only way to the messages.
        self.active.file = Some(file);
        let copy = copied?;
        if path.exists() {
            segment::keep_foreign(&path)?;
        }
        disk::rename(&draft, &path)?;
        self.active.file = Some(copy);
        self.active.prepared = self.active.offset;
        self.shared.state().segments.back_mut().expect("the active segment").copies += 1;
        Ok(())
    }

    /// Goes on in an empty segment: the content of the active one is gone, with its messages.
    fn begin_anew(&mut self, path: &Path) -> io::Result<()> {
        let next_sequence = self.shared.state().next_sequence;
        self.active.prepared = self.active.offset;
        if next_sequence > self.active.first_sequence {
            return self.begin_segment(next_sequence);
        }
        let file = disk::create(path)?;
        disk::set_len(&file, 0)?;
        disk::sync(&file)?;
        self.active.offset = 0;
        self.active.prepared = 0;
        self.active.file = Some(file);
        let mut state = self.shared.state();
        let extent = state.segments.back_mut().expect("the active segment");
        extent.durable_bytes = 0;
        extent.restarts += 1;
        Ok(())
    }
}

impl Shared {
    /// Makes the directory again, but not on another disk: the right one may only not be mounted.
    fn put_back_directory(&self, dir: &Path) -> io::Result<()> {
        let nearest = dir.ancestors().find(|ancestor| ancestor.exists()).unwrap_or(Path::new("."));
        if device(nearest)? != self.device {
            return Err(io::Error::other(
                "SPOOL_DIR is on another disk than at the start: mount that one again, or restart the subscriber",
            ));
        }
        fs::create_dir_all(dir)?;
        let parent = dir.parent().filter(|parent| !parent.as_os_str().is_empty());
        File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
    }

    fn put_back_lock(&self, path: &Path) -> io::Result<()> {
        let mut lock = self.lock();
        if disk::is_at(&lock, path)? {
            return Ok(());
        }
        let file = File::create(path)?;
        file.try_lock().map_err(|_| {
            io::Error::other("SPOOL_DIR was replaced, and another process uses it now: stop one of the two")
        })?;
        *lock = file;
        Ok(())
    }

    fn put_back_cursor(&self, dir: &Path) -> io::Result<()> {
        let path = dir.join("cursor");
        let mut state = self.state();
        if state.cursor.is_at(&path)? {
            return Ok(());
        }
        match fs::metadata(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => state.cursor.put_back(dir),
            Err(error) => Err(error),
            Ok(_) => Err(io::Error::other(
                "SPOOL_DIR/cursor was replaced by another file: restart the subscriber to take it up",
            )),
        }
    }
}

/// Copies the first bytes of an open file to `path`; durable on return.
fn copy(from: &File, path: &Path, bytes: u64) -> io::Result<File> {
    let to = disk::create(path)?;
    disk::set_len(&to, 0)?;
    let mut buffer = vec![0; COPY_BYTES];
    let mut at = 0;
    while at < bytes {
        let part = &mut buffer[..COPY_BYTES.min((bytes - at) as usize)];
        from.read_exact_at(part, at)?;
        disk::write(&to, part, at)?;
        at += part.len() as u64;
    }
    disk::sync(&to)?;
    Ok(to)
}
