//! A UDP socket that moves datagrams in batches and tells which peers cannot be reached.
//!
//! The only module with `unsafe`: `recvmmsg`, `sendmmsg` and the error queue have no safe binding
//! that keeps its buffers.

use std::io;
use std::mem::{MaybeUninit, size_of};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsRawFd, RawFd};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use socket2::{Domain, Protocol, Socket, Type};

/// Datagrams that one system call moves.
pub const BATCH: usize = 32;
/// The largest UDP payload.
const MAX_DATAGRAM_OCTETS: usize = 65_535;
/// Errors of earlier datagrams that one call sits out.
const MAX_PENDING_ERRORS: usize = 8;
/// `asm-generic/sockios.h`: when the last datagram came, as a `timespec`.
const SIOCGSTAMPNS: libc::Ioctl = 0x8907;
/// What we ask the kernel to buffer in each direction.
const BUFFER_OCTETS: usize = 8 * 1024 * 1024;

/// A bound, non-blocking socket.
#[derive(Debug)]
pub struct UdpSocket {
    socket: Socket,
    local: SocketAddr,
}

/// Room for one batch of received datagrams; reused for every call.
pub struct ReceiveBuffers {
    octets: Box<[u8]>,
}

impl std::fmt::Debug for ReceiveBuffers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ReceiveBuffers").finish_non_exhaustive()
    }
}

impl Default for ReceiveBuffers {
    fn default() -> Self {
        Self { octets: vec![0; BATCH * MAX_DATAGRAM_OCTETS].into() }
    }
}

impl UdpSocket {
    /// Binds `address`; with `is_shared` several sockets may have it, and the kernel spreads flows
    /// over them.
    pub fn bind(address: SocketAddr, is_shared: bool) -> io::Result<Self> {
        let domain = Domain::for_address(address);
        let socket = Socket::new(domain, Type::DGRAM, Some(Protocol::UDP))?;
        if address.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        socket.set_reuse_port(is_shared)?;
        socket.set_nonblocking(true)?;
        // The kernel caps both at its own limits; smaller buffers are no reason not to start.
        let _ = socket.set_recv_buffer_size(BUFFER_OCTETS);
        let _ = socket.set_send_buffer_size(BUFFER_OCTETS);
        enable_error_queue(&socket, address)?;
        socket.bind(&address.into())?;
        let local = socket.local_addr()?.as_socket().ok_or(io::ErrorKind::AddrNotAvailable)?;
        Ok(Self { socket, local })
    }

    pub fn local_address(&self) -> SocketAddr {
        self.local
    }

    /// Receives what is there, up to [`BATCH`] datagrams; gives their number, 0 when none is.
    pub fn receive(
        &self,
        buffers: &mut ReceiveBuffers,
        mut take: impl FnMut(SocketAddr, &[u8]),
    ) -> io::Result<usize> {
        let mut addresses = [const { MaybeUninit::<libc::sockaddr_storage>::zeroed() }; BATCH];
        let mut slices = [libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 }; BATCH];
        // SAFETY: all-zero is a valid `mmsghdr`: null pointers and zero lengths.
        let mut headers: [libc::mmsghdr; BATCH] = unsafe { std::mem::zeroed() };
        let chunks = buffers.octets.chunks_exact_mut(MAX_DATAGRAM_OCTETS);
        for (index, chunk) in chunks.enumerate() {
            slices[index] =
                libc::iovec { iov_base: chunk.as_mut_ptr().cast(), iov_len: chunk.len() };
            let header = &mut headers[index].msg_hdr;
            header.msg_name = addresses[index].as_mut_ptr().cast();
            header.msg_namelen = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
            header.msg_iov = &raw mut slices[index];
            header.msg_iovlen = 1;
        }
        // SAFETY: every header points to its own address, slice and chunk, all of which live until
        // the call returns; the count is the arrays' length.
        let received = unsafe {
            libc::recvmmsg(
                self.fd(),
                headers.as_mut_ptr(),
                BATCH as libc::c_uint,
                libc::MSG_DONTWAIT,
                std::ptr::null_mut(),
            )
        };
        let received = match usize::try_from(received) {
            Ok(received) => received,
            Err(_) => return nothing_or(io::Error::last_os_error()),
        };
        let chunks = buffers.octets.chunks_exact(MAX_DATAGRAM_OCTETS);
        for ((header, address), chunk) in headers.iter().zip(&addresses).zip(chunks).take(received)
        {
            // SAFETY: zeroed at first and written by the kernel since: initialised either way.
            let address = unsafe { address.assume_init_ref() };
            if let Some(address) = to_socket_address(address) {
                take(address, &chunk[..(header.msg_len as usize).min(chunk.len())]);
            }
        }
        Ok(received)
    }

    /// How long the last datagram that was received had waited in the kernel at `wall`; none where that is not known:
    /// the first call has the kernel note it from then on (socket(7), `SIOCGSTAMP`).
    pub fn delay_of_last(&self, wall: SystemTime) -> Duration {
        let mut stamp = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: the call writes one `timespec`, which lives until it returns.
        let result = unsafe { libc::ioctl(self.fd(), SIOCGSTAMPNS, &raw mut stamp) };
        let since_epoch = u64::try_from(stamp.tv_sec).ok().zip(u32::try_from(stamp.tv_nsec).ok());
        let Some((seconds, nanoseconds)) = since_epoch.filter(|_| result == 0) else {
            return Duration::ZERO;
        };
        let arrived = SystemTime::UNIX_EPOCH + Duration::new(seconds, nanoseconds);
        wall.duration_since(arrived).unwrap_or_default()
    }

    /// Sends datagrams in order; gives how many the kernel took. Fewer than given: it is full for now.
    ///
    /// An ICMP error that has come for an earlier datagram fails the call that meets it, whatever that
    /// sends: it is tried again, so that peers that went away hold nobody else up.
    pub fn send(&self, datagrams: &[(SocketAddr, Bytes)]) -> io::Result<usize> {
        for _ in 0..MAX_PENDING_ERRORS {
            match self.send_once(datagrams) {
                Err(error) if is_about_another(&error) => {}
                result => return result.or_else(nothing_or),
            }
        }
        Ok(0)
    }

    fn send_once(&self, datagrams: &[(SocketAddr, Bytes)]) -> io::Result<usize> {
        let datagrams = &datagrams[..datagrams.len().min(BATCH)];
        let mut addresses: [MaybeUninit<socket2::SockAddr>; BATCH] =
            [const { MaybeUninit::uninit() }; BATCH];
        let mut slices = [libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 }; BATCH];
        // SAFETY: all-zero is a valid `mmsghdr`: null pointers and zero lengths.
        let mut headers: [libc::mmsghdr; BATCH] = unsafe { std::mem::zeroed() };
        for (index, (address, octets)) in datagrams.iter().enumerate() {
            let address = addresses[index].write((*address).into());
            slices[index] =
                libc::iovec { iov_base: octets.as_ptr().cast_mut().cast(), iov_len: octets.len() };
            let header = &mut headers[index].msg_hdr;
            header.msg_name = address.as_ptr().cast_mut().cast();
            header.msg_namelen = address.len();
            header.msg_iov = &raw mut slices[index];
            header.msg_iovlen = 1;
        }
        // SAFETY: the first `datagrams.len()` headers point to addresses and octets that live until
        // the call returns; the kernel only reads them. `SockAddr` needs no drop.
        let sent = unsafe {
            libc::sendmmsg(
                self.fd(),
                headers.as_mut_ptr(),
                datagrams.len() as libc::c_uint,
                libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL,
            )
        };
        usize::try_from(sent).map_err(|_| io::Error::last_os_error())
    }

    /// Datagrams that the kernel has dropped so far because the receive buffer was full.
    pub fn overflowed(&self) -> u64 {
        const SK_MEMINFO_DROPS: usize = 8;
        let mut values = [0_u32; SK_MEMINFO_DROPS + 1];
        let mut len = size_of_val(&values) as libc::socklen_t;
        // SAFETY: the array and its length belong together; the kernel writes no more than that.
        let result = unsafe {
            libc::getsockopt(
                self.fd(),
                libc::SOL_SOCKET,
                libc::SO_MEMINFO,
                values.as_mut_ptr().cast(),
                &raw mut len,
            )
        };
        if result == 0 { values[SK_MEMINFO_DROPS].into() } else { 0 }
    }

    /// The next peer that the network says cannot be reached; `None` when it says no more.
    pub fn take_unreachable(&self) -> Option<SocketAddr> {
        let mut address = MaybeUninit::<libc::sockaddr_storage>::zeroed();
        let mut octets = [0_u8; 64];
        let mut control = [0_u64; 64];
        let mut slice = libc::iovec { iov_base: octets.as_mut_ptr().cast(), iov_len: octets.len() };
        // SAFETY: all-zero is a valid `msghdr`.
        let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
        header.msg_name = address.as_mut_ptr().cast();
        header.msg_namelen = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
        header.msg_iov = &raw mut slice;
        header.msg_iovlen = 1;
        header.msg_control = control.as_mut_ptr().cast();
        header.msg_controllen = size_of_val(&control);
        // SAFETY: the header points to buffers of the lengths it names, alive until the call returns.
        let read = unsafe {
            libc::recvmsg(self.fd(), &raw mut header, libc::MSG_ERRQUEUE | libc::MSG_DONTWAIT)
        };
        if read < 0 {
            return None;
        }
        // SAFETY: zeroed at first and written by the kernel since: initialised either way.
        to_socket_address(unsafe { address.assume_init_ref() })
    }
}

impl AsRawFd for UdpSocket {
    fn as_raw_fd(&self) -> RawFd {
        self.fd()
    }
}

impl UdpSocket {
    fn fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

/// Has ICMP errors kept with the address they are about (ip(7), `IP_RECVERR`).
fn enable_error_queue(socket: &Socket, address: SocketAddr) -> io::Result<()> {
    let (level, name) = match address {
        SocketAddr::V4(_) => (libc::IPPROTO_IP, libc::IP_RECVERR),
        SocketAddr::V6(_) => (libc::IPPROTO_IPV6, libc::IPV6_RECVERR),
    };
    let on: libc::c_int = 1;
    // SAFETY: the option's value is one `c_int`, and its length is given.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            name,
            (&raw const on).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// A full or empty queue is no error; nor is an ICMP error of some earlier datagram, which the
/// error queue tells of.
fn nothing_or(error: io::Error) -> io::Result<usize> {
    match error.raw_os_error() {
        Some(
            libc::EAGAIN
            | libc::EINTR
            | libc::ECONNREFUSED
            | libc::EHOSTUNREACH
            | libc::ENETUNREACH
            | libc::EHOSTDOWN
            | libc::ENOBUFS,
        ) => Ok(0),
        _ => Err(error),
    }
}

/// An unreachable port is only ever reported of a datagram that has left.
fn is_about_another(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::ECONNREFUSED)
}

fn to_socket_address(storage: &libc::sockaddr_storage) -> Option<SocketAddr> {
    match i32::from(storage.ss_family) {
        libc::AF_INET => {
            // SAFETY: the family says that the storage holds a `sockaddr_in`, which is smaller.
            let v4 = unsafe { &*(&raw const *storage).cast::<libc::sockaddr_in>() };
            let address = Ipv4Addr::from(u32::from_be(v4.sin_addr.s_addr));
            Some(SocketAddr::new(IpAddr::V4(address), u16::from_be(v4.sin_port)))
        }
        libc::AF_INET6 => {
            // SAFETY: the family says that the storage holds a `sockaddr_in6`, which is smaller.
            let v6 = unsafe { &*(&raw const *storage).cast::<libc::sockaddr_in6>() };
            let address = Ipv6Addr::from(v6.sin6_addr.s6_addr);
            Some(SocketAddr::new(IpAddr::V6(address), u16::from_be(v6.sin6_port)))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn tells_how_long_the_last_datagram_has_waited() {
        let (here, there) = (bind("127.0.0.1:0"), bind("127.0.0.1:0"));
        there.delay_of_last(SystemTime::now());
        // The kernel begins to note times a little later.
        std::thread::sleep(Duration::from_millis(100));
        let datagram = [(there.local_address(), Bytes::from_static(b"late"))];
        here.send(&datagram).expect("loopback takes it");
        std::thread::sleep(Duration::from_millis(30));
        receive(&there, 1);
        let delay = there.delay_of_last(SystemTime::now());
        assert!(delay >= Duration::from_millis(30), "{delay:?}");
        assert!(delay < Duration::from_secs(10), "{delay:?}");
    }

    #[test]
    fn moves_more_datagrams_than_one_batch_in_order_over_both_families() {
        for local in ["127.0.0.1:0", "[::1]:0"] {
            let (here, there) = (bind(local), bind(local));
            let count = 3 * BATCH + 5;
            let datagrams: Vec<(SocketAddr, Bytes)> = (0..count)
                .map(|n| (there.local_address(), Bytes::from(format!("datagram {n}"))))
                .collect();
            let mut sent = 0;
            while sent < count {
                sent += here.send(&datagrams[sent..]).expect("loopback takes it");
            }
            let received = receive(&there, count);
            let expected: Vec<_> = datagrams
                .iter()
                .map(|(_, octets)| (here.local_address(), octets.to_vec()))
                .collect();
            assert_eq!(received, expected);
        }
    }

    #[test]
    fn receives_the_largest_datagram_whole() {
        let (here, there) = (bind("127.0.0.1:0"), bind("127.0.0.1:0"));
        let octets = Bytes::from(vec![7; 65_507]);
        assert_eq!(here.send(&[(there.local_address(), octets.clone())]).expect("sent"), 1);
        assert_eq!(receive(&there, 1), [(here.local_address(), octets.to_vec())]);
    }

    #[test]
    fn names_the_peer_whose_port_is_closed_and_goes_on() {
        let here = bind("127.0.0.1:0");
        let closed = bind("127.0.0.1:0").local_address();
        let open = bind("127.0.0.1:0");
        here.send(&[(closed, Bytes::from_static(b"x"))]).expect("sent");
        let limit = Instant::now() + Duration::from_secs(5);
        let unreachable = loop {
            if let Some(address) = here.take_unreachable() {
                break address;
            }
            assert!(Instant::now() < limit, "no ICMP error in 5 s");
        };
        assert_eq!(unreachable, closed);
        while here.send(&[(open.local_address(), Bytes::from_static(b"y"))]).expect("sent") == 0 {}
        assert_eq!(receive(&open, 1).len(), 1);
    }

    #[test]
    fn says_that_nothing_is_there_without_waiting() {
        let here = bind("127.0.0.1:0");
        let received =
            here.receive(&mut ReceiveBuffers::default(), |_, _| panic!("nothing was sent"));
        assert_eq!(received.expect("no error"), 0);
    }

    fn bind(local: &str) -> UdpSocket {
        UdpSocket::bind(local.parse().expect("an address"), false).expect("loopback can be bound")
    }

    fn receive(socket: &UdpSocket, count: usize) -> Vec<(SocketAddr, Vec<u8>)> {
        let mut buffers = ReceiveBuffers::default();
        let mut received = Vec::new();
        let limit = Instant::now() + Duration::from_secs(5);
        while received.len() < count {
            let take = |from, octets: &[u8]| received.push((from, octets.to_vec()));
            socket.receive(&mut buffers, take).expect("no error");
            assert!(Instant::now() < limit, "datagrams are missing");
        }
        received
    }
}
