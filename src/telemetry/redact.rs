//! Numbers, names and passwords of people kept out of what is written above DEBUG.

/// Digits in a row that may be a telephone number.
const NUMBER_DIGITS: usize = 6;
/// Digits that stay, so that a line can still be matched with a record.
const KEPT_DIGITS: usize = 3;

/// Text of the wire or of a table, with what looks like a telephone number cut to its last digits.
/// Addresses (digits with dots or colons between) stay as they are.
pub fn text(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(from) = rest.find(|character: char| character.is_ascii_digit()) {
        let (before, digits) = rest.split_at(from);
        let len = digits.bytes().take_while(u8::is_ascii_digit).count();
        let (number, after) = digits.split_at(len);
        out.push_str(before);
        if len >= NUMBER_DIGITS {
            out.push_str("***");
            out.push_str(&number[len - KEPT_DIGITS..]);
        } else {
            out.push_str(number);
        }
        rest = after;
    }
    out.push_str(rest);
    out
}

/// A database URL without its password.
pub fn url(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let (authority, path) = match rest.find(['/', '?']) {
        Some(at) => rest.split_at(at),
        None => (rest, ""),
    };
    let Some((user, host)) = authority.rsplit_once('@') else {
        return format!("{scheme}://{authority}{}", query(path));
    };
    let user = match user.split_once(':') {
        Some((name, _)) => format!("{name}:***"),
        None => user.to_owned(),
    };
    format!("{scheme}://{user}@{host}{}", query(path))
}

/// `?password=…` is a way to write it, too.
fn query(path: &str) -> String {
    let Some((path, query)) = path.split_once('?') else { return path.to_owned() };
    let pairs: Vec<String> = query
        .split('&')
        .map(|pair| match pair.split_once('=') {
            Some((name, _)) if name.eq_ignore_ascii_case("password") => format!("{name}=***"),
            _ => pair.to_owned(),
        })
        .collect();
    format!("{path}?{}", pairs.join("&"))
}

#[cfg(test)]
mod tests {
    #[test]
    fn cuts_numbers_to_their_last_digits_and_leaves_addresses_and_codes() {
        assert_eq!(
            super::text("no route for +4930123456 from 192.0.2.17:5060, 404"),
            "no route for +***456 from 192.0.2.17:5060, 404"
        );
        assert_eq!(super::text("12345"), "12345");
    }

    #[test]
    fn hides_the_password_of_a_database_url_wherever_it_stands() {
        for (given, shown) in [
            ("postgres://holdfast:secret@db:5432/calls", "postgres://holdfast:***@db:5432/calls"),
            ("postgres://holdfast:p@ss@db/calls", "postgres://holdfast:***@db/calls"),
            ("postgres://db/calls?user=a&password=b", "postgres://db/calls?user=a&password=***"),
            ("postgres://holdfast@db/calls", "postgres://holdfast@db/calls"),
            ("sqlite:holdfast.db", "sqlite:holdfast.db"),
        ] {
            assert_eq!(super::url(given), shown);
        }
    }
}
