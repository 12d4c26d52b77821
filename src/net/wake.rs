//! Waiting on several descriptors at once, and being woken from another thread.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

use smallvec::SmallVec;

/// Wakes a thread that waits in [`wait`]; any number of calls before it looks count as one.
#[derive(Debug)]
pub struct Waker {
    event: OwnedFd,
}

impl Waker {
    pub fn new() -> io::Result<Self> {
        // SAFETY: no pointers; the result is checked before it is owned.
        let event = unsafe { libc::eventfd(0, libc::EFD_NONBLOCK | libc::EFD_CLOEXEC) };
        if event < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: just opened, and owned by nobody else.
        Ok(Self { event: unsafe { OwnedFd::from_raw_fd(event) } })
    }

    pub fn wake(&self) {
        let one = 1_u64;
        // SAFETY: an eventfd takes eight octets. It can only fail when the counter is full, and
        // then whoever waits is awake already.
        unsafe { libc::write(self.event.as_raw_fd(), (&raw const one).cast(), 8) };
    }

    /// Makes [`wait`] wait again.
    pub fn clear(&self) {
        let mut count = 0_u64;
        // SAFETY: an eventfd gives eight octets, or nothing.
        unsafe { libc::read(self.event.as_raw_fd(), (&raw mut count).cast(), 8) };
    }
}

impl AsRawFd for Waker {
    fn as_raw_fd(&self) -> RawFd {
        self.event.as_raw_fd()
    }
}

/// What a wait has found out, by the descriptors' place; nothing where only the time was over.
#[derive(Debug, Default)]
pub struct Ready {
    polled: SmallVec<[libc::pollfd; 8]>,
}

impl Ready {
    /// Something can be read from it.
    pub fn is_readable(&self, at: usize) -> bool {
        self.has(at, libc::POLLIN)
    }

    /// Its error queue holds something.
    pub fn has_error(&self, at: usize) -> bool {
        self.has(at, libc::POLLERR)
    }

    fn has(&self, at: usize, event: libc::c_short) -> bool {
        self.polled.get(at).is_some_and(|polled| polled.revents & event != 0)
    }
}

/// Waits until one of the descriptors can be read or has an error, or the time is over (`None`: for ever).
pub fn wait(descriptors: &[RawFd], limit: Option<Duration>) -> io::Result<Ready> {
    let mut polled: SmallVec<[libc::pollfd; 8]> = descriptors
        .iter()
        .map(|fd| libc::pollfd { fd: *fd, events: libc::POLLIN, revents: 0 })
        .collect();
    let limit = limit.map(|limit| libc::timespec {
        tv_sec: libc::time_t::try_from(limit.as_secs()).unwrap_or(libc::time_t::MAX),
        tv_nsec: limit.subsec_nanos().into(),
    });
    let limit = limit.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
    // SAFETY: the array and its length belong together; the time-out is null or alive.
    let ready = unsafe {
        libc::ppoll(polled.as_mut_ptr(), polled.len() as libc::nfds_t, limit, std::ptr::null())
    };
    if ready >= 0 {
        return Ok(Ready { polled });
    }
    match io::Error::last_os_error() {
        error if error.kind() == io::ErrorKind::Interrupted => Ok(Ready::default()),
        error => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn wakes_at_once_when_woken_before_or_while_it_waits() {
        let waker = Waker::new().expect("an eventfd");
        waker.wake();
        waker.wake();
        let ready = wait(&[waker.as_raw_fd()], None).expect("woken");
        assert!(ready.is_readable(0) && !ready.has_error(0) && !ready.is_readable(1));
        waker.clear();
        let begun = Instant::now();
        let limit = Some(Duration::from_millis(20));
        let ready = wait(&[waker.as_raw_fd()], limit).expect("time is over");
        assert!(!ready.is_readable(0));
        assert!(begun.elapsed() >= Duration::from_millis(20));
        std::thread::scope(|scope| {
            scope.spawn(|| waker.wake());
            wait(&[waker.as_raw_fd()], None).expect("woken");
        });
    }
}
