//! Records on disk until the store has them: lines with a checksum, in files that are read back from their begin.
//!
//! Every record is written here before it goes to the store, so that the death of the process loses none. A place in the
//! spool is counted in octets, over all its files: what ends at or before [`Spool::stored`] is in the store. A file whose
//! records are all there is removed, at once or a while later ([`Spool::open`]); until then they can be sent again. The store takes each
//! record once, so sending one again does no harm.
//!
//! A line that a crash has torn, or a disk has spoilt, is counted and left out; its file is kept aside.

mod line;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::record::StoredCall;

/// A file is closed, and a new one begun, at this size,
const SEGMENT_OCTETS: u64 = 4 * 1024 * 1024;
/// or at this age, so that records which are long in the store do not stay for the sake of new ones.
const SEGMENT_AGE: Duration = Duration::from_secs(5);
const PREFIX: &str = "records-";
const ENDING: &str = "jsonl";
/// The ending of a file with unreadable lines, once everything else of it is in the store.
const UNREADABLE: &str = "unreadable";
/// Where records go that the store refuses for what is in them.
const REFUSED: &str = "refused.jsonl";

/// A folder of records.
#[derive(Debug)]
pub struct Spool {
    dir: PathBuf,
    max_octets: u64,
    keep: Duration,
    /// The oldest first, without gaps; only the last one may be open.
    segments: VecDeque<Segment>,
    open: Option<File>,
    next_number: u64,
    end: u64,
    stored: u64,
    unsynced: Vec<File>,
    /// Since when something is written that the disk has not confirmed.
    unsynced_since: Option<Instant>,
}

#[derive(Debug)]
struct Segment {
    path: PathBuf,
    start: u64,
    end: u64,
    begun_at: Instant,
    /// When the store had the last of it.
    stored_at: Option<Instant>,
    unreadable: usize,
}

/// A file whose records the store has not, or not all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    pub path: PathBuf,
    /// Where the last of its records ends.
    pub end: u64,
}

/// What a file holds.
#[derive(Debug, Default)]
pub struct Contents {
    pub calls: Vec<StoredCall>,
    /// Lines that are torn or spoilt.
    pub unreadable: usize,
}

/// What the disk is to confirm; may take long.
#[derive(Debug)]
pub struct Sync {
    files: Vec<File>,
    dir: PathBuf,
}

impl Spool {
    /// Makes the folder where it is missing. What is in it counts as not stored. Files stay for `keep` after the store has
    /// taken their last record.
    pub fn open(dir: &Path, max_octets: u64, keep: Duration, now: Instant) -> io::Result<Self> {
        fs::create_dir_all(dir)?;
        let mut this = Self {
            dir: dir.to_owned(),
            max_octets,
            keep,
            segments: VecDeque::new(),
            open: None,
            next_number: 1,
            end: 0,
            stored: 0,
            unsynced: Vec::new(),
            unsynced_since: None,
        };
        for (_, path) in this.numbered(|ending| ending == ENDING)? {
            let (start, len) = (this.end, fs::metadata(&path)?.len());
            this.end += len;
            this.segments.push_back(Segment::new(path, start, this.end, now));
        }
        // Numbers of files that were set aside as unreadable are not given again.
        for (number, _) in this.numbered(|_| true)? {
            this.next_number = this.next_number.max(number + 1);
        }
        Ok(this)
    }

    /// Where the last record ends.
    pub fn end(&self) -> u64 {
        self.end
    }

    /// Up to where the store has everything.
    pub fn stored(&self) -> u64 {
        self.stored
    }

    /// Octets of records that the store has not.
    pub fn waiting_octets(&self) -> u64 {
        self.end - self.stored
    }

    /// Writes records, and says where each ends. A killed process loses none of them; for a machine without power see
    /// [`Spool::sync`]. On an error none of them counts as written.
    pub fn append(&mut self, calls: &[StoredCall], now: Instant) -> io::Result<Vec<u64>> {
        let mut lines = Vec::new();
        let mut ends = Vec::with_capacity(calls.len());
        for call in calls {
            line::write(&mut lines, call)?;
            ends.push(self.end + lines.len() as u64);
        }
        self.make_room(lines.len() as u64)?;
        let mut file = self.writable(now)?;
        if let Err(error) = file.write_all(&lines) {
            // Half a batch must not stand before what comes later.
            if let Some(segment) = self.segments.back()
                && file.set_len(segment.end - segment.start).is_ok()
            {
                self.open = Some(file);
            }
            // What is stored and only kept may be what fills the disk.
            self.forget_kept();
            return Err(error);
        }
        self.open = Some(file);
        self.end += lines.len() as u64;
        if let Some(segment) = self.segments.back_mut() {
            (segment.end, segment.stored_at) = (self.end, None);
        }
        self.unsynced_since.get_or_insert(now);
        Ok(ends)
    }

    /// The oldest file that has not been stored whole; later records go to another one.
    pub fn waiting(&mut self) -> Option<Waiting> {
        let stored = self.stored;
        let index = self.segments.iter().position(|segment| segment.end > stored)?;
        if index + 1 == self.segments.len() {
            self.close();
        }
        let segment = &self.segments[index];
        Some(Waiting { path: segment.path.clone(), end: segment.end })
    }

    /// The store has everything up to there.
    pub fn note_stored(&mut self, position: u64, now: Instant) {
        self.stored = self.stored.max(position.min(self.end));
        let stored = self.stored;
        for segment in self.segments.iter_mut().filter(|segment| segment.end <= stored) {
            segment.stored_at.get_or_insert(now);
        }
        if self.stored == self.end {
            self.unsynced_since = None;
            self.unsynced.clear();
        }
    }

    /// How many lines of a file could not be read; says whether that is new.
    pub fn note_unreadable(&mut self, path: &Path, unreadable: usize) -> bool {
        let Some(segment) = self.segments.iter_mut().find(|segment| segment.path == path) else {
            return false;
        };
        std::mem::replace(&mut segment.unreadable, unreadable) != unreadable
    }

    /// The store may have lost what it had: everything that is still here counts as not stored. Gives how many octets that
    /// adds.
    pub fn send_again(&mut self) -> u64 {
        let first = self.segments.front().map_or(self.end, |segment| segment.start);
        let again = self.stored - first.min(self.stored);
        self.stored = self.stored.min(first);
        self.segments.iter_mut().for_each(|segment| segment.stored_at = None);
        again
    }

    /// Removes files whose time is over.
    pub fn sweep(&mut self, now: Instant) {
        let keep = self.keep;
        let is_over = |segment: &Segment| {
            segment.stored_at.is_some_and(|at| now.saturating_duration_since(at) >= keep)
        };
        while let Some(first) = self.segments.front().filter(|first| is_over(first)) {
            // The one that is written is not taken away under every single record.
            let is_open = self.segments.len() == 1 && self.open.is_some();
            if is_open && now.saturating_duration_since(first.begun_at) < SEGMENT_AGE {
                return;
            }
            self.remove_first();
        }
    }

    /// Removes every file whose records are all stored.
    pub fn forget_kept(&mut self) {
        while self.segments.front().is_some_and(|first| first.end <= self.stored) {
            self.remove_first();
        }
    }

    /// What the disk is asked to confirm, if something has waited for that since before `before` and the store has it not.
    pub fn sync(&mut self, before: Instant) -> Option<Sync> {
        self.unsynced_since.take_if(|since| *since <= before)?;
        let mut files = std::mem::take(&mut self.unsynced);
        files.extend(self.open.as_ref().and_then(|open| open.try_clone().ok()));
        Some(Sync { files, dir: self.dir.clone() })
    }

    /// Since when something is written that neither the disk nor the store has confirmed.
    pub fn unsynced_since(&self) -> Option<Instant> {
        self.unsynced_since
    }

    /// Keeps a record aside that the store will never take.
    pub fn set_aside(&self, call: &StoredCall) -> io::Result<()> {
        let mut line = Vec::new();
        line::write(&mut line, call)?;
        let path = self.dir.join(REFUSED);
        let mut file = OpenOptions::new().create(true).append(true).open(path)?;
        file.write_all(&line)?;
        file.sync_data()
    }

    fn make_room(&mut self, len: u64) -> io::Result<()> {
        let on_disk =
            |this: &Self| this.end - this.segments.front().map_or(this.end, |it| it.start);
        if on_disk(self) + len > self.max_octets {
            self.forget_kept();
        }
        if on_disk(self) + len <= self.max_octets {
            return Ok(());
        }
        let limit = self.max_octets / (1024 * 1024);
        Err(io::Error::new(
            io::ErrorKind::StorageFull,
            format!("the spool holds its {limit} MiB (spool_max_mib)"),
        ))
    }

    /// The file that takes what comes next; it is out of its place meanwhile.
    fn writable(&mut self, now: Instant) -> io::Result<File> {
        if let Some(segment) = self.segments.back()
            && segment.end - segment.start < SEGMENT_OCTETS
            && now.saturating_duration_since(segment.begun_at) < SEGMENT_AGE
            && let Some(open) = self.open.take()
        {
            return Ok(open);
        }
        self.close();
        let path = self.dir.join(format!("{PREFIX}{:010}.{ENDING}", self.next_number));
        let file = OpenOptions::new().create_new(true).append(true).open(&path)?;
        self.next_number += 1;
        self.segments.push_back(Segment::new(path, self.end, self.end, now));
        Ok(file)
    }

    fn close(&mut self) {
        if let Some(open) = self.open.take()
            && self.unsynced_since.is_some()
        {
            self.unsynced.push(open);
        }
    }

    fn remove_first(&mut self) {
        let Some(first) = self.segments.pop_front() else { return };
        if self.segments.is_empty() {
            self.open = None;
        }
        let removed = match first.unreadable {
            0 => fs::remove_file(&first.path),
            _ => fs::rename(&first.path, first.path.with_extension(UNREADABLE)),
        };
        // Left behind, it is sent again by the next start.
        if let Err(error) = removed
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::error!(%error, file = %first.path.display(), "a file of the spool cannot be removed");
        }
    }

    fn numbered(&self, takes: impl Fn(&str) -> bool) -> io::Result<Vec<(u64, PathBuf)>> {
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.dir)? {
            let path = entry?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let parts = name.strip_prefix(PREFIX).and_then(|rest| rest.split_once('.'));
            if let Some((number, ending)) = parts
                && takes(ending)
                && let Ok(number) = number.parse()
            {
                files.push((number, path));
            }
        }
        files.sort();
        Ok(files)
    }
}

impl Segment {
    fn new(path: PathBuf, start: u64, end: u64, begun_at: Instant) -> Self {
        let stored_at = (start == end).then_some(begun_at);
        Self { path, start, end, begun_at, stored_at, unreadable: 0 }
    }
}

/// The checksum of a line, and of other things kept beside the spool.
pub(crate) fn checksum(octets: &[u8]) -> u64 {
    line::checksum(octets)
}

impl Contents {
    /// Reads a file as far as it can be read. An error is only that it cannot be opened.
    pub fn read(path: &Path) -> io::Result<Self> {
        let mut contents = Self::default();
        let mut reader = BufReader::new(File::open(path)?);
        let mut octets = Vec::new();
        loop {
            octets.clear();
            match line::read(&mut reader, &mut octets) {
                Ok(Some(line::Read::Call(call))) => contents.calls.push(*call),
                Ok(Some(line::Read::Unreadable)) => contents.unreadable += 1,
                Ok(None) => return Ok(contents),
                Err(error) => {
                    tracing::error!(%error, file = %path.display(), "the disk does not give back the rest of a file");
                    contents.unreadable += 1;
                    return Ok(contents);
                }
            }
        }
    }
}

impl Sync {
    /// Waits until the disk has what was written.
    pub fn run(self) -> io::Result<()> {
        self.files.iter().try_for_each(File::sync_data)?;
        // The names of new files, too.
        File::open(self.dir)?.sync_all()
    }
}
