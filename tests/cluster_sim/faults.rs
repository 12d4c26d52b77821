//! What goes wrong in a world, and when.

use super::cx::{Cx, Event, MS, S, name};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing is left of it but its spool.
    Crash {
        node: usize,
    },
    /// The same name comes up again.
    Restart {
        node: usize,
    },
    /// Nothing runs, and everything that comes waits in its sockets.
    Freeze {
        node: usize,
        for_us: u64,
    },
    CutFromStore {
        node: usize,
        for_us: u64,
    },
    CutNodes {
        nodes: (usize, usize),
        for_us: u64,
    },
    CutFromPeers {
        node: usize,
        for_us: u64,
    },
    /// Statements wait.
    Stall {
        for_us: u64,
    },
    /// Statements fail.
    Outage {
        for_us: u64,
    },
    Drain {
        node: usize,
    },
}

impl Fault {
    /// How long until it is over.
    pub fn lasts(self) -> Option<u64> {
        match self {
            Self::Freeze { for_us, .. }
            | Self::CutFromStore { for_us, .. }
            | Self::CutNodes { for_us, .. }
            | Self::CutFromPeers { for_us, .. }
            | Self::Stall { for_us }
            | Self::Outage { for_us } => Some(for_us),
            Self::Crash { .. } | Self::Restart { .. } | Self::Drain { .. } => None,
        }
    }

    pub fn text(self) -> String {
        let time = |us: u64| format!("for {:.1} s", us as f64 / 1e6);
        match self {
            Self::Crash { node } => format!("{} dies", name(node)),
            Self::Restart { node } => format!("{} starts again", name(node)),
            Self::Freeze { node, for_us } => format!("{} freezes {}", name(node), time(for_us)),
            Self::CutFromStore { node, for_us } => {
                format!("{} is cut from the store {}", name(node), time(for_us))
            }
            Self::CutNodes { nodes: (one, other), for_us } => {
                format!("{} and {} are cut {}", name(one), name(other), time(for_us))
            }
            Self::CutFromPeers { node, for_us } => {
                format!("{} is cut from its peers {}", name(node), time(for_us))
            }
            Self::Stall { for_us } => format!("the store stalls {}", time(for_us)),
            Self::Outage { for_us } => format!("the store is away {}", time(for_us)),
            Self::Drain { node } => format!("{} drains", name(node)),
        }
    }
}

/// Up to three of them. One node is always spared what would end it.
pub fn draw(cx: &mut Cx, nodes: usize) {
    let spared = cx.random.below(nodes as u64) as usize;
    let mut ended = vec![false; nodes];
    let count = 1 + cx.random.below(3);
    for _ in 0..count {
        let at = cx.between_ms(800, 30_000);
        let node = cx.random.below(nodes as u64) as usize;
        let other = (node + 1 + cx.random.below(nodes as u64 - 1) as usize) % nodes;
        let mut for_us = cx.between_ms(500, 8_000);
        let may_end = node != spared && !ended[node];
        let fault = match cx.random.below(12) {
            0..3 if may_end => {
                ended[node] = true;
                Fault::Crash { node }
            }
            3..5 if may_end => {
                ended[node] = true;
                let again = at + cx.between_ms(100, 6_000);
                cx.at(again, Event::Fault(Fault::Restart { node }));
                Fault::Crash { node }
            }
            11 if may_end => {
                ended[node] = true;
                Fault::Drain { node }
            }
            0..3 | 5..7 => {
                for_us = cx.between_ms(500, 10_000);
                Fault::Freeze { node, for_us }
            }
            7 => Fault::CutFromStore { node, for_us },
            8 => Fault::CutNodes { nodes: (node, other), for_us },
            9 => Fault::CutFromPeers { node, for_us: for_us.min(3 * S) },
            10 => Fault::Stall { for_us: for_us.clamp(100 * MS, 4 * S) },
            _ => Fault::Outage { for_us },
        };
        cx.at(at, Event::Fault(fault));
    }
}
