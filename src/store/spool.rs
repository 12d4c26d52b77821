//! Records on disk while the store is away: lines with a checksum, in files that end whole.
//!
//! A file is read back line by line; a line that a crash has torn, or a disk has spoilt, is counted
//! and left out. A file is removed once all its lines are in the store, so a crash in between only
//! writes records again, and the store takes each once.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};

use super::record::StoredCall;

/// A file is closed, and a new one begun, at this size.
const SEGMENT_OCTETS: u64 = 4 * 1024 * 1024;
const PREFIX: &str = "records-";
const ENDING: &str = "jsonl";
/// Where records go that the store refuses for what is in them.
const REFUSED: &str = "refused.jsonl";
/// The longest line that is read back.
const MAX_LINE_OCTETS: usize = 4 * 1024 * 1024;

/// A folder of records.
#[derive(Debug)]
pub struct Spool {
    dir: PathBuf,
    max_octets: u64,
    /// The file that is written, and its size.
    open: Option<(File, PathBuf, u64)>,
    next_number: u64,
    octets: u64,
}

/// The records of one file, and how many of its lines could not be read.
#[derive(Debug)]
pub struct Segment {
    pub path: PathBuf,
    pub calls: Vec<StoredCall>,
    pub unreadable: usize,
}

impl Spool {
    /// Makes the folder where it is missing. What is in it is kept.
    pub fn open(dir: &Path, max_octets: u64) -> io::Result<Self> {
        fs::create_dir_all(dir)?;
        let mut this =
            Self { dir: dir.to_owned(), max_octets, open: None, next_number: 1, octets: 0 };
        for (_, path) in this.segments()? {
            this.octets += fs::metadata(path)?.len();
        }
        // Numbers of files that were set aside as unreadable are not given again.
        for (number, _) in this.numbered(|_| true)? {
            this.next_number = this.next_number.max(number + 1);
        }
        Ok(this)
    }

    /// Octets on disk that wait for the store.
    pub fn octets(&self) -> u64 {
        self.octets
    }

    pub fn is_empty(&self) -> bool {
        self.octets == 0
    }

    /// Writes records and has the disk confirm them. On an error none of them counts as written.
    pub fn append(&mut self, calls: &[StoredCall]) -> io::Result<()> {
        let mut lines = Vec::new();
        for call in calls {
            write_line(&mut lines, call)?;
        }
        let len = lines.len() as u64;
        if self.octets + len > self.max_octets {
            let limit = self.max_octets / (1024 * 1024);
            return Err(io::Error::new(
                io::ErrorKind::StorageFull,
                format!("the spool holds its {limit} MiB (spool_max_mib)"),
            ));
        }
        let (mut file, path, size) = match self.open.take() {
            Some(open) if open.2 < SEGMENT_OCTETS => open,
            _ => self.begin_segment()?,
        };
        if let Err(error) = file.write_all(&lines).and_then(|()| file.sync_data()) {
            // Half a batch must not stand before what comes later.
            file.set_len(size)?;
            self.open = Some((file, path, size));
            return Err(error);
        }
        self.octets += len;
        self.open = Some((file, path, size + len));
        Ok(())
    }

    /// The oldest file, read whole; `None` when nothing waits. Later records go to another file.
    pub fn oldest(&mut self) -> io::Result<Option<Segment>> {
        let Some((_, path)) = self.segments()?.into_iter().next() else {
            self.octets = 0;
            return Ok(None);
        };
        if self.open.as_ref().is_some_and(|(_, open, _)| *open == path) {
            self.open = None;
        }
        let mut segment = Segment { path: path.clone(), calls: Vec::new(), unreadable: 0 };
        let mut reader = BufReader::new(File::open(path)?);
        let mut line = Vec::new();
        while reader.read_until(b'\n', &mut line)? > 0 {
            match read_line(&line) {
                Some(call) if line.len() <= MAX_LINE_OCTETS => segment.calls.push(call),
                _ => segment.unreadable += 1,
            }
            line.clear();
        }
        Ok(Some(segment))
    }

    /// Removes a file whose records are in the store. One with unreadable lines is kept under
    /// another name, for somebody to look at.
    pub fn done(&mut self, segment: &Segment) -> io::Result<()> {
        let len = fs::metadata(&segment.path)?.len();
        if segment.unreadable > 0 {
            fs::rename(&segment.path, segment.path.with_extension("unreadable"))?;
        } else {
            fs::remove_file(&segment.path)?;
        }
        self.octets = self.octets.saturating_sub(len);
        Ok(())
    }

    /// Keeps a record aside that the store will never take.
    pub fn set_aside(&self, call: &StoredCall) -> io::Result<()> {
        let mut line = Vec::new();
        write_line(&mut line, call)?;
        let path = self.dir.join(REFUSED);
        let mut file = OpenOptions::new().create(true).append(true).open(path)?;
        file.write_all(&line)?;
        file.sync_data()
    }

    fn begin_segment(&mut self) -> io::Result<(File, PathBuf, u64)> {
        let path = self.dir.join(format!("{PREFIX}{:010}.{ENDING}", self.next_number));
        let file = OpenOptions::new().create_new(true).append(true).open(&path)?;
        self.next_number += 1;
        Ok((file, path, 0))
    }

    /// Files that wait for the store, the oldest first.
    fn segments(&self) -> io::Result<Vec<(u64, PathBuf)>> {
        self.numbered(|ending| ending == ENDING)
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

/// `checksum json`: FNV-1a of the JSON, in hex.
fn write_line(out: &mut Vec<u8>, call: &StoredCall) -> io::Result<()> {
    let json = serde_json::to_vec(call)?;
    write!(out, "{:016x} ", checksum(&json))?;
    out.extend_from_slice(&json);
    out.push(b'\n');
    Ok(())
}

fn read_line(line: &[u8]) -> Option<StoredCall> {
    let line = line.strip_suffix(b"\n")?;
    let (sum, json) = line.split_at_checked(17)?;
    let sum = std::str::from_utf8(sum).ok()?.trim_end();
    (u64::from_str_radix(sum, 16).ok()? == checksum(json))
        .then(|| serde_json::from_slice(json).ok())?
}

fn checksum(octets: &[u8]) -> u64 {
    octets.iter().fold(0xcbf2_9ce4_8422_2325, |hash, octet| {
        (hash ^ u64::from(*octet)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::record::testing::call;

    #[test]
    fn gives_back_what_was_written_in_the_order_of_its_files() {
        let dir = tempfile::tempdir().unwrap();
        let mut spool = Spool::open(dir.path(), 1 << 20).unwrap();
        spool.append(&[call(1), call(2)]).unwrap();
        spool.append(&[call(3)]).unwrap();
        let segment = spool.oldest().unwrap().unwrap();
        assert_eq!(segment.calls, [call(1), call(2), call(3)]);
        spool.append(&[call(4)]).unwrap();
        spool.done(&segment).unwrap();
        let later = spool.oldest().unwrap().unwrap();
        assert_eq!(later.calls, [call(4)], "it went to another file");
        spool.done(&later).unwrap();
        assert!(spool.oldest().unwrap().is_none());
        assert!(spool.is_empty());
    }

    #[test]
    fn finds_after_a_restart_what_was_left() {
        let dir = tempfile::tempdir().unwrap();
        Spool::open(dir.path(), 1 << 20).unwrap().append(&[call(1)]).unwrap();
        let mut spool = Spool::open(dir.path(), 1 << 20).unwrap();
        assert!(!spool.is_empty());
        spool.append(&[call(2)]).unwrap();
        let first = spool.oldest().unwrap().unwrap();
        assert_eq!(first.calls, [call(1)]);
        spool.done(&first).unwrap();
        assert_eq!(spool.oldest().unwrap().unwrap().calls, [call(2)]);
    }

    #[test]
    fn leaves_out_a_torn_line_and_keeps_its_file_to_be_looked_at() {
        let dir = tempfile::tempdir().unwrap();
        let mut spool = Spool::open(dir.path(), 1 << 20).unwrap();
        spool.append(&[call(1), call(2)]).unwrap();
        let path = spool.oldest().unwrap().unwrap().path;
        let octets = fs::read(&path).unwrap();
        fs::write(&path, &octets[..octets.len() - 20]).unwrap();
        let segment = spool.oldest().unwrap().unwrap();
        assert_eq!((segment.calls.len(), segment.unreadable), (1, 1));
        spool.done(&segment).unwrap();
        assert!(spool.oldest().unwrap().is_none());
        let aside = path.with_extension("unreadable");
        let kept = fs::read(&aside).unwrap();
        drop(spool);
        let mut again = Spool::open(dir.path(), 1 << 20).unwrap();
        again.append(&[call(3)]).unwrap();
        let later = again.oldest().unwrap().unwrap();
        again.done(&Segment { unreadable: 1, ..later }).unwrap();
        assert_eq!(fs::read(aside).unwrap(), kept, "a later one has another number");
    }

    #[test]
    fn believes_no_line_whose_checksum_is_wrong() {
        let dir = tempfile::tempdir().unwrap();
        let mut spool = Spool::open(dir.path(), 1 << 20).unwrap();
        spool.append(&[call(1)]).unwrap();
        let path = spool.oldest().unwrap().unwrap().path;
        let text = fs::read_to_string(&path)
            .unwrap()
            .replace("\"status_code\":200", "\"status_code\":201");
        fs::write(&path, text).unwrap();
        let segment = spool.oldest().unwrap().unwrap();
        assert_eq!((segment.calls.len(), segment.unreadable), (0, 1));
    }

    #[test]
    fn takes_no_more_than_it_may_and_says_which_setting_says_so() {
        let dir = tempfile::tempdir().unwrap();
        let mut spool = Spool::open(dir.path(), 1_500).unwrap();
        spool.append(&[call(1)]).unwrap();
        let error = spool.append(&[call(2), call(3)]).unwrap_err();
        assert!(error.to_string().contains("spool_max_mib"), "{error}");
        let segment = spool.oldest().unwrap().unwrap();
        assert_eq!(segment.calls, [call(1)]);
    }

    #[test]
    fn keeps_aside_what_the_store_refuses() {
        let dir = tempfile::tempdir().unwrap();
        let spool = Spool::open(dir.path(), 1 << 20).unwrap();
        spool.set_aside(&call(7)).unwrap();
        let line = fs::read(dir.path().join(REFUSED)).unwrap();
        assert_eq!(read_line(&line), Some(call(7)));
    }
}
