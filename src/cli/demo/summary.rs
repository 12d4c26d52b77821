//! The end of the demo: what the database says, held against what the callers saw.

use sqlx::{Connection, Row, SqliteConnection};

use super::tally::Tally;

/// Prints the sums; gives whether they add up and no call was lost.
pub(super) async fn print(url: &str, tally: &Tally) -> anyhow::Result<bool> {
    let mut connection = SqliteConnection::connect(url).await?;
    println!("\nWhat is on record (the tables calls and call_attempts):\n");
    println!(
        "  {:<10} {:>9} {:>9} {:>8} {:>12}",
        "carrier", "attempts", "answered", "failed", "most common"
    );
    let rows = sqlx::query(
        "select carrier, count(*) as attempts,
                sum(class = 'answered') as answered, sum(class <> 'answered') as failed,
                (select reason from call_attempts b
                  where b.carrier = a.carrier and b.class <> 'answered'
                  group by reason order by count(*) desc limit 1) as reason
           from call_attempts a group by carrier order by carrier",
    )
    .fetch_all(&mut connection)
    .await?;
    for row in rows {
        println!(
            "  {:<10} {:>9} {:>9} {:>8}   {}",
            row.try_get::<String, _>("carrier")?,
            row.try_get::<i64, _>("attempts")?,
            row.try_get::<i64, _>("answered")?,
            row.try_get::<i64, _>("failed")?,
            row.try_get::<Option<String>, _>("reason")?.unwrap_or_default()
        );
    }
    let row = sqlx::query(
        "select count(*) as calls, coalesce(sum(answered_at is not null), 0) as answered,
                coalesce(sum(end_cause = 'completed'), 0) as completed,
                coalesce(sum((select count(*) from call_attempts b where b.call_id = calls.call_id) > 1), 0)
                  as rescued
           from calls",
    )
    .fetch_one(&mut connection)
    .await?;
    connection.close().await?;
    let recorded = Recorded {
        calls: row.try_get::<i64, _>("calls")?.unsigned_abs(),
        answered: row.try_get::<i64, _>("answered")?.unsigned_abs(),
        completed: row.try_get::<i64, _>("completed")?.unsigned_abs(),
        rescued: row.try_get::<i64, _>("rescued")?.unsigned_abs(),
    };
    let (lines, is_whole) = verdict(&recorded, tally);
    lines.iter().for_each(|line| println!("{line}"));
    Ok(is_whole)
}

/// Sums of the table `calls`.
#[derive(Debug)]
struct Recorded {
    calls: u64,
    answered: u64,
    completed: u64,
    /// Calls that needed more than one attempt.
    rescued: u64,
}

fn verdict(recorded: &Recorded, tally: &Tally) -> (Vec<String>, bool) {
    let mut lines = vec![
        String::new(),
        format!("  {:<26} {:>9} {:>9}", "", "callers", "database"),
        format!("  {:<26} {:>9} {:>9}", "calls", tally.offered, recorded.calls),
        format!("  {:<26} {:>9} {:>9}", "answered", tally.answered, recorded.answered),
        format!(
            "  {:<26} {:>9} {:>9}",
            "ended by the caller's BYE", tally.completed, recorded.completed
        ),
        format!("  {:<26} {:>9} {:>9}", "saved by another carrier", "", recorded.rescued),
        format!("  slowest answer: {} ms after the INVITE", tally.slowest.as_millis()),
        String::new(),
    ];
    let adds_up = (tally.offered, tally.answered, tally.completed)
        == (recorded.calls, recorded.answered, recorded.completed);
    let is_none_lost = tally.completed == tally.offered && tally.lost == 0 && tally.offered > 0;
    lines.push(match (adds_up, is_none_lost) {
        (true, true) => format!("No call was lost: {} of {}.", tally.completed, tally.offered),
        (true, false) => {
            let code = tally.last_refusal.map(|code| format!("; the last one got {code}"));
            let lost = tally.offered - tally.completed;
            format!("{lost} CALLS WERE LOST{}.", code.unwrap_or_default())
        }
        (false, _) => "THE SUMS DIFFER: a call has no record, or the wrong one.".to_owned(),
    });
    (lines, adds_up && is_none_lost)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(offered: u64, completed: u64) -> Tally {
        Tally {
            offered,
            answered: completed,
            completed,
            lost: offered - completed,
            ..Tally::default()
        }
    }

    fn recorded(calls: u64, completed: u64) -> Recorded {
        Recorded { calls, answered: completed, completed, rescued: 1 }
    }

    #[test]
    fn is_content_only_when_every_call_ended_well_and_is_on_record() {
        assert!(verdict(&recorded(9, 9), &tally(9, 9)).1);
        assert!(!verdict(&recorded(9, 8), &tally(9, 8)).1, "a call was lost");
        assert!(!verdict(&recorded(8, 8), &tally(9, 9)).1, "a record is missing");
        assert!(!verdict(&recorded(0, 0), &tally(0, 0)).1, "nothing was shown");
    }

    #[test]
    fn says_what_is_wrong() {
        let last = |recorded, tally| verdict(&recorded, &tally).0.pop().expect("a verdict");
        assert_eq!(last(recorded(9, 9), tally(9, 9)), "No call was lost: 9 of 9.");
        assert_eq!(last(recorded(9, 7), tally(9, 7)), "2 CALLS WERE LOST.");
        assert!(last(recorded(8, 8), tally(9, 9)).starts_with("THE SUMS DIFFER"));
    }
}
