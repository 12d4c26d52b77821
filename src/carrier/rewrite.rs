//! A pattern and what is put in its place, for numbers that no format describes.

use std::sync::Arc;

use regex::{Regex, RegexBuilder};

/// Longest pattern.
const MAX_PATTERN_OCTETS: usize = 1_000;
/// Memory that one compiled pattern may take.
const MAX_PATTERN_MEMORY_OCTETS: usize = 256 * 1024;
/// Longest replacement.
const MAX_REPLACEMENT_OCTETS: usize = 100;
/// What is longer is no number, and is left as it is.
const MAX_USER_OCTETS: usize = 256;

/// Checked and compiled.
#[derive(Clone, Debug)]
pub struct Rewrite {
    pattern: Regex,
    replacement: Arc<str>,
}

/// What is wrong with a rewrite.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RewriteError {
    Pattern(String),
    Replacement(String),
}

impl Rewrite {
    /// Compiles a pattern; the error is a sentence on one of the two.
    pub fn new(pattern: &str, replacement: &str) -> Result<Self, RewriteError> {
        if pattern.len() > MAX_PATTERN_OCTETS {
            let reason = format!("longer than {MAX_PATTERN_OCTETS} octets");
            return Err(RewriteError::Pattern(reason));
        }
        let mut builder = RegexBuilder::new(pattern);
        let limit = MAX_PATTERN_MEMORY_OCTETS;
        let pattern = builder.size_limit(limit).dfa_size_limit(limit).build().map_err(|error| {
            let text = error.to_string();
            let last = text.lines().last().unwrap_or_default().trim();
            RewriteError::Pattern(format!("no valid regular expression: {last}"))
        })?;
        let refuse = |reason| Err(RewriteError::Replacement(reason));
        let is_printable = |octet: u8| (b' '..=b'~').contains(&octet);
        if replacement.len() > MAX_REPLACEMENT_OCTETS || !replacement.bytes().all(is_printable) {
            let reason =
                format!("it has up to {MAX_REPLACEMENT_OCTETS} printable ASCII characters");
            return refuse(reason);
        }
        if let Some(name) = groups_of(replacement).find(|name| !has_group(&pattern, name)) {
            return refuse(format!(
                "the pattern has no group '{name}'; write a group that is followed by a letter or digit as ${{1}}"
            ));
        }
        Ok(Self { pattern, replacement: replacement.into() })
    }

    /// Puts the replacement in the place of the first match; `None` where nothing matches.
    pub fn apply(&self, user: &str) -> Option<String> {
        if user.len() > MAX_USER_OCTETS || !self.pattern.is_match(user) {
            return None;
        }
        Some(self.pattern.replace(user, &*self.replacement).into_owned())
    }
}

fn has_group(pattern: &Regex, name: &str) -> bool {
    match name.parse::<usize>() {
        Ok(index) => index < pattern.captures_len(),
        Err(_) => pattern.capture_names().flatten().any(|known| known == name),
    }
}

/// The groups that a replacement names, as the regex crate reads it: `$name`, `${name}`; `$$` is a dollar.
fn groups_of(replacement: &str) -> impl Iterator<Item = &str> {
    let mut rest = replacement;
    std::iter::from_fn(move || {
        loop {
            let at = rest.find('$')?;
            rest = &rest[at + 1..];
            if let Some(after) = rest.strip_prefix('$') {
                rest = after;
                continue;
            }
            let (name, after) = match rest.strip_prefix('{') {
                Some(braced) => braced.split_once('}')?,
                None => {
                    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
                    rest.split_at(rest.find(|c| !is_name(c)).unwrap_or(rest.len()))
                }
            };
            rest = after;
            if !name.is_empty() {
                return Some(name);
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn puts_the_replacement_where_the_pattern_matches() {
        for (pattern, replacement, user, rewritten) in [
            (r"^\+49(\d+)$", "0$1", "+4930123", Some("030123")),
            (r"^\+49(\d+)$", "0$1", "+1415", None),
            (r"^(?<all>.*)$", "9${all}9", "1", Some("919")),
            ("^.*$", "proj_1", "+49301", Some("proj_1")),
            ("1", "$$", "111", Some("$11")),
            ("1", "", "1", Some("")),
        ] {
            let rewrite = Rewrite::new(pattern, replacement).expect("it makes sense");
            assert_eq!(rewrite.apply(user).as_deref(), rewritten, "{pattern} {user}");
        }
    }

    #[test]
    fn leaves_what_is_too_long_for_a_number() {
        let rewrite = Rewrite::new("1", "$0$0").expect("it makes sense");
        assert!(rewrite.apply(&"1".repeat(MAX_USER_OCTETS)).is_some());
        assert_eq!(rewrite.apply(&"1".repeat(MAX_USER_OCTETS + 1)), None);
    }

    #[test]
    fn says_what_is_wrong_with_either() {
        let is_pattern = |pattern: &str, words: &str| match Rewrite::new(pattern, "") {
            Err(RewriteError::Pattern(reason)) => assert!(reason.contains(words), "{reason}"),
            other => panic!("{other:?}"),
        };
        is_pattern("(", "unclosed group");
        is_pattern(&"1".repeat(1_001), "longer than 1000 octets");
        is_pattern(r"(\pL{100}){100}", "size limit");
        let is_replacement = |replacement: &str, words: &str| match Rewrite::new("(.)", replacement)
        {
            Err(RewriteError::Replacement(reason)) => assert!(reason.contains(words), "{reason}"),
            other => panic!("{other:?}"),
        };
        is_replacement("$2", "no group '2'");
        is_replacement("$1a", "no group '1a'");
        is_replacement("${x}", "no group 'x'");
        is_replacement("\r\n", "printable");
        is_replacement(&"1".repeat(101), "up to 100");
    }
}
