//! What our listeners reach.

use crate::carrier::Transport;

/// Transports and families of addresses for which there is a listener.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reach(u8);

impl Reach {
    /// Everything.
    pub const ALL: Self = Self(u8::MAX);

    /// With what a listener of this transport and family reaches.
    pub fn and(self, transport: Transport, is_ipv4: bool) -> Self {
        Self(self.0 | bit(transport, is_ipv4))
    }

    #[inline]
    pub fn includes(self, transport: Transport, is_ipv4: bool) -> bool {
        self.0 & bit(transport, is_ipv4) != 0
    }
}

#[inline]
fn bit(transport: Transport, is_ipv4: bool) -> u8 {
    let of_transport = match transport {
        Transport::Udp => 0,
        Transport::Tcp => 2,
        Transport::Tls => 4,
    };
    1 << (of_transport + u8::from(is_ipv4))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_transports_and_families_apart() {
        let all = Transport::ALL.iter().flat_map(|it| [(*it, true), (*it, false)]);
        for (transport, is_ipv4) in all.clone() {
            let reach = Reach::default().and(transport, is_ipv4);
            let reached =
                all.clone().filter(|(transport, is_ipv4)| reach.includes(*transport, *is_ipv4));
            assert_eq!(reached.collect::<Vec<_>>(), [(transport, is_ipv4)]);
            assert!(Reach::ALL.includes(transport, is_ipv4));
        }
    }
}
