//! Asks name servers.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig, ResolverOpts};
use hickory_resolver::lookup::Lookup;
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::{RData, RecordType};
use tokio::task::JoinSet;

use super::locate::{self, Found, MAX_SRV_RECORDS, Naptr, Question, Record};
use super::names::Answer;
use crate::carrier::Transport;

/// How long the look-ups for one question may take together, retries included.
pub(super) const LOOKUP_LIMIT: Duration = Duration::from_secs(10);
/// How long one name server may take for one of them, and how often it is asked.
const SERVER_LIMIT: Duration = Duration::from_secs(1);
const ATTEMPTS: usize = 2;
/// No TTL is longer.
const MAX_TTL: Duration = Duration::from_secs(86_400);

/// Asks the name servers of the settings, or of the system's configuration.
#[derive(Clone, Debug)]
pub struct Resolver {
    inner: Arc<TokioResolver>,
}

impl Resolver {
    /// Asks these name servers, or where there are none, those of `/etc/resolv.conf`. The error says what of that
    /// cannot be used.
    pub fn new(name_servers: &[SocketAddr]) -> Result<Self, String> {
        let build = || {
            let mut builder = match name_servers {
                [] => TokioResolver::builder_tokio()?,
                servers => {
                    let servers = servers.iter().map(name_server).collect();
                    let config = ResolverConfig::from_parts(None, Vec::new(), servers);
                    TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
                }
            };
            tune(builder.options_mut());
            builder.build()
        };
        match build() {
            Ok(resolver) => Ok(Self { inner: Arc::new(resolver) }),
            Err(error) => Err(error.to_string()),
        }
    }

    /// What a question's name stands for (RFC 3263 §4).
    pub async fn ask(&self, question: Question) -> Answer {
        let work = async {
            match question.service {
                None => self.addresses(&question.host).await.map_err(|error| error.to_string()),
                Some(transport) => self.services(&question.host, transport).await,
            }
        };
        let result = match tokio::time::timeout(LOOKUP_LIMIT, work).await {
            Ok(result) => result,
            Err(_) => Err(format!("no answer in {} s", LOOKUP_LIMIT.as_secs())),
        };
        Answer { question, result }
    }

    async fn addresses(&self, host: &str) -> Result<(Found, Duration), NetError> {
        let found = self.inner.lookup_ip(host).await?;
        Ok((Found::Addresses(found.iter().collect()), left(found.as_lookup())))
    }

    async fn services(
        &self,
        host: &str,
        transport: Transport,
    ) -> Result<(Found, Duration), String> {
        let root = format!("{}.", host.strip_suffix('.').unwrap_or(host));
        let naptr = self.records(&root, RecordType::NAPTR).await;
        let (known, naptr_ttl) = match &naptr {
            Ok((records, ttl)) => (records.iter().filter_map(naptr_of).collect(), *ttl),
            Err(_) => (Vec::new(), MAX_TTL),
        };
        let name = locate::service_name(host, transport, &known);
        let (records, srv_ttl) =
            self.records(&name, RecordType::SRV).await.map_err(|error| error.to_string())?;
        let mut records: Vec<Record> = records.iter().filter_map(record_of).collect();
        if records.is_empty() {
            // That there are no SRV records is only known where they were asked for by the right name.
            naptr.map_err(|error| error.to_string())?;
            // RFC 3263 §4.2: then its addresses.
            return self.addresses(host).await.map_err(|error| error.to_string());
        }
        records.sort();
        records.truncate(MAX_SRV_RECORDS);
        let (services, ttl) = self.with_addresses(records).await;
        Ok((Found::Services(services), ttl.min(srv_ttl).min(naptr_ttl)))
    }

    /// The addresses of the records' hosts, all asked for at once.
    async fn with_addresses(&self, records: Vec<Record>) -> (Vec<(Record, Vec<IpAddr>)>, Duration) {
        let mut asked = JoinSet::new();
        for record in records {
            let resolver = self.clone();
            asked.spawn(async move {
                let found = resolver.inner.lookup_ip(record.host.as_ref()).await;
                let ttl = found.as_ref().map_or(MAX_TTL, |found| left(found.as_lookup()));
                let addresses = found.map(|found| found.iter().collect()).unwrap_or_default();
                ((record, addresses), ttl)
            });
        }
        let (mut services, ttls): (Vec<_>, Vec<_>) = asked.join_all().await.into_iter().unzip();
        services.sort();
        (services, ttls.into_iter().min().unwrap_or(MAX_TTL))
    }

    /// Records of a name; that it has none is an answer as well.
    async fn records(
        &self,
        name: &str,
        record_type: RecordType,
    ) -> Result<(Vec<RData>, Duration), NetError> {
        match self.inner.lookup(name, record_type).await {
            Ok(found) => {
                let records = found.answers().iter().map(|record| record.data.clone());
                Ok((records.collect(), left(&found)))
            }
            Err(error) if error.is_no_records_found() => Ok((Vec::new(), MAX_TTL)),
            Err(error) => Err(error),
        }
    }
}

fn name_server(address: &SocketAddr) -> NameServerConfig {
    let mut connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()];
    connections.iter_mut().for_each(|connection| connection.port = address.port());
    NameServerConfig::new(address.ip(), true, connections.into())
}

fn tune(options: &mut ResolverOpts) {
    options.timeout = SERVER_LIMIT;
    options.attempts = ATTEMPTS;
    // We keep answers ourselves: a second memory would only make ours older than it looks.
    options.cache_size = 0;
}

fn left(lookup: &Lookup) -> Duration {
    lookup.valid_until().saturating_duration_since(Instant::now())
}

fn naptr_of(data: &RData) -> Option<Naptr> {
    let RData::NAPTR(naptr) = data else { return None };
    let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
    Some(Naptr {
        order: naptr.order,
        preference: naptr.preference,
        flags: text(&naptr.flags),
        services: text(&naptr.services),
        replacement: naptr.replacement.to_ascii(),
    })
}

fn record_of(data: &RData) -> Option<Record> {
    let RData::SRV(srv) = data else { return None };
    Some(Record {
        priority: srv.priority,
        weight: srv.weight,
        port: srv.port,
        host: srv.target.to_ascii().into(),
    })
}
