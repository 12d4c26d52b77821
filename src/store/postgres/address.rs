//! Which servers `database_url` names, and which of them will do: the form that libpq gives to several hosts.

use std::str::FromStr;

use sqlx::postgres::PgConnectOptions;

/// After this time the server gives a statement up by itself; a little before we do.
const STATEMENT_TIMEOUT_MS: &str = "9000";
/// The parameter of libpq that says which servers will do.
const WANTED: &str = "target_session_attrs";

/// One server, as it is connected to.
#[derive(Clone, Debug)]
pub(super) struct Server {
    /// `host:port`, for people.
    pub(super) name: String,
    pub(super) options: PgConnectOptions,
}

/// Which servers will do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// One that takes writes: the primary.
    Writable,
    /// Any that answers, for reading.
    Any,
}

/// Reads `postgres://user:password@a:5432,b:5432/database?target_session_attrs=read-write`. Gives the servers in
/// their order; the reason for a refusal repeats nothing of the URL that may be a password.
pub(super) fn servers(url: &str) -> Result<(Vec<Server>, Wanted), String> {
    let (scheme, rest) = url.split_once("://").ok_or("it must begin with postgres://")?;
    let (authority, rest) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    let (user, hosts) = match authority.rsplit_once('@') {
        Some((user, hosts)) => (format!("{user}@"), hosts),
        None => (String::new(), authority),
    };
    let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (wanted, query) = parameters(query)?;
    if hosts.contains(',') && hosts.split(',').any(str::is_empty) {
        return Err("a host is missing beside a comma".to_owned());
    }
    let servers =
        hosts.split(',').map(|host| server(&format!("{scheme}://{user}{host}{path}{query}")));
    Ok((servers.collect::<Result<_, _>>()?, wanted))
}

/// Takes our own parameter out; gives the others as they stand in a URL.
fn parameters(query: &str) -> Result<(Wanted, String), String> {
    let mut wanted = Wanted::Writable;
    let mut others = String::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        match pair.split_once('=').unwrap_or((pair, "")) {
            (WANTED, "read-write" | "primary") => wanted = Wanted::Writable,
            (WANTED, "any") => wanted = Wanted::Any,
            (WANTED, _) => {
                return Err(format!("{WANTED} must be read-write, primary or any"));
            }
            ("host" | "hostaddr" | "port", value) if value.contains(',') => {
                return Err("several hosts stand before the database, such as \
                            postgres://user@a:5432,b:5432/database"
                    .to_owned());
            }
            _ => {
                others.push(if others.is_empty() { '?' } else { '&' });
                others.push_str(pair);
            }
        }
    }
    Ok((wanted, others))
}

fn server(url: &str) -> Result<Server, String> {
    let options = PgConnectOptions::from_str(url).map_err(|error| error.to_string())?;
    let options = match options.get_application_name() {
        Some(_) => options,
        None => options.application_name("holdfast"),
    };
    let options = options.options([
        ("statement_timeout", STATEMENT_TIMEOUT_MS),
        ("idle_in_transaction_session_timeout", STATEMENT_TIMEOUT_MS),
    ]);
    let name = match options.get_socket() {
        Some(socket) => format!("{}:{}", socket.display(), options.get_port()),
        None => format!("{}:{}", options.get_host(), options.get_port()),
    };
    Ok(Server { name, options })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(url: &str) -> Vec<String> {
        servers(url).unwrap().0.into_iter().map(|server| server.name).collect()
    }

    #[test]
    fn reads_one_server_or_several_with_ports_of_their_own() {
        assert_eq!(names("postgres://u:p@db/calls"), ["db:5432"]);
        assert_eq!(
            names("postgresql://u:p%40ss@a:5433,b,[2001:db8::1]:5434/calls?sslmode=require"),
            ["a:5433", "b:5432", "[2001:db8::1]:5434"]
        );
    }

    #[test]
    fn gives_every_server_the_same_user_database_and_parameters() {
        let (servers, _) =
            servers("postgres://u:p@ss@a,b/calls?application_name=x&target_session_attrs=primary")
                .unwrap();
        for server in servers {
            assert_eq!(server.options.get_username(), "u");
            assert_eq!(server.options.get_database(), Some("calls"));
            assert_eq!(server.options.get_application_name(), Some("x"));
        }
    }

    #[test]
    fn takes_any_server_only_where_that_is_said() {
        let wanted = |query: &str| servers(&format!("postgres://a,b/d{query}")).map(|it| it.1);
        assert_eq!(wanted(""), Ok(Wanted::Writable));
        assert_eq!(wanted("?target_session_attrs=read-write"), Ok(Wanted::Writable));
        assert_eq!(wanted("?sslmode=disable&target_session_attrs=any"), Ok(Wanted::Any));
        assert!(wanted("?target_session_attrs=standby").unwrap_err().contains("read-write"));
    }

    #[test]
    fn says_what_is_wrong_and_repeats_no_password() {
        for url in
            ["postgres://u:secret@a,,b/d", "postgres://u:secret@a:x,b/d", "postgres://a/d?host=a,b"]
        {
            let reason = servers(url).unwrap_err();
            assert!(!reason.contains("secret"), "{reason}");
        }
    }
}
