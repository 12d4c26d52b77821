//! What each agent is going to do, drawn from the world's seed.

use super::cx::{Cx, MS, S};

/// One thing that an agent does.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Step {
    /// A caller's first INVITE.
    Invite,
    /// CANCEL, or BYE where it is too late for that.
    Cancel,
    /// BYE in the early dialog, or CANCEL where there is none.
    EarlyBye,
    Trying,
    Progress {
        status: u16,
        has_media: bool,
    },
    /// From now on the agent has another tag: its 2xx is of another dialog than its 18x.
    ChangeTag,
    /// Another branch of the INVITE answers too, with a tag of its own.
    Fork {
        answers_after: u64,
    },
    Answer,
    Reject {
        status: u16,
        reason: &'static str,
    },
    Reinvite {
        has_offer: bool,
    },
    Info,
    /// Has the other side transferred.
    Refer,
    /// Another agent of the caller takes its place by an INVITE with Replaces.
    Replace,
    Hangup,
    /// Hears and says nothing any more; `is_closed`: its port even says so.
    Vanish {
        is_closed: bool,
    },
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// A word for the reader of a failure.
    pub name: &'static str,
    /// From the INVITE on: what is done, after how many microseconds.
    pub before: Vec<(u64, Step)>,
    /// From the ACK on.
    pub after: Vec<(u64, Step)>,
    pub is_late_offer: bool,
    /// Which dialog the caller's INVITE replaces.
    pub replaces: Option<String>,
    pub never_acks: bool,
    pub ignores_cancel: bool,
    pub records_route: bool,
    pub refuses_reinvites: Option<u16>,
    /// Under which header the caller speaks of 100rel.
    pub reliability: Option<&'static str>,
    /// The carrier sends its provisional responses reliably where it may.
    pub is_reliable: bool,
}

/// What a gateway is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Temper {
    Honest,
    Moody,
    Bad,
}

const REJECTIONS: [(u16, &str); 14] = [
    (503, "Service Unavailable"),
    (503, "CPS limit"),
    (500, "Server Internal Error"),
    (502, "Bad Gateway"),
    (486, "Busy Here"),
    (404, "Not Found"),
    (408, "Request Timeout"),
    (403, "Forbidden"),
    (407, "Proxy Authentication Required"),
    (480, "Temporarily Unavailable"),
    (488, "Not Acceptable Here"),
    (491, "Request Pending"),
    (302, "Moved Temporarily"),
    (603, "Decline"),
];

pub fn caller(cx: &mut Cx) -> Plan {
    let mut plan = Plan { before: vec![(0, Step::Invite)], ..Plan::default() };
    plan.is_late_offer = cx.chance(0.1);
    plan.after = talk(cx);
    plan.reliability = match cx.random.below(10) {
        0..3 => Some("Supported"),
        3 => Some("Require"),
        _ => None,
    };
    plan.name = "talks";
    match cx.random.below(20) {
        // Before the 100, around it, while it rings, around the answer.
        0..3 => {
            plan.name = "cancels";
            let at = match cx.random.below(4) {
                0 => cx.random.below(60 * MS),
                1 => cx.between_ms(60, 500),
                _ => cx.between_ms(500, 12_000),
            };
            plan.before.push((at, Step::Cancel));
        }
        3 => {
            plan.name = "hangs up the early dialog";
            let at = cx.between_ms(500, 10_000);
            plan.before.push((at, Step::EarlyBye));
        }
        4 => {
            plan.name = "never acknowledges";
            plan.never_acks = true;
            if cx.chance(0.5) {
                plan.after = vec![(0, Step::Vanish { is_closed: cx.chance(0.5) })];
            } else {
                plan.after.clear();
            }
        }
        5 => {
            plan.name = "vanishes while it talks";
            let at = cx.between_ms(500, 20_000);
            plan.after.push((at, Step::Vanish { is_closed: cx.chance(0.5) }));
        }
        6 => {
            plan.name = "vanishes while it waits";
            let at = cx.between_ms(0, 8_000);
            plan.before.push((at, Step::Vanish { is_closed: cx.chance(0.5) }));
        }
        _ => {}
    }
    plan
}

pub fn carrier(cx: &mut Cx, temper: Temper) -> Plan {
    let mut plan = Plan { after: talk(cx), records_route: cx.chance(0.2), ..Plan::default() };
    if cx.chance(0.1) {
        plan.refuses_reinvites = Some([488, 500, 481, 408][cx.random.below(4) as usize]);
    }
    plan.is_reliable = cx.chance(0.4);
    let is_good = match temper {
        Temper::Honest => cx.chance(0.9),
        Temper::Moody => cx.chance(0.5),
        Temper::Bad => cx.chance(0.1),
    };
    let kind = if is_good { cx.random.below(5) } else { 5 + cx.random.below(13) };
    let trying = cx.between_ms(1, 60);
    let rings = trying + cx.between_ms(50, 2_000);
    let answers = rings + cx.between_ms(0, 12_000);
    let media = cx.chance(0.3);
    let progress = Step::Progress { status: if media { 183 } else { 180 }, has_media: media };
    let steps = match kind {
        0..2 => vec![(trying, Step::Trying), (rings, progress), (answers, Step::Answer)],
        2 => vec![(rings, progress), (answers, Step::Answer)],
        3 => vec![(trying, Step::Answer)],
        4 => {
            let again = rings + cx.between_ms(10, 3_000);
            vec![
                (trying, Step::Trying),
                (rings, progress),
                (again, Step::Progress { status: 183, has_media: true }),
                (answers + 3 * S, Step::Answer),
            ]
        }
        _ => moods(cx, &mut plan, kind, trying, progress),
    };
    plan.name = [
        "answers",
        "answers",
        "answers without 100",
        "answers at once",
        "rings, then plays media",
        "rejects",
        "rejects",
        "rejects while it rings",
        "is silent",
        "answers late",
        "rings late",
        "is slow",
        "answers with another tag",
        "forks",
        "rings for ever",
        "ignores CANCEL",
        "vanishes while it talks",
        "vanishes while it rings",
    ][kind as usize];
    plan.before = steps;
    plan
}

fn moods(cx: &mut Cx, plan: &mut Plan, kind: u64, trying: u64, progress: Step) -> Vec<(u64, Step)> {
    let rings = trying + cx.between_ms(50, 2_000);
    let answers = rings + cx.between_ms(0, 12_000);
    let (status, reason) = REJECTIONS[cx.random.below(REJECTIONS.len() as u64) as usize];
    let reject = Step::Reject { status, reason };
    match kind {
        5 => vec![(trying, reject)],
        6 => vec![(trying, Step::Trying), (rings, reject)],
        7 => vec![(trying, Step::Trying), (rings, progress), (answers, reject)],
        8 => vec![(0, Step::Vanish { is_closed: false })],
        9 => vec![(cx.between_ms(1_500, 30_000), Step::Answer)],
        10 => {
            let late = cx.between_ms(1_500, 9_000);
            vec![(late, progress), (late + cx.between_ms(0, 3_000), Step::Answer)]
        }
        11 => {
            let late = cx.between_ms(4_000, 9_000);
            vec![(trying, Step::Trying), (late, progress), (late + 2 * S, Step::Answer)]
        }
        12 => vec![
            (trying, Step::Trying),
            (rings, progress),
            (answers, Step::ChangeTag),
            (answers, Step::Answer),
        ],
        13 => {
            let answers_after = cx.between_ms(1, 20_000);
            vec![
                (trying, Step::Trying),
                (rings, progress),
                (rings, Step::Fork { answers_after }),
                (answers, Step::Answer),
            ]
        }
        14 => {
            let reject = Step::Reject { status: 480, reason: "No Answer" };
            vec![(trying, Step::Trying), (rings, progress), (100 * S, reject)]
        }
        15 => {
            plan.ignores_cancel = true;
            vec![(trying, Step::Trying), (rings, progress), (answers, Step::Answer)]
        }
        16 => {
            let at = cx.between_ms(100, 20_000);
            plan.after.push((at, Step::Vanish { is_closed: false }));
            vec![(trying, Step::Trying), (rings, progress), (answers, Step::Answer)]
        }
        _ => {
            let at = rings + cx.between_ms(0, 5_000);
            vec![(trying, Step::Trying), (rings, progress), (at, Step::Vanish { is_closed: false })]
        }
    }
}

/// A caller that takes another's place.
pub fn replacing(cx: &mut Cx, replaces: String) -> Plan {
    let mut plan = Plan { name: "replaces", replaces: Some(replaces), ..Plan::default() };
    plan.before.push((0, Step::Invite));
    if cx.chance(0.2) {
        plan.before.push((cx.between_ms(0, 800), Step::Cancel));
    }
    plan.is_late_offer = cx.chance(0.3);
    plan.after = talk(cx);
    plan
}

/// What is done in an answered call: hold and resume, INFO, and always a hang-up in the end; often
/// at one of few moments, so that both sides meet.
fn talk(cx: &mut Cx) -> Vec<(u64, Step)> {
    let mut steps = Vec::new();
    for _ in 0..cx.random.below(3) {
        let has_offer = cx.chance(0.8);
        steps.push((moment(cx), Step::Reinvite { has_offer }));
    }
    for _ in 0..cx.random.below(3) {
        steps.push((moment(cx), Step::Info));
    }
    let end = if cx.chance(0.5) { moment(cx) } else { cx.between_ms(100, 60_000) };
    steps.push((end, Step::Hangup));
    if cx.transfers && cx.chance(0.1) {
        steps.push((moment(cx), Step::Replace));
    }
    if cx.transfers && cx.chance(0.4) {
        // Some hang up as soon as they have asked for it, some wait to be told.
        let at = moment(cx);
        steps.push((at, Step::Refer));
        match cx.random.below(3) {
            0 => steps.push((at + cx.between_ms(1, 3_000), Step::Hangup)),
            1 => steps.retain(|(_, step)| *step != Step::Hangup),
            _ => {}
        }
    }
    steps
}

fn moment(cx: &mut Cx) -> u64 {
    match cx.chance(0.5) {
        true => (1 + cx.random.below(4)) * 5 * S,
        false => cx.between_ms(10, 30_000),
    }
}
