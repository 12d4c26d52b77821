//! The floors of docs/ARCHITECTURE.md, read from the imports of src: nothing imports from a floor below its own,
//! and above the purity line nothing names the clock, the system or a task.

#![allow(clippy::disallowed_methods, reason = "a test of sources reads sources")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The first floor that may touch the world.
const FIRST_IMPURE_FLOOR: u32 = 6;

#[test]
fn nothing_imports_from_a_floor_below_its_own_or_touches_the_world_above_the_purity_line() {
    let floors = floors();
    let complaints: Vec<String> = modules()
        .iter()
        .flat_map(|module| complaints(&floors, &module.path, &module.file, &module.source))
        .collect();
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}

#[test]
fn neighbours_on_one_floor_do_not_import_each_other_in_a_circle() {
    let mut imports: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for module in modules() {
        let Some(own) = module.path.first() else { continue };
        let read = Read::source(&module.source);
        for (path, _) in read.resolved(&module.path) {
            if &path[0] != own {
                imports.entry(own.clone()).or_default().push(path[0].clone());
            }
        }
    }
    for start in imports.keys() {
        let (mut seen, mut next) = (Vec::new(), vec![start.clone()]);
        while let Some(at) = next.pop() {
            for import in imports.get(&at).into_iter().flatten() {
                assert_ne!(import, start, "{start} imports itself by way of {at}");
                if !seen.contains(import) {
                    seen.push(import.clone());
                    next.push(import.clone());
                }
            }
        }
    }
}

#[test]
fn the_library_lists_its_modules_floor_by_floor_and_each_has_a_floor() {
    let floors = floors();
    let read = Read::source(&read_file(&root().join("src/lib.rs")));
    let mut last = 0;
    for child in read.children {
        let floor = floors.get(&child.name);
        let floor = *floor.unwrap_or_else(|| panic!("{} has no floor in the table", child.name));
        assert!(last <= floor, "{} (floor {floor}) stands after floor {last}", child.name);
        last = floor;
    }
    assert!(last >= 5, "the library was read");
}

#[test]
fn all_sources_are_read() {
    let read: Vec<PathBuf> = modules().into_iter().map(|module| module.file).collect();
    for expected in ["src/lib.rs", "src/sip/via.rs", "src/call/hunt.rs", "src/engine/dispatch.rs"] {
        assert!(read.contains(&root().join(expected)), "{expected}");
    }
    assert!(!read.contains(&root().join("src/engine/tests.rs")), "a test may do anything");
}

#[test]
fn a_bad_source_is_caught() {
    for (own, source) in [
        ("routing", "use crate::call::Call;"),
        ("routing", "use crate::{health::View, call::Call};"),
        ("routing", "fn f() { let x = crate::engine::Engine::new(); }"),
        ("routing", "use super::super::call::Call;"),
        ("routing", "mod inner { use super::super::super::call::Call; }"),
        ("routing", "use crate::\n    // by the way\n    call as phone;"),
        ("routing", "pub use crate::r#call::*;"),
        ("sip", "use crate::transaction;"),
        ("sip", "use std::net::UdpSocket;"),
        ("sip", "use std::net::{IpAddr, TcpStream as Stream};"),
        ("sip", "use std::{fmt, fs::File};"),
        ("sip", "use std::*;"),
        ("sip", "fn f() { let home = ::std::env::var(\"HOME\"); }"),
        ("sip", "fn f() { std::thread::yield_now(); }"),
        ("sip", "use tokio::sync::mpsc;"),
        ("sip", "use tokio;"),
        ("carrier", "impl sqlx::Type<Db> for X {}"),
        ("engine", "async fn f(x: axum::Router) {}"),
        ("random", "fn f() -> u64 { rand::random() }"),
        ("random", "fn f() { getrandom::fill(&mut []); }"),
        ("engine", "fn f() { let now = Instant::now(); }"),
        ("engine", "fn f() { let now = std::time::SystemTime :: now ; }"),
        ("engine", "fn f(at: Instant) { at.elapsed(); }"),
        ("call", "#[cfg(not(test))] fn f() { Instant::now(); }"),
        ("call", "#[cfg(test)] fn g() {} fn f() { Instant::now(); }"),
        ("call", "#[cfg(test)] mod tests; fn f() { Instant::now(); }"),
        ("net", "use crate::shard::Shard;"),
        ("store", "use crate::cli;"),
        ("sip", "use crate::sim::World;"),
    ] {
        assert!(!check(own, source).is_empty(), "{own}: {source}");
    }
}

#[test]
fn a_good_source_passes() {
    for (own, source) in [
        ("routing", "use crate::health::View; use crate::{carrier, sip::{Message, Uri}};"),
        ("routing", "use super::plan::Plan; use super::super::health; use self::x;"),
        ("dialog", "use crate::transaction::Branch;"),
        ("sip", "use std::net::{IpAddr, SocketAddr}; use std::time::Instant;"),
        ("sip", "// use crate::call;\n/* /* tokio::spawn */ Instant::now() */ fn f() {}"),
        ("sip", "fn f<'a>(x: &'a str) -> char { g(\"std::fs \\\" \", r#\"Instant::now\"#); '\"' }"),
        ("sip", "#[cfg(test)] mod tests { fn now() { Instant::now(); } }"),
        ("sip", "#[cfg(test)]\n#[expect(x)]\nfn now(x: [u8; 2]) { Instant::now(); }"),
        ("sip", "#[cfg(all(test, unix))] use std::fs;"),
        ("sip", "fn f(env: Env) { env.thread(); fs(env::x) }"),
        ("net", "use crate::engine::Engine; use std::net::UdpSocket; use crate::net::dns;"),
        ("cli", "fn f() { crate::server::run(std::env::args(), Instant::now()); }"),
    ] {
        assert_eq!(check(own, source), Vec::<String>::new(), "{own}: {source}");
    }
}

fn check(own: &str, source: &str) -> Vec<String> {
    let path = [own.to_owned(), "made_up".to_owned()];
    complaints(&floors(), &path, Path::new("made_up.rs"), source)
}

/// What one module's source does that its floor forbids.
fn complaints(
    floors: &BTreeMap<String, u32>,
    module: &[String],
    file: &Path,
    source: &str,
) -> Vec<String> {
    let Some(own) = module.first() else { return Vec::new() };
    let floor = floors.get(own).copied().unwrap_or_default();
    let read = Read::source(source);
    let mut found = Vec::new();
    for (path, line) in read.resolved(module) {
        let import = &path[0];
        let may_import = import == own
            // Neighbours may know each other, but not in a circle: another test sees to that.
            || floors.get(import).is_some_and(|&other| other <= floor);
        if !may_import {
            found.push(format!("{}:{line}: {own} imports {}", file.display(), path.join("::")));
        }
    }
    if floor < FIRST_IMPURE_FLOOR {
        for (_, path, line) in &read.paths {
            if is_of_the_world(path) {
                found.push(format!("{}:{line}: {own} names {}", file.display(), path.join("::")));
            }
        }
    }
    found
}

/// Whether a path leads to the clock, the system, its randomness or a task.
fn is_of_the_world(path: &[String]) -> bool {
    const CRATES: [&str; 11] = [
        "axum",
        "fastrand",
        "getrandom",
        "hickory_resolver",
        "libc",
        "rand",
        "rand_core",
        "rustls",
        "socket2",
        "sqlx",
        "tokio",
    ];
    const OF_STD: [&str; 6] = ["env", "fs", "os", "process", "thread", "*"];
    const ANYWHERE: [&str; 8] = [
        "RandomState",
        "TcpListener",
        "TcpStream",
        "ToSocketAddrs",
        "UdpSocket",
        "UnixDatagram",
        "UnixListener",
        "UnixStream",
    ];
    const ENDS: [[&str; 2]; 5] = [
        ["Instant", "now"],
        ["SystemTime", "now"],
        ["Uuid", "new_v4"],
        ["Uuid", "now_v7"],
        [".", "elapsed"],
    ];
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    path.iter().any(|segment| ANYWHERE.contains(segment))
        || ENDS.iter().any(|end| path.windows(2).any(|pair| pair == end))
        || match path[..] {
            ["std", of_std, ..] => OF_STD.contains(&of_std),
            [first, _, ..] => CRATES.contains(&first),
            _ => false,
        }
}

/// Module by module its floor, from the table in docs/ARCHITECTURE.md.
fn floors() -> BTreeMap<String, u32> {
    let page = read_file(&root().join("docs/ARCHITECTURE.md"));
    let mut floors = BTreeMap::new();
    let mut floor = 0;
    for row in page.lines().skip_while(|line| !line.starts_with("| floor")) {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let [_, number, modules, ..] = cells[..] else { break };
        if let Some(number) = number.split(' ').next().and_then(|number| number.parse().ok()) {
            floor = number;
        }
        for module in modules.split('`').skip(1).step_by(2) {
            floors.insert(module.trim_end_matches('/').to_owned(), floor);
        }
    }
    assert_eq!((floors.get("sip"), floors.get("engine")), (Some(&1), Some(&5)), "{floors:?}");
    assert_eq!((floors.get("net"), floors.get("cli")), (Some(&6), Some(&9)), "{floors:?}");
    floors
}

struct Module {
    path: Vec<String>,
    file: PathBuf,
    source: String,
}

/// Every module of the library that is compiled outside tests.
fn modules() -> Vec<Module> {
    let mut found = Vec::new();
    let mut open = vec![(Vec::new(), root().join("src/lib.rs"))];
    while let Some((path, file)) = open.pop() {
        let source = read_file(&file);
        for child in Read::source(&source).children {
            let beside = file.parent().expect("a file has a folder");
            // `lib.rs` and `mod.rs` keep their children beside them.
            let folder = match file.file_stem().and_then(|stem| stem.to_str()) {
                Some("lib" | "mod") => beside.to_owned(),
                Some(stem) => beside.join(stem),
                None => unreachable!("a source has a name"),
            };
            let files = match &child.file {
                Some(given) => [beside.join(given), beside.join(given)],
                None => [
                    folder.join(format!("{}.rs", child.name)),
                    folder.join(&child.name).join("mod.rs"),
                ],
            };
            let file = files.into_iter().find(|file| file.exists());
            let file = file.unwrap_or_else(|| panic!("no file for {}", child.name));
            let path = path.iter().cloned().chain([child.name]).collect();
            open.push((path, file));
        }
        found.push(Module { path, file, source });
    }
    found
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read_file(file: &Path) -> String {
    std::fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

/// What matters of one source file, `#[cfg(test)]` items left out.
#[derive(Default)]
struct Read {
    /// Inline modules around it, the path as written (use trees spread out), its line.
    paths: Vec<(Vec<String>, Vec<String>, usize)>,
    children: Vec<Child>,
}

/// A `mod name;`
struct Child {
    name: String,
    /// The file that `#[path]` names.
    file: Option<String>,
}

#[derive(Clone, Debug, PartialEq)]
enum Token {
    Word(String),
    Text(String),
    PathSeparator,
    Mark(char),
}

impl Read {
    fn source(source: &str) -> Self {
        let tokens = tokens(source);
        let mut reader = Reader { tokens: &tokens, at: 0, inline: Vec::new(), depth: 0 };
        let mut read = Self::default();
        reader.items(&mut read);
        read
    }

    /// Paths that lead to a module of this crate, from its root on.
    fn resolved(&self, module: &[String]) -> Vec<(Vec<String>, usize)> {
        let resolve = |inline: &[String], path: &[String]| {
            let mut here = [module, inline].concat();
            let mut rest = path;
            match rest.first()?.as_str() {
                "crate" => here.clear(),
                "self" => {}
                "super" => {
                    here.pop();
                }
                _ => return None,
            }
            rest = &rest[1..];
            while rest.first().is_some_and(|segment| segment == "super") {
                here.pop();
                rest = &rest[1..];
            }
            let whole = [&here, rest].concat();
            // `pub(crate)` and the like name nothing.
            (!whole.is_empty()).then_some(whole)
        };
        let resolved = |(inline, path, line): &(Vec<String>, Vec<String>, usize)| {
            Some((resolve(inline, path)?, *line))
        };
        self.paths.iter().filter_map(resolved).collect()
    }
}

struct Reader<'a> {
    tokens: &'a [(Token, usize)],
    at: usize,
    /// Inline modules that are open, with the depth of their braces.
    inline: Vec<(String, usize)>,
    depth: usize,
}

impl Reader<'_> {
    fn items(&mut self, read: &mut Read) {
        let mut file = None;
        while let Some((token, line)) = self.tokens.get(self.at) {
            match token {
                Token::Mark('#') => {
                    let attribute = self.attribute();
                    if is_cfg_test(&attribute) {
                        self.skip_item();
                    } else if let [Token::Word(path), Token::Mark('='), Token::Text(text)] =
                        &attribute[..]
                        && path == "path"
                    {
                        file = Some(text.clone());
                    }
                    continue;
                }
                Token::Mark('{') => self.depth += 1,
                Token::Mark('}') => {
                    self.depth = self.depth.saturating_sub(1);
                    self.inline.pop_if(|(_, depth)| *depth == self.depth);
                }
                Token::Word(word) if word == "mod" => match self.tokens.get(self.at + 1..) {
                    Some([(Token::Word(name), _), (Token::Mark(';'), _), ..]) => {
                        let name = name.clone();
                        read.children.push(Child { name, file: file.take() });
                        self.at += 2;
                    }
                    Some([(Token::Word(name), _), (Token::Mark('{'), _), ..]) => {
                        self.inline.push((name.clone(), self.depth));
                        self.at += 1;
                    }
                    _ => {}
                },
                Token::Word(word) if word == "use" => {
                    self.at += 1;
                    self.use_tree(Vec::new(), *line, read);
                    continue;
                }
                Token::Word(_) => {
                    let path = self.path();
                    self.note(path, *line, read);
                    continue;
                }
                Token::Text(_) | Token::PathSeparator | Token::Mark(_) => {}
            }
            self.at += 1;
        }
    }

    fn note(&self, path: Vec<String>, line: usize, read: &mut Read) {
        if path.len() > 1 {
            let inline = self.inline.iter().map(|(name, _)| name.clone()).collect();
            read.paths.push((inline, path, line));
        }
    }

    /// `a::b::c` from here; a method's name comes as `.`, name.
    fn path(&mut self) -> Vec<String> {
        let mut path = Vec::new();
        if self.at > 0 && self.tokens[self.at - 1].0 == Token::Mark('.') {
            path.push(".".to_owned());
        }
        while let Some((Token::Word(word), _)) = self.tokens.get(self.at) {
            path.push(word.clone());
            self.at += 1;
            match self.tokens.get(self.at..) {
                Some([(Token::PathSeparator, _), (Token::Word(_), _), ..]) => self.at += 1,
                _ => break,
            }
        }
        path
    }

    /// One branch of a use tree that begins with `stem`.
    fn use_tree(&mut self, mut stem: Vec<String>, line: usize, read: &mut Read) {
        while let Some((token, _)) = self.tokens.get(self.at) {
            match token {
                Token::PathSeparator => self.at += 1,
                Token::Word(word) if word == "as" => self.at += 2,
                Token::Word(word) => {
                    stem.push(word.clone());
                    self.at += 1;
                }
                Token::Mark('*') => {
                    stem.push("*".to_owned());
                    self.at += 1;
                }
                Token::Mark('{') => {
                    self.at += 1;
                    while let Some((token, _)) = self.tokens.get(self.at) {
                        match token {
                            Token::Mark('}') => break,
                            Token::Mark(',') => self.at += 1,
                            _ => self.use_tree(stem.clone(), line, read),
                        }
                    }
                    self.at += 1;
                    return;
                }
                Token::Text(_) | Token::Mark(_) => break,
            }
        }
        if stem.len() == 1 {
            // `use tokio;` names a crate as a whole.
            stem.push("self".to_owned());
        }
        self.note(stem, line, read);
    }

    /// The tokens of `#[…]`.
    fn attribute(&mut self) -> Vec<Token> {
        self.at += 1;
        if self.tokens.get(self.at).is_some_and(|(token, _)| *token == Token::Mark('!')) {
            self.at += 1;
        }
        let start = self.at + 1;
        self.skip_brackets();
        let end = self.at.saturating_sub(1).max(start);
        self.tokens
            .get(start..end)
            .unwrap_or_default()
            .iter()
            .map(|(token, _)| token.clone())
            .collect()
    }

    /// From an opening bracket to behind its partner.
    fn skip_brackets(&mut self) {
        let mut depth = 0;
        while let Some((token, _)) = self.tokens.get(self.at) {
            self.at += 1;
            match token {
                Token::Mark('(' | '[' | '{') => depth += 1,
                Token::Mark(')' | ']' | '}') => depth -= 1,
                _ => {}
            }
            if depth <= 0 {
                return;
            }
        }
    }

    /// What an attribute belongs to, to its `;` or its braces.
    fn skip_item(&mut self) {
        while let Some((token, _)) = self.tokens.get(self.at) {
            match token {
                Token::Mark('#') => {
                    self.attribute();
                }
                Token::Mark('{') => return self.skip_brackets(),
                Token::Mark('(' | '[') => self.skip_brackets(),
                Token::Mark(';' | ',') => {
                    self.at += 1;
                    return;
                }
                _ => self.at += 1,
            }
        }
    }
}

fn is_cfg_test(attribute: &[Token]) -> bool {
    let is = |token: &Token, word: &str| *token == Token::Word(word.to_owned());
    attribute.first().is_some_and(|token| is(token, "cfg"))
        && attribute.iter().any(|token| is(token, "test"))
        && !attribute.iter().any(|token| is(token, "not") || is(token, "any"))
}

/// Words, path separators and marks with their lines; comments are left out.
fn tokens(source: &str) -> Vec<(Token, usize)> {
    let octets = source.as_bytes();
    let (mut tokens, mut at, mut line) = (Vec::new(), 0, 1);
    while at < octets.len() {
        let start = at;
        let rest = &source[at..];
        let next = octets.get(at + 1).copied().unwrap_or_default();
        let token = match octets[at] {
            b'/' if next == b'/' => {
                at += rest.find('\n').unwrap_or(rest.len());
                None
            }
            b'/' if next == b'*' => {
                at += comment_len(rest);
                None
            }
            b'"' => {
                at += string_len(rest);
                Some(Token::Text(source[start + 1..at - 1].to_owned()))
            }
            b'r' if raw_string_len(rest).is_some() => {
                at += raw_string_len(rest).expect("just seen");
                Some(Token::Text(String::new()))
            }
            b'\'' => {
                at += char_or_lifetime_len(rest);
                None
            }
            b':' if next == b':' => {
                at += 2;
                Some(Token::PathSeparator)
            }
            octet if octet.is_ascii_alphanumeric() || octet == b'_' => {
                at += rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
                let word = &source[start..at];
                // `b"…"`, `br"…"` and `r#name`: what follows is the thing itself.
                let is_prefix = match octets.get(at) {
                    Some(b'"' | b'\'') => matches!(word, "b" | "c"),
                    Some(b'#') => word == "r",
                    _ => false,
                };
                if is_prefix && octets[at] == b'#' {
                    at += 1;
                }
                if let Some(rest) = word.strip_suffix('r').filter(|rest| matches!(*rest, "b" | "c"))
                    && let Some(len) = raw_string_len(&source[start + rest.len()..])
                {
                    at = start + rest.len() + len;
                    Some(Token::Text(String::new()))
                } else {
                    (!is_prefix).then(|| Token::Word(word.to_owned()))
                }
            }
            _ => {
                let mark = rest.chars().next().expect("not at the end");
                at += mark.len_utf8();
                (!mark.is_whitespace()).then_some(Token::Mark(mark))
            }
        };
        if let Some(token) = token {
            tokens.push((token, line));
        }
        line += source[start..at].matches('\n').count();
    }
    tokens
}

fn comment_len(text: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < text.len() {
        match &text.as_bytes()[at..] {
            [b'/', b'*', ..] => (depth, at) = (depth + 1, at + 2),
            [b'*', b'/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at
}

fn string_len(text: &str) -> usize {
    let mut at = 1;
    while let Some(octet) = text.as_bytes().get(at) {
        at += match octet {
            b'\\' => 2,
            b'"' => return at + 1,
            _ => 1,
        };
    }
    text.len()
}

fn raw_string_len(text: &str) -> Option<usize> {
    let hashes = text[1..].bytes().take_while(|&octet| octet == b'#').count();
    let open = 1 + hashes;
    (text.as_bytes().get(open) == Some(&b'"')).then_some(())?;
    let close = format!("\"{}", "#".repeat(hashes));
    Some(open + 1 + text[open + 1..].find(&close)? + close.len())
}

/// A lifetime is passed over as its quote alone.
fn char_or_lifetime_len(text: &str) -> usize {
    let mut chars = text.char_indices().skip(1);
    match chars.next() {
        Some((_, '\\')) => {
            let behind = text.get(3..).and_then(|rest| rest.find('\''));
            behind.map_or(text.len(), |close| 3 + close + 1)
        }
        Some((at, c)) if text[at + c.len_utf8()..].starts_with('\'') => at + c.len_utf8() + 1,
        _ => 1,
    }
}
