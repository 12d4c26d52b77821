//! Runs of parameters, `;name=value;name`, as header values, Via and URIs carry them.

use super::scan::{quoted_end, skip_lws, token_end, value_end};

/// One parameter as it stands in its run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Param<'a> {
    pub(super) name: &'a [u8],
    /// Without quotes, escapes kept; empty where there is none.
    pub(super) value: &'a [u8],
    pub(super) is_quoted: bool,
    /// Offset of its `;` in the run, and of the octet after it.
    pub(super) start: usize,
    pub(super) end: usize,
}

/// Reads the parameter that begins at `at` with `;`. `None` where the grammar of generic-param
/// (RFC 3261 §25.1) is broken; an empty value after `=` is let pass.
pub(super) fn read(run: &[u8], at: usize) -> Option<Param<'_>> {
    if run.get(at) != Some(&b';') {
        return None;
    }
    let name_start = skip_lws(run, at + 1);
    let name_end = token_end(run, name_start);
    if name_end == name_start {
        return None;
    }
    let name = &run[name_start..name_end];
    let equals = skip_lws(run, name_end);
    if run.get(equals) != Some(&b'=') {
        let end = name_end;
        return Some(Param { name, value: b"", is_quoted: false, start: at, end });
    }
    let value_start = skip_lws(run, equals + 1);
    if run.get(value_start) == Some(&b'"') {
        let end = quoted_end(run, value_start)?;
        let value = &run[value_start + 1..end - 1];
        return Some(Param { name, value, is_quoted: true, start: at, end });
    }
    // A value such as `a=b==` is no token, but peers write base64.
    let mut end = value_end(run, value_start);
    while run.get(end) == Some(&b'=') {
        end = value_end(run, end + 1);
    }
    Some(Param { name, value: &run[value_start..end], is_quoted: false, start: at, end })
}

/// Whether a run is a sequence of well-formed parameters and nothing else.
pub(super) fn are_well_formed(run: &[u8]) -> bool {
    let mut at = skip_lws(run, 0);
    while at < run.len() {
        let Some(param) = read(run, at) else {
            return false;
        };
        at = skip_lws(run, param.end);
    }
    true
}

/// Finds `;name` or `;name=value` in a run of parameters, name in any case, quotes respected.
///
/// A quoted value comes without its quotes, escapes kept; one without a value as `Some(b"")`.
/// Broken parameters are passed over.
pub fn param<'a>(params: &'a [u8], name: &str) -> Option<&'a [u8]> {
    find(params, name).map(|param| param.value)
}

pub(super) fn find<'a>(run: &'a [u8], name: &str) -> Option<Param<'a>> {
    let mut at = next_semicolon(run, 0)?;
    loop {
        match read(run, at) {
            Some(param) if param.name.eq_ignore_ascii_case(name.as_bytes()) => return Some(param),
            Some(param) => at = next_semicolon(run, param.end)?,
            None => at = next_semicolon(run, at + 1)?,
        }
    }
}

/// The next `;` outside quotes.
fn next_semicolon(run: &[u8], from: usize) -> Option<usize> {
    let mut at = from;
    loop {
        match run.get(at)? {
            b';' => return Some(at),
            b'"' => at = quoted_end(run, at)?,
            _ => at += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_a_parameter_in_any_case_with_white_space_and_folds() {
        let run = b" ; newparam =\r\n newvalue ;\r\n Flag ; q = 0.33";
        assert_eq!(param(run, "NEWPARAM"), Some(&b"newvalue"[..]));
        assert_eq!(param(run, "flag"), Some(&b""[..]));
        assert_eq!(param(run, "q"), Some(&b"0.33"[..]));
        assert_eq!(param(run, "new"), None);
    }

    #[test]
    fn what_stands_in_quotes_is_no_parameter() {
        let run = br#";a="x;tag=no \";tag=no\"";tag=yes"#;
        assert_eq!(param(run, "tag"), Some(&b"yes"[..]));
        assert_eq!(param(run, "a"), Some(&br#"x;tag=no \";tag=no\""#[..]));
    }

    #[test]
    fn broken_parameters_are_passed_over() {
        assert_eq!(param(b";;,;=x;(;rport", "rport"), Some(&b""[..]));
        assert_eq!(param(b";a=\"open;rport", "rport"), None);
        assert_eq!(param(b"", "rport"), None);
    }

    #[test]
    fn a_run_is_well_formed_or_not() {
        for run in [
            &b""[..],
            b";a",
            b" ; a = b ; c",
            b";a=[::1]:5060",
            b";a=\"x,;<>\"",
            b";a=",
            b";k=YQ==",
        ] {
            assert!(are_well_formed(run), "{:?}", String::from_utf8_lossy(run));
        }
        for run in [
            &b";"[..],
            b";;a",
            b";a;",
            b"a",
            b";a b",
            b";a=b c",
            b";a=\"x",
            b";=x",
            b";a,b",
            b";a=b,c",
        ] {
            assert!(!are_well_formed(run), "{:?}", String::from_utf8_lossy(run));
        }
    }
}
