//! TCP sockets that wait for nobody.

use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};

use super::ClientCertificate;
use crate::carrier::Transport;

/// Connections that wait to be accepted, as far as the system has room for them.
const BACKLOG: i32 = 1_024;
/// A peer that acknowledges nothing for so long is gone; a ping is enough to find out.
const UNACKNOWLEDGED_LIMIT: Duration = Duration::from_secs(10);
/// When the system asks a silent peer whether it is there.
const KEEPALIVE_AFTER: Duration = Duration::from_secs(60);

/// A bound TCP port, and what is spoken on it.
#[derive(Debug)]
pub struct StreamListener {
    pub(super) socket: std::net::TcpListener,
    pub(super) local: SocketAddr,
    pub(super) transport: Transport,
    /// TLS: whether clients show who they are.
    pub(super) client_certificate: ClientCertificate,
}

impl StreamListener {
    /// Binds `address`; the last is for TLS only.
    pub fn bind(
        transport: Transport,
        address: SocketAddr,
        client_certificate: ClientCertificate,
    ) -> std::io::Result<Self> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        if address.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        // Connections of an earlier run that are not forgotten yet must not hold up a start.
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        let socket = std::net::TcpListener::from(socket);
        let local = socket.local_addr()?;
        Ok(Self { socket, local, transport, client_certificate })
    }

    pub fn local_address(&self) -> SocketAddr {
        self.local
    }
}

/// Begins to connect from one of our addresses, without waiting for it.
pub(super) fn begin_connect(local: IpAddr, remote: SocketAddr) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(remote), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    tune(&SockRef::from(&socket));
    if !local.is_unspecified() && local.is_ipv4() == remote.is_ipv4() {
        socket.bind(&SocketAddr::new(local, 0).into())?;
    }
    match socket.connect(&remote.into()) {
        Ok(()) => {}
        Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => {}
        Err(error) => return Err(error),
    }
    Ok(socket.into())
}

/// What a system does not know is no reason to do without a connection.
pub(super) fn tune(socket: &SockRef<'_>) {
    let _ = socket.set_tcp_nodelay(true);
    let _ = socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED_LIMIT));
    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE_AFTER);
    let _ = socket.set_tcp_keepalive(&keepalive);
}

/// Whoever has one IPv6 address has a /64.
pub(super) fn source_of(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64)),
    }
}

/// The peer was gone before it was accepted.
pub(super) fn is_of_the_peer(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::Interrupted)
        || error.raw_os_error() == Some(libc::EPROTO)
}
