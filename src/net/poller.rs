//! Waiting on many descriptors (epoll(7), level-triggered).

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

/// Events taken in one wait; what is left comes with the next.
const EVENTS: usize = 256;

/// Descriptors, each under a number of its owner's, and what is waited for of each.
#[derive(Debug)]
pub struct Poller {
    epoll: OwnedFd,
}

/// What is waited for of a descriptor; errors and the peer's end are always told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Interest {
    pub read: bool,
    pub write: bool,
}

/// What a wait has found out about one descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    pub token: u64,
    /// Something can be read, or reading will say how it ended.
    pub is_readable: bool,
    /// Something can be written, or writing will say how it ended.
    pub is_writable: bool,
}

impl Poller {
    pub fn new() -> io::Result<Self> {
        // SAFETY: no pointers; the result is checked before it is owned.
        let epoll = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
        if epoll < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: just opened, and owned by nobody else.
        Ok(Self { epoll: unsafe { OwnedFd::from_raw_fd(epoll) } })
    }

    /// Watches a descriptor; closing it ends that.
    pub fn add(&self, of: &impl AsRawFd, token: u64, interest: Interest) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_ADD, of.as_raw_fd(), token, interest)
    }

    pub fn change(&self, of: &impl AsRawFd, token: u64, interest: Interest) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_MOD, of.as_raw_fd(), token, interest)
    }

    /// Waits until something has happened or the time is over; gives what there is in `events`.
    pub fn wait(&self, events: &mut Vec<Event>, limit: Duration) -> io::Result<()> {
        events.clear();
        let mut polled = [libc::epoll_event { events: 0, u64: 0 }; EVENTS];
        // Rounded up: a wait that ends before its time would be begun again at once.
        let limit_ms = limit.as_micros().div_ceil(1_000);
        // SAFETY: the array and its length belong together and live until the call returns.
        let count = unsafe {
            libc::epoll_wait(
                self.epoll.as_raw_fd(),
                polled.as_mut_ptr(),
                EVENTS as libc::c_int,
                libc::c_int::try_from(limit_ms).unwrap_or(libc::c_int::MAX),
            )
        };
        let Ok(count) = usize::try_from(count) else {
            return match io::Error::last_os_error() {
                error if error.kind() == io::ErrorKind::Interrupted => Ok(()),
                error => Err(error),
            };
        };
        events.extend(polled.iter().take(count).map(|polled| {
            let (flags, token) = (polled.events, polled.u64);
            let has = |flag: libc::c_int| flags & flag.cast_unsigned() != 0;
            let is_over = has(libc::EPOLLERR) || has(libc::EPOLLHUP);
            Event {
                token,
                is_readable: has(libc::EPOLLIN) || has(libc::EPOLLRDHUP) || is_over,
                is_writable: has(libc::EPOLLOUT) || is_over,
            }
        }));
        Ok(())
    }

    fn control(
        &self,
        operation: libc::c_int,
        of: RawFd,
        token: u64,
        interest: Interest,
    ) -> io::Result<()> {
        let flag = |wanted: bool, flag: libc::c_int| if wanted { flag.cast_unsigned() } else { 0 };
        let mut event = libc::epoll_event {
            events: flag(interest.read, libc::EPOLLIN | libc::EPOLLRDHUP)
                | flag(interest.write, libc::EPOLLOUT),
            u64: token,
        };
        // SAFETY: the event lives until the call returns; a stale descriptor is an error, no harm.
        let result =
            unsafe { libc::epoll_ctl(self.epoll.as_raw_fd(), operation, of, &raw mut event) };
        if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn tells_of_each_descriptor_what_was_asked_for_and_of_its_end() {
        let (poller, mut events) = (Poller::new().expect("an epoll"), Vec::new());
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback can be bound");
        let address = listener.local_addr().expect("bound");
        let mut there = TcpStream::connect(address).expect("it listens");
        let here = listener.accept().expect("connected").0;
        poller.add(&here, 7, Interest { read: true, write: false }).expect("added");
        poller.wait(&mut events, Duration::ZERO).expect("no wait");
        assert_eq!(events, []);
        there.write_all(b"x").expect("written");
        poller.wait(&mut events, Duration::from_secs(5)).expect("it comes");
        assert_eq!(events, [Event { token: 7, is_readable: true, is_writable: false }]);
        poller.change(&here, 7, Interest { read: false, write: true }).expect("changed");
        poller.wait(&mut events, Duration::from_secs(5)).expect("there is room");
        assert_eq!(events, [Event { token: 7, is_readable: false, is_writable: true }]);
        poller.change(&here, 7, Interest::default()).expect("changed");
        poller.wait(&mut events, Duration::ZERO).expect("no wait");
        assert_eq!(events, []);
    }
}
