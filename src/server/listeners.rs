//! The sockets of all shards, and those of the hub.

use std::io;

use super::settings::ListenerSettings;
use crate::carrier::Transport;
use crate::engine::{Listener, ListenerId};
use crate::net::stream::StreamListener;
use crate::net::udp::UdpSocket;

/// What this node listens on.
#[derive(Debug)]
pub(super) struct Bound {
    /// As the engines know them; a port 0 has become the port that the system chose.
    pub(super) listeners: Vec<Listener>,
    /// For each shard its UDP sockets.
    pub(super) sockets: Vec<Vec<(ListenerId, UdpSocket)>>,
    /// TCP and TLS.
    pub(super) streams: Vec<(ListenerId, StreamListener)>,
}

/// Binds every UDP listener once for each shard: the kernel spreads the peers over them. TCP and TLS ones are bound
/// once.
pub(super) fn bind(settings: &[ListenerSettings], shards: usize) -> io::Result<Bound> {
    let mut bound = Bound { listeners: Vec::new(), sockets: Vec::new(), streams: Vec::new() };
    bound.sockets.resize_with(shards, Vec::new);
    for (id, wanted) in (0..).map(ListenerId).zip(settings) {
        let (transport, mut address) = (wanted.transport, wanted.address);
        let named = |error: io::Error, address| {
            let message = format!("cannot listen on {transport}:{address}: {error}");
            io::Error::new(error.kind(), message)
        };
        match transport {
            Transport::Udp => {
                for sockets in &mut bound.sockets {
                    let socket = UdpSocket::bind(address, shards > 1)
                        .map_err(|error| named(error, address))?;
                    address = socket.local_address();
                    sockets.push((id, socket));
                }
            }
            Transport::Tcp | Transport::Tls => {
                let listener = StreamListener::bind(transport, address, wanted.client_certificate)
                    .map_err(|error| named(error, address))?;
                address = listener.local_address();
                bound.streams.push((id, listener));
            }
        }
        let advertised = match wanted.advertised.strip_suffix(":0") {
            Some(host) => format!("{host}:{}", address.port()),
            None => wanted.advertised.clone(),
        };
        bound.listeners.push(Listener { transport, address, advertised: advertised.into() });
    }
    Ok(bound)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::stream::ClientCertificate;

    #[test]
    fn binds_one_socket_a_shard_to_one_address_and_tells_the_port_it_got() {
        let wanted = ListenerSettings {
            transport: Transport::Udp,
            address: "127.0.0.1:0".parse().expect("an address"),
            advertised: "127.0.0.1:0".to_owned(),
            client_certificate: ClientCertificate::Unasked,
        };
        let bound = bind(&[wanted], 3).expect("loopback can be bound");
        let port = bound.listeners[0].address.port();
        assert_ne!(port, 0);
        assert_eq!(&*bound.listeners[0].advertised, format!("127.0.0.1:{port}"));
        let ports = bound.sockets.iter().map(|sockets| sockets[0].1.local_address().port());
        assert_eq!(ports.collect::<Vec<_>>(), [port; 3]);
    }

    #[test]
    fn says_which_address_is_taken() {
        let taken = std::net::UdpSocket::bind("127.0.0.1:0").expect("loopback can be bound");
        let address = taken.local_addr().expect("bound");
        let wanted = ListenerSettings {
            transport: Transport::Udp,
            address,
            advertised: address.to_string(),
            client_certificate: ClientCertificate::Unasked,
        };
        let error = bind(&[wanted], 1).expect_err("taken");
        assert!(error.to_string().contains(&format!("cannot listen on udp:{address}")), "{error}");
    }
}
