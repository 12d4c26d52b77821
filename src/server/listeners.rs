//! The sockets of all shards.

use std::io;

use super::settings::ListenerSettings;
use crate::engine::Listener;
use crate::net::udp::UdpSocket;

/// What the shards listen on.
#[derive(Debug)]
pub(super) struct Bound {
    /// As the engines know them; a port 0 has become the port that the system chose.
    pub(super) listeners: Vec<Listener>,
    /// For each shard its sockets, in the order of the listeners.
    pub(super) sockets: Vec<Vec<UdpSocket>>,
}

/// Binds every listener once for each shard: the kernel spreads the peers over them.
pub(super) fn bind(settings: &[ListenerSettings], shards: usize) -> io::Result<Bound> {
    let mut bound = Bound { listeners: Vec::new(), sockets: Vec::new() };
    bound.sockets.resize_with(shards, Vec::new);
    for wanted in settings {
        let mut address = wanted.address;
        for sockets in &mut bound.sockets {
            let socket = UdpSocket::bind(address, shards > 1).map_err(|error| {
                let message = format!("cannot listen on {}:{address}: {error}", wanted.transport);
                io::Error::new(error.kind(), message)
            })?;
            address = socket.local_address();
            sockets.push(socket);
        }
        let advertised = match wanted.advertised.strip_suffix(":0") {
            Some(host) => format!("{host}:{}", address.port()),
            None => wanted.advertised.clone(),
        };
        let transport = wanted.transport;
        bound.listeners.push(Listener { transport, address, advertised: advertised.into() });
    }
    Ok(bound)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::carrier::Transport;

    #[test]
    fn binds_one_socket_a_shard_to_one_address_and_tells_the_port_it_got() {
        let wanted = ListenerSettings {
            transport: Transport::Udp,
            address: "127.0.0.1:0".parse().expect("an address"),
            advertised: "127.0.0.1:0".to_owned(),
        };
        let bound = bind(&[wanted], 3).expect("loopback can be bound");
        let port = bound.listeners[0].address.port();
        assert_ne!(port, 0);
        assert_eq!(&*bound.listeners[0].advertised, format!("127.0.0.1:{port}"));
        let ports = bound.sockets.iter().map(|sockets| sockets[0].local_address().port());
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
        };
        let error = bind(&[wanted], 1).expect_err("taken");
        assert!(error.to_string().contains(&format!("cannot listen on udp:{address}")), "{error}");
    }
}
