//! What the demo shows while it runs: a table that redraws itself on a terminal, plain lines elsewhere.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use super::tally::Tally;
use crate::cli::agents::Behaviour;

/// One carrier's line.
#[derive(Clone, Debug)]
pub(super) struct Line {
    pub(super) name: &'static str,
    pub(super) behaviour: Behaviour,
    /// As the router sees it.
    pub(super) reachability: String,
    pub(super) failure_rate: f64,
    pub(super) invites: u64,
    pub(super) answers: u64,
}

/// Where the demo writes.
#[derive(Debug)]
pub(super) struct Screen {
    is_terminal: bool,
    /// Lines of the table that stand on the terminal now.
    drawn: usize,
}

impl Screen {
    pub(super) fn new() -> Self {
        Self { is_terminal: std::io::stdout().is_terminal(), drawn: 0 }
    }

    /// Whether what is shown replaces what was shown before.
    pub(super) fn redraws(&self) -> bool {
        self.is_terminal
    }

    /// Something happened.
    pub(super) fn tell(&mut self, at: Duration, text: &str) {
        let line = format!("{:5.1} s  {text}", at.as_secs_f64());
        if self.is_terminal {
            self.erase();
            println!("\x1b[1m{line}\x1b[0m");
        } else {
            println!("{line}");
        }
    }

    /// The state of everything.
    pub(super) fn show(&mut self, at: Duration, carriers: &[Line], tally: &Tally) {
        if self.is_terminal {
            self.erase();
            let table = table(at, carriers, tally);
            self.drawn = table.lines().count();
            print!("{table}");
            let _ = std::io::stdout().flush();
        } else {
            println!("{}", one_line(at, carriers, tally));
        }
    }

    fn erase(&mut self) {
        for _ in 0..std::mem::take(&mut self.drawn) {
            print!("\x1b[1A\x1b[2K");
        }
    }
}

fn table(at: Duration, carriers: &[Line], tally: &Tally) -> String {
    let mut out = format!(
        "\n  {:<9} {:<26} {:<10} {:>9} {:>8} {:>9}\n",
        "carrier", "what it does", "state", "failures", "INVITEs", "answered"
    );
    for line in carriers {
        let does = match line.behaviour {
            Behaviour::Answers => "answers",
            Behaviour::Refuses => "answers OPTIONS, calls 503",
            Behaviour::SwallowsCalls => "answers OPTIONS, no calls",
            Behaviour::Swallows => "swallows everything",
            Behaviour::Dead => "DEAD",
        };
        let failures = format!("{:.0} %", 100.0 * line.failure_rate);
        out.push_str(&format!(
            "  {:<9} {does:<26} {:<10} {failures:>9} {:>8} {:>9}\n",
            line.name, line.reachability, line.invites, line.answers
        ));
    }
    out.push_str(&format!(
        "\n  {:.0} s   calls {}   answered {}   talking {}   ended well {}   lost {}\n",
        at.as_secs_f64(),
        tally.offered,
        tally.answered,
        tally.talking,
        tally.completed,
        tally.lost
    ));
    out
}

fn one_line(at: Duration, carriers: &[Line], tally: &Tally) -> String {
    let carriers: Vec<String> = carriers
        .iter()
        .map(|line| {
            format!("{} {} {}/{}", line.name, line.reachability, line.answers, line.invites)
        })
        .collect();
    format!(
        "{:5.1} s  calls {} answered {} talking {} lost {} | {}",
        at.as_secs_f64(),
        tally.offered,
        tally.answered,
        tally.talking,
        tally.lost,
        carriers.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line() -> Line {
        Line {
            name: "alpha",
            behaviour: Behaviour::Dead,
            reachability: "down".to_owned(),
            failure_rate: 0.25,
            invites: 12,
            answers: 9,
        }
    }

    #[test]
    fn shows_every_carrier_and_the_sums() {
        let tally = Tally { offered: 20, answered: 19, completed: 15, lost: 1, ..Tally::default() };
        let table = table(Duration::from_secs(7), &[line()], &tally);
        assert!(table.contains("alpha     DEAD"), "{table}");
        assert!(table.contains("down            25 %       12         9"), "{table}");
        assert!(
            table.contains("calls 20   answered 19   talking 0   ended well 15   lost 1"),
            "{table}"
        );
        let line = one_line(Duration::from_secs(7), &[line()], &tally);
        assert_eq!(line, "  7.0 s  calls 20 answered 19 talking 0 lost 1 | alpha down 9/12");
    }
}
