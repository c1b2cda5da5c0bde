//! Servers that DNS names: SRV records (RFC 2782), as RFC 4511 and Active Directory use them.

use std::cmp::Reverse;
use std::net::SocketAddr;
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{NameServerConfig, ResolverConfig};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::RData;
use hickory_resolver::proto::rr::rdata::SRV;
use tokio::time::timeout;
use url::Url;

use super::DirectoryError;
use super::connect::waited;
use crate::config::Discovery;

/// The DNS client for a discovery: with the configured server, else with those of the system.
pub(super) fn resolver(discovery: &Discovery) -> Result<TokioResolver, DirectoryError> {
    let builder = match discovery.dns_server {
        None => TokioResolver::builder_tokio(),
        Some(address) => {
            let mut server = NameServerConfig::udp_and_tcp(address.ip());
            for connection in &mut server.connections {
                connection.port = address.port();
            }
            let config = ResolverConfig::from_name_servers(vec![server]);
            let runtime = TokioRuntimeProvider::default();
            Ok(TokioResolver::builder_with_config(config, runtime))
        }
    };
    builder
        .and_then(|builder| builder.build())
        .map_err(|error| unknown(discovery, error.to_string()))
}

/// The servers in the order in which they are to be tried.
pub(super) async fn servers(
    discovery: &Discovery,
    resolver: &TokioResolver,
    wait: Duration,
) -> Result<Vec<Url>, DirectoryError> {
    // With the dot at its end the name is whole.
    let name = format!("{}.", discovery.record.trim_end_matches('.'));
    let found = timeout(wait, resolver.srv_lookup(name))
        .await
        .map_err(|_| unknown(discovery, waited(wait)))?
        .map_err(|error| unknown(discovery, in_words(&error)))?;
    let records = found
        .answers()
        .iter()
        .filter_map(|record| match &record.data {
            RData::SRV(service) => Some(service.clone()),
            _ => None,
        });
    let mut urls = Vec::new();
    for service in in_order(records.collect(), &mut fastrand::Rng::new()) {
        // The root as target says that there is no such service.
        if service.target.is_root() {
            continue;
        }
        let host = service.target.to_ascii();
        let host = host.trim_end_matches('.');
        let url = format!("{}://{host}:{}", discovery.scheme(), service.port);
        let url =
            Url::parse(&url).map_err(|error| unknown(discovery, format!("{url}: {error}")))?;
        urls.push(url);
    }
    if urls.is_empty() {
        return Err(unknown(discovery, "it names no server".to_owned()));
    }
    Ok(urls)
}

/// The addresses of a host.
pub(super) async fn addresses(
    resolver: &TokioResolver,
    host: &str,
    port: u16,
) -> Result<Vec<SocketAddr>, String> {
    let found = resolver
        .lookup_ip(format!("{}.", host.trim_end_matches('.')))
        .await
        .map_err(|error| format!("the address of {host}: {}", in_words(&error)))?;
    Ok(found.iter().map(|ip| SocketAddr::new(ip, port)).collect())
}

fn unknown(discovery: &Discovery, why: String) -> DirectoryError {
    DirectoryError::Discovery {
        record: discovery.record.clone(),
        why,
    }
}

fn in_words(error: &NetError) -> String {
    if error.is_no_records_found() || error.is_nx_domain() {
        return "there is no such record".to_owned();
    }
    match error {
        NetError::Timeout => "the DNS server does not answer".to_owned(),
        other => other.to_string(),
    }
}

/// The lowest priority first; among those of one priority at random, by their weights (RFC 2782,
/// "Weight").
fn in_order(mut records: Vec<SRV>, random: &mut fastrand::Rng) -> Vec<SRV> {
    // Those without weight stand in front, so that they too may be drawn.
    records.sort_by_key(|record| (Reverse(record.priority), record.weight));
    let mut ordered = Vec::with_capacity(records.len());
    while let Some(priority) = records.last().map(|record| record.priority) {
        let start = records.partition_point(|record| record.priority > priority);
        let group = &records[start..];
        let sum: u32 = group.iter().map(|record| u32::from(record.weight)).sum();
        let drawn = random.u32(0..=sum);
        let mut running = 0;
        let at = group.iter().position(|record| {
            running += u32::from(record.weight);
            running >= drawn
        });
        ordered.push(records.remove(start + at.unwrap_or_default()));
    }
    ordered
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use hickory_resolver::proto::rr::Name;

    #[test]
    fn servers_are_ordered_by_priority_and_then_by_weight() {
        let record = |priority, weight, target: &str| {
            SRV::new(priority, weight, 389, Name::from_ascii(target).unwrap())
        };
        let records = [
            record(20, 0, "last."),
            record(10, 1, "light."),
            record(10, 0, "none."),
            record(0, 5, "first."),
            record(10, 9, "heavy."),
        ];
        let mut random = fastrand::Rng::with_seed(7);
        let mut seconds = std::collections::BTreeMap::new();
        for _ in 0..1000 {
            let ordered = in_order(records.to_vec(), &mut random);
            let names: Vec<String> = ordered.iter().map(|one| one.target.to_ascii()).collect();
            assert_eq!(names.len(), records.len());
            assert_eq!(names[0], "first.");
            assert_eq!(names[4], "last.");
            *seconds.entry(names[1].clone()).or_insert(0) += 1;
        }
        // Of the numbers from 0 to 10 one draws "none.", one "light." and nine "heavy.".
        let share = |name: &str| seconds[name];
        assert!((740..900).contains(&share("heavy.")), "{seconds:?}");
        assert!((50..140).contains(&share("light.")), "{seconds:?}");
        assert!((50..140).contains(&share("none.")), "{seconds:?}");
    }
}
