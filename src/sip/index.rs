//! The index of a head: where each header field stands, and which is the first of its name.

use memchr::memchr_iter;
use smallvec::SmallVec;

use super::message::{MAX_FIELD_OCTETS, MAX_HEADERS, MAX_NAME_OCTETS};
use super::scan::{Cut, Field, cut};
use super::{Header, HeaderName};

/// Where one header field stands in its message.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    name: HeaderName,
    name_len: u8,
    start: u16,
    value_start: u16,
    value_end: u16,
    end: u16,
}

impl Entry {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "a message has at most 65 535 octets, a name 255"
    )]
    fn new(field: Field) -> Self {
        let name_len = field.name_end - field.start;
        Self {
            name: field.name,
            name_len: name_len as u8,
            start: field.start as u16,
            value_start: field.value_start as u16,
            value_end: field.value_end as u16,
            end: field.next as u16,
        }
    }

    pub(super) fn value(self, bytes: &[u8]) -> &[u8] {
        &bytes[usize::from(self.value_start)..usize::from(self.value_end)]
    }

    pub(super) fn header(self, bytes: &[u8]) -> Header<'_> {
        let start = usize::from(self.start);
        Header {
            name: self.name,
            name_text: &bytes[start..start + usize::from(self.name_len)],
            value: self.value(bytes),
            line: &bytes[start..usize::from(self.end)],
        }
    }
}

/// Stands for "no field of that name".
const ABSENT: u8 = u8::MAX;
const _: () = assert!(MAX_HEADERS < ABSENT as usize);

/// As many fields as fit without allocating; a call's INVITE seldom has more.
const INLINE_ENTRIES: usize = 28;

/// All fields of a head in order.
#[derive(Clone, Debug)]
pub(super) struct Index {
    entries: SmallVec<[Entry; INLINE_ENTRIES]>,
    /// By name, the place of its first field in `entries`.
    first: [u8; HeaderName::KNOWN_COUNT],
    /// A bit for each name that came more than once.
    repeated: u128,
}

const _: () = assert!(HeaderName::KNOWN_COUNT <= 128);

/// What a head turned out to be.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) index: Index,
    /// Where the body begins; `None` when the octets ended before the head did.
    pub(super) body: Option<usize>,
    /// Some line ends in a bare LF or holds a bare CR.
    pub(super) has_bare_line_end: bool,
    /// Some line has no name or no colon.
    pub(super) has_stray_line: bool,
}

/// Over a limit of count or length.
#[derive(Debug)]
pub(super) struct OverLimit;

impl Head {
    /// Indexes the head whose start line ends at `start`.
    pub(super) fn read(bytes: &[u8], start: usize) -> Result<Self, OverLimit> {
        let mut head = Self {
            index: Index {
                entries: SmallVec::new(),
                first: [ABSENT; HeaderName::KNOWN_COUNT],
                repeated: 0,
            },
            body: None,
            has_bare_line_end: false,
            has_stray_line: false,
        };
        let mut at = start;
        let (mut lines, mut bare_lines) = (0, 0);
        loop {
            match cut(bytes, at) {
                Cut::Field(field) => {
                    head.index.push(field)?;
                    lines += field.lines;
                    bare_lines += field.bare_lines;
                    head.has_stray_line |= field.name_end == field.start;
                    at = field.next;
                }
                Cut::End { body, is_bare } => {
                    lines += 1;
                    bare_lines += usize::from(is_bare);
                    head.body = Some(body);
                    at = body;
                    break;
                }
                Cut::Unfinished => break,
            }
        }
        // Every CR must belong to a line end: there are as many as lines, or one stands bare.
        let crs = memchr_iter(b'\r', &bytes[start..at]).count();
        head.has_bare_line_end = bare_lines > 0 || crs != lines;
        Ok(head)
    }
}

impl Index {
    fn push(&mut self, field: Field) -> Result<(), OverLimit> {
        if self.entries.len() == MAX_HEADERS
            || field.next - field.start > MAX_FIELD_OCTETS
            || field.name_end - field.start > MAX_NAME_OCTETS
        {
            return Err(OverLimit);
        }
        let entry = Entry::new(field);
        if entry.name != HeaderName::Other {
            let first = &mut self.first[entry.name as usize];
            if *first == ABSENT {
                *first = u8::try_from(self.entries.len()).expect("MAX_HEADERS fits u8");
            } else {
                self.repeated |= 1 << entry.name as u8;
            }
        }
        self.entries.push(entry);
        Ok(())
    }

    pub(super) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    pub(super) fn first(&self, name: HeaderName) -> Option<Entry> {
        let at = *self.first.get(name as usize)?;
        self.entries.get(usize::from(at)).copied()
    }

    pub(super) fn all(&self, name: HeaderName) -> impl Iterator<Item = Entry> {
        let from = match self.first.get(name as usize) {
            Some(&at) => usize::from(at).min(self.entries.len()),
            None => 0,
        };
        let to = if self.is_repeated(name) || name == HeaderName::Other {
            self.entries.len()
        } else {
            self.entries.len().min(from + 1)
        };
        self.entries[from..to].iter().copied().filter(move |entry| entry.name == name)
    }

    pub(super) fn is_repeated(&self, name: HeaderName) -> bool {
        name != HeaderName::Other && self.repeated & (1 << name as u8) != 0
    }
}
