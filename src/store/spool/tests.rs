use super::*;
use crate::store::record::testing::call;

const MIB: u64 = 1 << 20;

fn open(dir: &Path) -> Spool {
    Spool::open(dir, MIB, Duration::ZERO, Instant::now()).unwrap()
}

/// Reads the oldest file that waits.
fn oldest(spool: &mut Spool) -> Option<(Waiting, Contents)> {
    let waiting = spool.waiting()?;
    let contents = Contents::read(&waiting.path).unwrap();
    Some((waiting, contents))
}

fn files(dir: &Path, ending: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.extension().is_some_and(|it| it == ending)).collect()
}

#[test]
fn gives_back_what_was_written_in_the_order_of_its_files() {
    let (dir, now) = (tempfile::tempdir().unwrap(), Instant::now());
    let mut spool = open(dir.path());
    spool.append(&[call(1), call(2)], now).unwrap();
    spool.append(&[call(3)], now).unwrap();
    let (first, contents) = oldest(&mut spool).unwrap();
    assert_eq!(contents.calls, [call(1), call(2), call(3)]);
    spool.append(&[call(4)], now).unwrap();
    spool.note_stored(first.end, now);
    let (later, contents) = oldest(&mut spool).unwrap();
    assert_eq!(contents.calls, [call(4)], "it went to another file");
    spool.note_stored(later.end, now);
    assert_eq!((spool.waiting(), spool.waiting_octets()), (None, 0));
    spool.forget_kept();
    assert!(files(dir.path(), ENDING).is_empty());
}

#[test]
fn knows_what_waits_from_the_places_that_are_stored() {
    let (dir, now) = (tempfile::tempdir().unwrap(), Instant::now());
    let mut spool = open(dir.path());
    let ends = spool.append(&[call(1), call(2)], now).unwrap();
    spool.note_stored(ends[0], now);
    assert_eq!(spool.waiting_octets(), ends[1] - ends[0]);
    spool.note_stored(ends[1], now);
    assert_eq!(spool.waiting(), None);
}

#[test]
fn finds_after_a_restart_what_was_left() {
    let (dir, now) = (tempfile::tempdir().unwrap(), Instant::now());
    open(dir.path()).append(&[call(1)], now).unwrap();
    let mut spool = open(dir.path());
    assert!(spool.waiting_octets() > 0);
    spool.append(&[call(2)], now).unwrap();
    let (first, contents) = oldest(&mut spool).unwrap();
    assert_eq!(contents.calls, [call(1)]);
    spool.note_stored(first.end, now);
    assert_eq!(oldest(&mut spool).unwrap().1.calls, [call(2)]);
}

#[test]
fn keeps_what_is_stored_for_its_time_and_sends_it_again_when_asked() {
    let (dir, now) = (tempfile::tempdir().unwrap(), Instant::now());
    let keep = Duration::from_secs(60);
    let mut spool = Spool::open(dir.path(), MIB, keep, now).unwrap();
    let first = spool.append(&[call(1)], now).unwrap()[0];
    spool.note_stored(first, now);
    let later = now + SEGMENT_AGE;
    let second = spool.append(&[call(2)], later).unwrap()[0];
    spool.note_stored(second, later);
    assert_eq!(spool.waiting(), None);

    spool.sweep(now + keep);
    assert_eq!(spool.send_again(), second - first, "the first one's time was over");
    assert_eq!(oldest(&mut spool).unwrap().1.calls, [call(2)]);
    spool.sweep(later + 2 * keep);
    assert_eq!(oldest(&mut spool).unwrap().1.calls, [call(2)], "it is not stored now");
}

#[test]
fn does_not_take_the_file_away_that_is_being_written() {
    let (dir, now) = (tempfile::tempdir().unwrap(), Instant::now());
    let mut spool = open(dir.path());
    let end = spool.append(&[call(1)], now).unwrap()[0];
    spool.note_stored(end, now);
    spool.sweep(now);
    assert_eq!(files(dir.path(), ENDING).len(), 1);
    spool.sweep(now + SEGMENT_AGE);
    assert_eq!(files(dir.path(), ENDING).len(), 0);
    spool.append(&[call(2)], now + SEGMENT_AGE).unwrap();
    assert_eq!(oldest(&mut spool).unwrap().1.calls, [call(2)]);
}

#[test]
fn a_file_that_ends_anywhere_gives_its_good_part_and_is_kept_aside() {
    let (dir, now) = (tempfile::tempdir().unwrap(), Instant::now());
    let ends = open(dir.path()).append(&[call(1), call(2)], now).unwrap();
    let [path] = &files(dir.path(), ENDING)[..] else { panic!("one file") };
    let octets = fs::read(path).unwrap();
    for len in ends[0] as usize..octets.len() {
        fs::write(path, &octets[..len]).unwrap();
        let contents = Contents::read(path).unwrap();
        assert_eq!(contents.calls, [call(1)], "cut after {len} octets");
        assert_eq!(contents.unreadable, usize::from(len > ends[0] as usize));
    }
}

#[test]
fn one_wrong_bit_anywhere_in_the_last_line_costs_that_line_only() {
    let (dir, now) = (tempfile::tempdir().unwrap(), Instant::now());
    let ends = open(dir.path()).append(&[call(1), call(2)], now).unwrap();
    let [path] = &files(dir.path(), ENDING)[..] else { panic!("one file") };
    let octets = fs::read(path).unwrap();
    let mut harmless = 0;
    for at in ends[0] as usize..octets.len() {
        for bit in 0..8 {
            let mut spoilt = octets.clone();
            spoilt[at] ^= 1 << bit;
            fs::write(path, &spoilt).unwrap();
            let contents = Contents::read(path).unwrap();
            if contents.unreadable == 0 {
                // A letter of the checksum in capitals says the same.
                assert_eq!((contents.calls, bit), (vec![call(1), call(2)], 5));
                harmless += 1;
            } else {
                assert_eq!(contents.calls, [call(1)], "bit {bit} of octet {at}");
            }
        }
    }
    assert!(harmless < 16, "{harmless}");
}

#[test]
fn a_torn_file_outlives_its_records_under_another_name_that_is_not_given_again() {
    let (dir, now) = (tempfile::tempdir().unwrap(), Instant::now());
    open(dir.path()).append(&[call(1), call(2)], now).unwrap();
    let path = files(dir.path(), ENDING).remove(0);
    let octets = fs::read(&path).unwrap();
    fs::write(&path, &octets[..octets.len() - 20]).unwrap();
    let mut spool = open(dir.path());
    let (waiting, contents) = oldest(&mut spool).unwrap();
    assert_eq!((contents.calls.len(), contents.unreadable), (1, 1));
    assert!(spool.note_unreadable(&waiting.path, 1));
    assert!(!spool.note_unreadable(&waiting.path, 1), "it is known");
    spool.note_stored(waiting.end, now);
    spool.forget_kept();
    let aside = path.with_extension(UNREADABLE);
    assert_eq!(fs::read(&aside).unwrap(), &octets[..octets.len() - 20]);

    drop(spool);
    open(dir.path()).append(&[call(3)], now).unwrap();
    assert_ne!(files(dir.path(), ENDING)[0], path);
}

#[test]
fn takes_no_more_than_it_may_and_says_which_setting_says_so() {
    let (dir, now) = (tempfile::tempdir().unwrap(), Instant::now());
    let mut spool = Spool::open(dir.path(), 1_500, Duration::from_secs(60), now).unwrap();
    let end = spool.append(&[call(1)], now).unwrap()[0];
    let error = spool.append(&[call(2), call(3)], now).unwrap_err();
    assert!(error.to_string().contains("spool_max_mib"), "{error}");
    assert_eq!(Contents::read(&spool.waiting().unwrap().path).unwrap().calls, [call(1)]);
    spool.note_stored(end, now);
    spool.append(&[call(2), call(3)], now).unwrap();
    assert_eq!(oldest(&mut spool).unwrap().1.calls, [call(2), call(3)], "what was kept made room");
}

#[test]
fn asks_the_disk_only_for_what_the_store_has_not_soon() {
    let (dir, now) = (tempfile::tempdir().unwrap(), Instant::now());
    let mut spool = open(dir.path());
    let end = spool.append(&[call(1)], now).unwrap()[0];
    assert!(spool.sync(now.checked_sub(Duration::from_millis(1)).unwrap()).is_none());
    spool.note_stored(end, now);
    assert!(spool.sync(now).is_none());

    spool.append(&[call(2)], now).unwrap();
    spool.waiting().unwrap();
    spool.append(&[call(3)], now).unwrap();
    let sync = spool.sync(now).unwrap();
    assert_eq!(sync.files.len(), 2, "the closed file and the open one");
    sync.run().unwrap();
    assert_eq!(spool.unsynced_since(), None);
}

#[test]
fn keeps_aside_what_the_store_refuses() {
    let dir = tempfile::tempdir().unwrap();
    open(dir.path()).set_aside(&call(7)).unwrap();
    let line = fs::read(dir.path().join(REFUSED)).unwrap();
    assert_eq!(line::parse(&line), Some(call(7)));
}
