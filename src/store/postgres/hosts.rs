//! Which server is used: the one that takes writes, looked for again whenever it is lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{Connection, PgConnection, PgPool, Postgres};
use tokio::sync::{Mutex, mpsc, watch};
use tokio::time::{Instant, timeout_at};

use super::super::{ACQUIRE_LIMIT, CLOSE_LIMIT, FIND_LIMIT, StoreError, within};
use super::address::{self, Server, Wanted};
use crate::telemetry::metrics;

/// Connections for everything but the watch, which has its own.
const MAX_CONNECTIONS: u32 = 5;
/// Once one server takes writes, how long the others have to say that they do, too.
const GRACE: Duration = Duration::from_millis(150);
/// How often a standby is asked again while another server still keeps us waiting: it may be promoted meanwhile.
const ASK_AGAIN_AFTER: Duration = Duration::from_millis(300);

/// What a server says of itself. The name of its write-ahead log begins with its timeline, which a promotion raises.
const ASK: &str = "\
    select pg_is_in_recovery(), current_setting('transaction_read_only') = 'on', \
      case when pg_is_in_recovery() then null \
      else left(pg_walfile_name(pg_current_wal_lsn()), 8) end";

/// The servers of `database_url`. Clones are the same.
#[derive(Clone, Debug)]
pub(super) struct Hosts(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    servers: Vec<Server>,
    wanted: Wanted,
    /// `None` until one is found.
    place: ArcSwapOption<Place>,
    /// Held while somebody looks; what came of it.
    search: Mutex<Option<Searched>>,
    /// Counts how often another server than before was found.
    moves: watch::Sender<u64>,
    is_closed: AtomicBool,
}

/// A server that did when it was last asked, and connections to it.
#[derive(Debug)]
pub(super) struct Place {
    server: Server,
    /// Hexadecimal; `None` where it could not be said.
    timeline: Option<String>,
    pool: PgPool,
    /// Connections that somebody works with.
    borrowed: AtomicU32,
    /// A connection broke, or writes were refused: look again before it is used.
    is_lost: AtomicBool,
}

#[derive(Debug)]
struct Searched {
    ended_at: Instant,
    /// Why none was found.
    failure: Option<String>,
}

/// A connection, and where it leads. One that is not given back, since whoever had it was dropped in the middle of
/// something, is cut off: nobody knows what is still on its way in it.
#[derive(Debug)]
pub(super) struct Borrowed {
    /// `None` once it is given back.
    connection: Option<PoolConnection<Postgres>>,
    place: Arc<Place>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Answer {
    /// With its timeline.
    Good(Option<String>),
    /// Why it will not do; a standby may, later.
    Bad(String),
}

impl Hosts {
    /// Connects when it is first used.
    pub(super) fn open(url: &str) -> Result<Self, StoreError> {
        let (servers, wanted) =
            address::servers(url).map_err(|reason| StoreError::Url { reason })?;
        Ok(Self(Arc::new(Inner {
            servers,
            wanted,
            place: ArcSwapOption::empty(),
            search: Mutex::new(None),
            moves: watch::Sender::new(0),
            is_closed: AtomicBool::new(false),
        })))
    }

    /// A connection to the server that does, within twice [`FIND_LIMIT`] and [`ACQUIRE_LIMIT`].
    pub(super) async fn acquire(&self) -> Result<Borrowed, StoreError> {
        let place = self.find().await?;
        match place.pool.acquire().await {
            Ok(connection) => {
                place.borrowed.fetch_add(1, Ordering::Relaxed);
                Ok(Borrowed { connection: Some(connection), place })
            }
            // All of them work: it is slow, which is no reason to leave it.
            Err(sqlx::Error::PoolTimedOut)
                if place.borrowed.load(Ordering::Relaxed) >= MAX_CONNECTIONS =>
            {
                Err(StoreError::Busy(ACQUIRE_LIMIT))
            }
            Err(error) => {
                place.lose();
                Err(error.into())
            }
        }
    }

    /// Takes a connection back. A connection that did not answer in time, or to a server that does not do any more, is cut off: put
    /// back, it would hold its place in the pool until the kernel gives it up, which takes a quarter of an hour.
    pub(super) fn give_back<T>(
        &self,
        mut borrowed: Borrowed,
        result: Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        if result.as_ref().is_err_and(StoreError::means_another_server) {
            borrowed.place.lose();
        } else {
            // Dropped by itself, it goes back to where it came from.
            drop(borrowed.connection.take());
        }
        result
    }

    /// The server that does: the one in use, or the one that is found now.
    pub(super) async fn find(&self) -> Result<Arc<Place>, StoreError> {
        if self.0.is_closed.load(Ordering::Acquire) {
            return Err(sqlx::Error::PoolClosed.into());
        }
        if let Some(place) = self.good() {
            return Ok(place);
        }
        // Another one's search may be waited for, given up by that one, and begun again.
        within(2 * FIND_LIMIT, self.look()).await
    }

    /// How often the server has changed.
    pub(super) fn moves(&self) -> watch::Receiver<u64> {
        self.0.moves.subscribe()
    }

    /// All connections are closed, and no more are made.
    pub(super) async fn close(&self) {
        self.0.is_closed.store(true, Ordering::Release);
        let Some(place) = self.0.place.load_full() else { return };
        // What does not end by itself is cut off when the process ends.
        let _ = tokio::time::timeout(CLOSE_LIMIT, place.pool.close()).await;
    }

    fn good(&self) -> Option<Arc<Place>> {
        self.0.place.load_full().filter(|place| !place.is_lost.load(Ordering::Acquire))
    }

    /// One looks at a time; those who waited for it meanwhile take what it found.
    async fn look(&self) -> Result<Arc<Place>, StoreError> {
        let asked_at = Instant::now();
        let mut searched = self.0.search.lock().await;
        if let Some(place) = self.good() {
            return Ok(place);
        }
        if let Some(Searched { ended_at, failure: Some(failure) }) = &*searched
            && *ended_at >= asked_at
        {
            return Err(StoreError::NoServer(failure.clone()));
        }
        let found = search(&self.0.servers, self.0.wanted).await;
        *searched =
            Some(Searched { ended_at: Instant::now(), failure: found.as_ref().err().cloned() });
        let (server, timeline) = found.map_err(StoreError::NoServer)?;
        Ok(self.settle(server, timeline))
    }

    /// Uses a server from now on.
    fn settle(&self, server: Server, timeline: Option<String>) -> Arc<Place> {
        let pool = PgPoolOptions::new()
            .max_connections(MAX_CONNECTIONS)
            .acquire_timeout(ACQUIRE_LIMIT)
            .connect_lazy_with(server.options.clone());
        let place = Arc::new(Place {
            server,
            timeline,
            pool,
            borrowed: AtomicU32::new(0),
            is_lost: AtomicBool::new(false),
        });
        let before = self.0.place.swap(Some(place.clone()));
        let is_moved = before.as_ref().is_some_and(|before| !before.is_same(&place));
        if before.is_none() || is_moved {
            let names = self.0.servers.iter().map(|server| server.name.as_str());
            metrics::store_server(names, &place.server.name);
            tracing::info!(
                server = place.server.name,
                timeline = place.timeline,
                "the database is found"
            );
        }
        if is_moved {
            metrics::store_moved();
            self.0.moves.send_modify(|moves| *moves += 1);
        }
        if let Some(before) = before {
            // Those who still have a connection there finish, or fail.
            tokio::spawn(async move {
                let _ = tokio::time::timeout(CLOSE_LIMIT, before.pool.close()).await;
            });
        }
        place
    }
}

impl Borrowed {
    pub(super) fn connection(&mut self) -> &mut PgConnection {
        self.connection.as_mut().expect("it is there until it is given back")
    }
}

impl Drop for Borrowed {
    fn drop(&mut self) {
        self.place.borrowed.fetch_sub(1, Ordering::Relaxed);
        drop(self.connection.take().map(PoolConnection::detach));
    }
}

impl Place {
    pub(super) fn options(&self) -> &PgConnectOptions {
        &self.server.options
    }

    /// The next one who needs a connection looks again.
    pub(super) fn lose(&self) {
        self.is_lost.store(true, Ordering::Release);
    }

    /// The same server, and not promoted in between: what was written there is there.
    fn is_same(&self, other: &Self) -> bool {
        self.server.name == other.server.name && self.timeline == other.timeline
    }
}

/// Asks all servers at once. Of several that do, the one that was promoted last, else the first; the error says of
/// each why it does not.
async fn search(servers: &[Server], wanted: Wanted) -> Result<(Server, Option<String>), String> {
    let (tell, mut told) = mpsc::channel(servers.len().max(1) * 2);
    let mut asking = tokio::task::JoinSet::new();
    for (index, server) in servers.iter().cloned().enumerate() {
        let tell = tell.clone();
        asking.spawn(async move { keep_asking(&server, wanted, index, &tell).await });
    }
    drop(tell);
    let mut answers: Vec<Option<Answer>> = vec![None; servers.len()];
    let mut until = Instant::now() + FIND_LIMIT;
    while answers.iter().any(Option::is_none) {
        let Ok(Some((index, answer))) = timeout_at(until, told.recv()).await else { break };
        if matches!(answer, Answer::Good(_)) {
            until = until.min(Instant::now() + GRACE);
        }
        answers[index] = Some(answer);
    }
    choose(servers, answers)
}

fn choose(
    servers: &[Server],
    answers: Vec<Option<Answer>>,
) -> Result<(Server, Option<String>), String> {
    let mut good = Vec::new();
    let mut bad = Vec::new();
    for (server, answer) in servers.iter().zip(answers) {
        match answer {
            Some(Answer::Good(timeline)) => good.push((server.clone(), timeline)),
            Some(Answer::Bad(reason)) => bad.push(format!("{}: {reason}", server.name)),
            None => bad.push(format!("{}: no answer in {} s", server.name, FIND_LIMIT.as_secs())),
        }
    }
    if good.len() > 1 && good.iter().any(|(_, timeline)| *timeline != good[0].1) {
        let names: Vec<_> = good.iter().map(|(server, _)| server.name.as_str()).collect();
        tracing::warn!(?names, "several databases take writes; the one promoted last is used");
    }
    // Of equals the first: `max_by` gives the last.
    good.into_iter().rev().max_by(|one, other| one.1.cmp(&other.1)).ok_or_else(|| bad.join("; "))
}

/// Says what a server answers, and whenever it answers otherwise.
async fn keep_asking(
    server: &Server,
    wanted: Wanted,
    index: usize,
    tell: &mpsc::Sender<(usize, Answer)>,
) {
    let mut connection = match PgConnection::connect_with(&server.options).await {
        Ok(connection) => connection,
        Err(error) => {
            let _ = tell.send((index, Answer::Bad(error.to_string()))).await;
            return;
        }
    };
    let mut before = None;
    loop {
        let answer = ask(&mut connection, wanted).await;
        let is_final = !matches!(answer, Ok(Answer::Bad(_)));
        let answer = answer.unwrap_or_else(|error| Answer::Bad(error.to_string()));
        if before.as_ref() != Some(&answer) && tell.send((index, answer.clone())).await.is_err() {
            return;
        }
        if is_final {
            // Said goodbye to, so that the server logs no broken connection.
            let _ = connection.close().await;
            return;
        }
        before = Some(answer);
        tokio::time::sleep(ASK_AGAIN_AFTER).await;
    }
}

async fn ask(connection: &mut PgConnection, wanted: Wanted) -> Result<Answer, sqlx::Error> {
    let (is_standby, is_read_only, timeline): (bool, bool, Option<String>) =
        sqlx::query_as(ASK).fetch_one(connection).await?;
    Ok(match (wanted, is_standby, is_read_only) {
        (Wanted::Writable, true, _) => Answer::Bad("it is a standby".to_owned()),
        (Wanted::Writable, false, true) => Answer::Bad("it is set read only".to_owned()),
        (Wanted::Writable, false, false) | (Wanted::Any, _, _) => Answer::Good(timeline),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(answers: Vec<Option<Answer>>) -> Result<String, String> {
        let (servers, _) = address::servers("postgres://a,b,c/d").unwrap();
        choose(&servers, answers).map(|(server, _)| server.name)
    }

    fn good(timeline: &str) -> Option<Answer> {
        Some(Answer::Good(Some(timeline.to_owned())))
    }

    fn bad(reason: &str) -> Option<Answer> {
        Some(Answer::Bad(reason.to_owned()))
    }

    #[test]
    fn takes_the_one_that_does_wherever_it_stands() {
        let answers = vec![bad("it is a standby"), None, good("00000001")];
        assert_eq!(chosen(answers).as_deref(), Ok("c:5432"));
    }

    #[test]
    fn prefers_the_one_promoted_last_to_an_old_primary_that_came_back() {
        let answers = vec![good("00000009"), good("0000000A"), None];
        assert_eq!(chosen(answers).as_deref(), Ok("b:5432"));
        assert_eq!(chosen(vec![good("00000001"), good("00000001"), None]).as_deref(), Ok("a:5432"));
    }

    #[test]
    fn says_of_each_why_it_does_not() {
        let reason = chosen(vec![bad("refused"), bad("it is a standby"), None]).unwrap_err();
        assert_eq!(reason, "a:5432: refused; b:5432: it is a standby; c:5432: no answer in 4 s");
    }
}
