//! `number_rules`, and `number_examples`, which say what they must do.

use std::sync::Arc;

use hashbrown::{HashMap, HashSet};

use super::{Check, Row};
use crate::carrier::header_rule::{Carry, HeaderRule, Identity};
use crate::carrier::number_rule::{NumberFormat, NumberRule, PartyRule, UserPhone};
use crate::carrier::rewrite::{Rewrite, RewriteError};
use crate::carrier::rows::{NumberExampleRow, NumberRuleRow};
use crate::carrier::{CarrierId, Roster, Rows};
use crate::sip::{Subscriber, Uri};

/// Octets of a list of names of header fields.
const MAX_X_HEADERS_OCTETS: usize = 1_000;

impl Check {
    pub(super) fn number_rules(&mut self, rows: &Rows) -> HashMap<i64, NumberRule> {
        let carriers: HashSet<i64> = rows.carriers.iter().map(|row| row.carrier_id).collect();
        let mut rules = HashMap::new();
        for row in &rows.number_rules {
            let mut check = self.row("number_rules", row.carrier_id);
            if !carriers.contains(&row.carrier_id) {
                check.refuse("carrier_id", format!("there is no carrier {}", row.carrier_id));
            }
            rules.insert(row.carrier_id, number_rule(&mut check, row));
        }
        rules
    }

    /// Writes each example as a call would be written, and refuses what is not as it was said to be.
    pub(super) fn number_examples(
        &mut self,
        rows: &[NumberExampleRow],
        rosters: &HashMap<CarrierId, Roster>,
    ) {
        for row in rows {
            let mut check = self.row("number_examples", row.number_example_id);
            let id = CarrierId(row.carrier_id);
            let Some(Roster { carrier, gateways, .. }) = rosters.get(&id) else {
                check.refuse("carrier_id", format!("there is no carrier {id}"));
                continue;
            };
            let rule = &carrier.number_rule;
            if let Some(expected) = &row.expected_request_uri {
                match (subscriber(&row.called), gateways.first()) {
                    (Some(called), Some(gateway)) => {
                        let written = rule.request_uri(&called, gateway);
                        check.compare("expected_request_uri", &row.called, &written, expected);
                    }
                    (None, _) => check.is_no_party("called", &row.called),
                    (_, None) => check.refuse(
                        "carrier_id",
                        format!("carrier {id} has no gateway that a request URI could name"),
                    ),
                }
            }
            if let Some(expected) = &row.expected_from {
                match subscriber(&row.calling) {
                    Some(calling) => {
                        // Our own host is not known here: any is right where the rule names none.
                        let own = Uri::parse(expected.as_bytes()).map(|uri| uri.host);
                        let own = own.and_then(|host| std::str::from_utf8(host).ok());
                        let host = host_of(&row.calling);
                        let written = rule.from_uri(&calling, host, own.unwrap_or_default());
                        check.compare("expected_from", &row.calling, &written, expected);
                    }
                    None => check.is_no_party("calling", &row.calling),
                }
            }
            if row.expected_request_uri.is_none() && row.expected_from.is_none() {
                let reason = "it says neither expected_request_uri nor expected_from".to_owned();
                check.refuse("expected_request_uri", reason);
            }
        }
    }
}

/// A whole URI, or its user part.
fn subscriber(text: &str) -> Option<Subscriber> {
    let whole = Uri::parse(text.as_bytes()).filter(|uri| uri.user.is_some());
    if let Some(uri) = whole {
        return Some(Subscriber::of(&uri));
    }
    Some(Subscriber::of(&Uri::parse(format!("sip:{text}@caller.invalid").as_bytes())?))
}

fn host_of(text: &str) -> &[u8] {
    Uri::parse(text.as_bytes()).map(|uri| uri.host).unwrap_or_default()
}

fn number_rule(check: &mut Row<'_>, row: &NumberRuleRow) -> NumberRule {
    let formats = NumberFormat::ALL;
    let called_format =
        check.one_of("called_format", &row.called_format, NumberFormat::from_text, formats);
    let calling_format =
        check.one_of("calling_format", &row.calling_format, NumberFormat::from_text, formats);
    if row.called_prefix.len() > 32 || !row.called_prefix.bytes().all(is_prefix_octet) {
        check.refuse("called_prefix", "at most 32 of the characters 0-9 + * #".to_owned());
    }
    let is_code =
        row.country_code.len() <= 3 && row.country_code.bytes().all(|o| o.is_ascii_digit());
    if !is_code {
        check.refuse(
            "country_code",
            format!("'{}' must be up to three digits, such as 49", row.country_code),
        );
    }
    let is_national = [called_format, calling_format].contains(&Some(NumberFormat::National));
    if is_national && row.country_code.is_empty() {
        check.refuse(
            "country_code",
            "the format 'national' needs a country code, such as 49".to_owned(),
        );
    }
    for (column, host) in
        [("request_uri_host", &row.request_uri_host), ("from_host", &row.from_host)]
    {
        if let Some(host) = host {
            check.host_with_port(column, host);
        }
    }
    let called_rewrite = check.rewrite(
        ["called_regex", "called_replacement"],
        [row.called_regex.as_deref(), row.called_replacement.as_deref()],
    );
    let calling_rewrite = check.rewrite(
        ["calling_regex", "calling_replacement"],
        [row.calling_regex.as_deref(), row.calling_replacement.as_deref()],
    );
    let user_phone =
        check.one_of("user_phone", &row.user_phone, UserPhone::from_text, UserPhone::ALL);
    let portability = check.one_of("portability", &row.portability, Carry::from_text, Carry::ALL);
    let party = |format: Option<NumberFormat>, rewrite| PartyRule {
        format: format.unwrap_or(NumberFormat::Unchanged),
        rewrite,
    };
    NumberRule {
        called: party(called_format, called_rewrite),
        called_prefix: row.called_prefix.as_str().into(),
        calling: party(calling_format, calling_rewrite),
        country_code: row.country_code.as_str().into(),
        portability: portability.unwrap_or_default(),
        user_phone: user_phone.unwrap_or(UserPhone::AsReceived),
        request_uri_host: row.request_uri_host.as_deref().map(Into::into),
        from_host: row.from_host.as_deref().map(Into::into),
        headers: Arc::new(header_rule(check, row)),
    }
}

fn header_rule(check: &mut Row<'_>, row: &NumberRuleRow) -> HeaderRule {
    let identity = check.one_of("identity", &row.identity, Identity::from_text, Identity::ALL);
    let diversion = check.one_of("diversion", &row.diversion, Carry::from_text, Carry::ALL);
    let history_info =
        check.one_of("history_info", &row.history_info, Carry::from_text, Carry::ALL);
    HeaderRule {
        identity: identity.unwrap_or_default(),
        is_trusted: row.is_trusted,
        diversion: diversion.unwrap_or_default(),
        history_info: history_info.unwrap_or_default(),
        x_headers: row.x_headers.as_deref().map(|text| check.x_headers(text)),
    }
}

fn is_prefix_octet(octet: u8) -> bool {
    octet.is_ascii_digit() || matches!(octet, b'+' | b'*' | b'#')
}

impl Row<'_> {
    fn rewrite(&mut self, columns: [&'static str; 2], texts: [Option<&str>; 2]) -> Option<Rewrite> {
        let [pattern_column, replacement_column] = columns;
        match texts {
            [None, None] => None,
            [Some(_), None] => {
                self.refuse(replacement_column, format!("{pattern_column} needs one"));
                None
            }
            [None, Some(_)] => {
                self.refuse(pattern_column, format!("{replacement_column} needs one"));
                None
            }
            [Some(pattern), Some(replacement)] => match Rewrite::new(pattern, replacement) {
                Ok(rewrite) => Some(rewrite),
                Err(RewriteError::Pattern(reason)) => {
                    self.refuse(pattern_column, reason);
                    None
                }
                Err(RewriteError::Replacement(reason)) => {
                    self.refuse(replacement_column, reason);
                    None
                }
            },
        }
    }

    /// None at all where the text is empty.
    fn x_headers(&mut self, text: &str) -> Arc<[Box<str>]> {
        let is_name = |name: &str| {
            let is_legal = |octet: u8| octet.is_ascii_alphanumeric() || b"-_.".contains(&octet);
            let start = name.get(..2).unwrap_or_default();
            start.eq_ignore_ascii_case("X-") && name.bytes().all(is_legal)
        };
        let names = text.split(',').map(str::trim).filter(|_| !text.trim().is_empty());
        let names: Vec<&str> = names.collect();
        if text.len() > MAX_X_HEADERS_OCTETS || !names.iter().all(|name| is_name(name)) {
            let reason = format!("'{text}' must be names between commas, such as X-Call,X-Trace");
            self.refuse("x_headers", reason);
        }
        names.iter().map(|name| name.to_ascii_lowercase().into()).collect()
    }

    fn compare(&mut self, column: &'static str, given: &str, written: &[u8], expected: &str) {
        if written != expected.as_bytes() {
            let written = String::from_utf8_lossy(written);
            self.refuse(column, format!("'{given}' becomes '{written}', not '{expected}'"));
        }
    }

    fn is_no_party(&mut self, column: &'static str, text: &str) {
        self.refuse(column, format!("'{text}' must be a number, a user part or a URI"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::carrier::Tables;
    use crate::carrier::rows::{CarrierRow, GatewayRow};

    /// A carrier with a gateway and a rule, changed.
    fn rows(change: impl FnOnce(&mut NumberRuleRow)) -> Rows {
        let name = || "a".to_owned();
        let mut rule = NumberRuleRow { carrier_id: 1, ..NumberRuleRow::default() };
        change(&mut rule);
        let gateway = GatewayRow {
            gateway_id: 1,
            carrier_id: 1,
            name: name(),
            host: "gw.example".to_owned(),
            ..GatewayRow::default()
        };
        Rows {
            carriers: vec![CarrierRow { carrier_id: 1, name: name(), ..CarrierRow::default() }],
            gateways: vec![gateway],
            number_rules: vec![rule],
            ..Rows::default()
        }
    }

    fn rule(change: impl FnOnce(&mut NumberRuleRow)) -> NumberRule {
        let tables = Tables::check(rows(change), 1).expect("it makes sense");
        tables.carrier(CarrierId(1)).expect("it is there").number_rule.clone()
    }

    /// What is refused of it, each as `COLUMN: REASON`.
    fn refused(rows: Rows) -> Vec<String> {
        let refusals = Tables::check(rows, 1).expect_err("it makes no sense");
        refusals.iter().map(|it| format!("{}: {}", it.column, it.reason)).collect()
    }

    #[test]
    fn every_column_of_a_rule_is_taken_over() {
        let rule = rule(|row| {
            row.called_format = "e164".into();
            row.called_prefix = "9#".into();
            row.called_regex = Some("^1".into());
            row.called_replacement = Some("2".into());
            row.calling_format = "national".into();
            row.calling_regex = Some("^3".into());
            row.calling_replacement = Some("4".into());
            row.country_code = "49".into();
            row.request_uri_host = Some("r.example:5070".into());
            row.from_host = Some("f.example".into());
            row.identity = "pass".into();
            row.is_trusted = true;
            row.user_phone = "on".into();
            row.portability = "strip".into();
            row.diversion = "strip".into();
            row.history_info = "strip".into();
            row.x_headers = Some("X-Call, x-trace".into());
        });
        let rewritten =
            |rewrite: &Option<Rewrite>, user| rewrite.as_ref().and_then(|it| it.apply(user));
        assert_eq!(rule.called.format, NumberFormat::E164);
        assert_eq!(rewritten(&rule.called.rewrite, "12").as_deref(), Some("22"));
        assert_eq!(rule.calling.format, NumberFormat::National);
        assert_eq!(rewritten(&rule.calling.rewrite, "32").as_deref(), Some("42"));
        assert_eq!((&*rule.called_prefix, &*rule.country_code), ("9#", "49"));
        assert_eq!(rule.request_uri_host.as_deref(), Some("r.example:5070"));
        assert_eq!(rule.from_host.as_deref(), Some("f.example"));
        assert_eq!((rule.user_phone, rule.portability), (UserPhone::On, Carry::Strip));
        let headers = HeaderRule {
            identity: Identity::Pass,
            is_trusted: true,
            diversion: Carry::Strip,
            history_info: Carry::Strip,
            x_headers: Some(["x-call".into(), "x-trace".into()].into()),
        };
        assert_eq!(*rule.headers, headers);
    }

    #[test]
    fn an_empty_list_of_x_headers_lets_none_cross_and_none_lets_all() {
        assert_eq!(
            rule(|row| row.x_headers = Some(" ".into())).headers.x_headers.as_deref(),
            Some(&[][..])
        );
        assert_eq!(rule(|_| {}).headers.x_headers, None);
    }

    #[test]
    fn says_what_is_wrong_with_a_rule() {
        type Change = fn(&mut NumberRuleRow);
        let changes: [(Change, &str); 11] = [
            (|row| row.called_format = "x".into(), "called_format: 'x' must be one of unchanged, "),
            (|row| row.calling_format = "national".into(), "country_code: the format 'national'"),
            (|row| row.identity = "hide".into(), "identity: 'hide' must be one of pass, strip"),
            (|row| row.user_phone = "yes".into(), "user_phone: 'yes' must be one of as_received"),
            (|row| row.portability = "x".into(), "portability: 'x' must be one of pass, strip"),
            (|row| row.diversion = "x".into(), "diversion: 'x' must be one of pass, strip"),
            (|row| row.history_info = "x".into(), "history_info: 'x' must be one of pass, strip"),
            (|row| row.x_headers = Some("X-A,Subject".into()), "x_headers: 'X-A,Subject' must be"),
            (
                |row| row.called_regex = Some("a".into()),
                "called_replacement: called_regex needs one",
            ),
            (
                |row| row.calling_replacement = Some("a".into()),
                "calling_regex: calling_replacement",
            ),
            (
                |row| {
                    (row.calling_regex, row.calling_replacement) =
                        (Some("(".into()), Some("1".into()))
                },
                "calling_regex: no valid regular expression",
            ),
        ];
        for (change, expected) in changes {
            let refused = refused(rows(change));
            assert!(refused.iter().any(|it| it.starts_with(expected)), "{expected}: {refused:?}");
        }
    }

    fn example(called: &str, request_uri: Option<&str>) -> NumberExampleRow {
        NumberExampleRow {
            number_example_id: 1,
            carrier_id: 1,
            called: called.to_owned(),
            expected_request_uri: request_uri.map(str::to_owned),
            ..NumberExampleRow::default()
        }
    }

    fn with_example(example: NumberExampleRow) -> Rows {
        let mut rows = rows(|row| {
            row.called_format = "e164".into();
            row.calling_format = "digits".into();
        });
        rows.number_examples.push(example);
        rows
    }

    #[test]
    fn an_example_that_holds_is_nothing_to_speak_of() {
        for (called, expected) in [
            ("0049301", "sip:+49301@gw.example"),
            ("tel:+49-30-1;ext=2", "sip:+49301;ext=2@gw.example;user=phone"),
            ("sip:alice@a.example", "sip:alice@gw.example"),
        ] {
            assert!(Tables::check(with_example(example(called, Some(expected))), 1).is_ok());
        }
        for expected_from in ["sip:49301@any.example", "sip:49301@other.example"] {
            let calling = NumberExampleRow {
                calling: "+49301".to_owned(),
                expected_from: Some(expected_from.to_owned()),
                ..example("", None)
            };
            assert!(Tables::check(with_example(calling), 1).is_ok());
        }
    }

    #[test]
    fn an_example_that_does_not_hold_is_refused_with_what_it_becomes() {
        let wrong = example("0049301", Some("sip:49301@gw.example"));
        assert_eq!(
            refused(with_example(wrong)),
            [
                "expected_request_uri: '0049301' becomes 'sip:+49301@gw.example', not 'sip:49301@gw.example'"
            ]
        );
        let calling = NumberExampleRow {
            calling: "sip:anonymous@anonymous.invalid".to_owned(),
            expected_from: Some("sip:anonymous@f.example".to_owned()),
            ..example("", None)
        };
        let told = refused(with_example(calling));
        assert!(told[0].contains("becomes 'sip:anonymous@anonymous.invalid'"), "{told:?}");
    }

    #[test]
    fn says_which_example_makes_no_sense() {
        let nobody = example("a b", Some("sip:x@y"));
        assert_eq!(
            refused(with_example(nobody)),
            ["called: 'a b' must be a number, a user part or a URI"]
        );
        let nothing = refused(with_example(example("1", None)));
        assert!(nothing[0].contains("it says neither"), "{nothing:?}");
        let elsewhere =
            NumberExampleRow { carrier_id: 9, ..example("1", Some("sip:1@gw.example")) };
        assert_eq!(refused(with_example(elsewhere)), ["carrier_id: there is no carrier 9"]);
        let mut bare = with_example(example("1", Some("sip:1@gw.example")));
        bare.gateways.clear();
        assert!(refused(bare)[0].contains("has no gateway that a request URI could name"));
    }
}
