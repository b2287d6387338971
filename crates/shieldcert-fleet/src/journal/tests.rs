use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use jiff::{SignedDuration, Timestamp};
use rusqlite::Transaction;
use tempfile::TempDir;

use super::*;
use crate::error::Result;
use crate::name::DeviceName;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + seconds).expect("a time")
}

fn name(name: &str) -> DeviceName {
    name.parse().expect("a name")
}

fn folder() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("journal.db");
    (folder, path)
}

fn open(path: &Path) -> Journal {
    Journal::open(path).expect("opens")
}

/// Adds a device with a generation. Returns its place.
fn begin(journal: &Journal, device: &str) -> i64 {
    let (id, _) = journal.device_place(&name(device)).expect("is added");
    let spec = Spec {
        subject: "{}".to_owned(),
        key: "ecdsa-p256".to_owned(),
        days: 365,
    };
    let zone = "0".repeat(32).parse().expect("an id");
    journal
        .begin_generation(id, Reason::New, &zone, &spec, 0, at(0))
        .expect("is begun");
    id
}

fn add_detail(journal: &Journal, time: Timestamp, detail: &str) {
    journal
        .write(|transaction| history::add(transaction, time, None, None, Act::Failed, Some(detail)))
        .expect("is written");
}

fn details(journal: &Journal, limit: u32) -> Vec<String> {
    let entries = journal.history(None, limit).expect("is read");
    entries
        .into_iter()
        .filter_map(|entry| entry.detail)
        .collect()
}

fn error(result: Result<Journal>) -> String {
    result.map(|_| ()).expect_err("does not open").to_string()
}

/// What is said where a journal can't be opened, without the folder.
#[test]
fn what_is_wrong_with_a_journal_is_said_with_the_way_out() {
    let mut said = Vec::new();
    let mut say = |what: &str, path: &Path, is_kept: bool| {
        let before = fs::read(path).ok();
        for (how, opened) in [
            ("open", Journal::open(path)),
            ("open beside", Journal::open_beside(path)),
        ] {
            let folder = path.parent().expect("a folder").display().to_string();
            let message = match opened {
                Ok(_) => "opens".to_owned(),
                Err(error) => error.to_string().replace(&folder, "FOLDER"),
            };
            said.push(format!("{what}, {how}: {message}"));
        }
        if is_kept {
            assert_eq!(fs::read(path).ok(), before, "{what}: it is left as it was");
        }
    };
    let (fleet, path) = folder();
    say(
        "missing folder",
        &fleet.path().join("none/journal.db"),
        true,
    );
    fs::create_dir(&path).expect("is made");
    say("a folder in its place", &path, true);
    fs::remove_dir(&path).expect("is removed");
    fs::write(
        &path,
        "Not a database, but long enough to be looked at as one. ".repeat(100),
    )
    .expect("is written");
    say("not a database", &path, true);
    fs::remove_file(&path).expect("is removed");
    let journal = open(&path);
    for number in 0..200 {
        begin(&journal, &format!("sensor-{number}"));
    }
    drop(journal);
    let whole = fs::read(&path).expect("is read");
    fs::write(&path, &whole[..whole.len() / 2]).expect("is written");
    say("truncated", &path, true);
    fs::write(&path, &whole).expect("is written");
    open(&path)
        .connection
        .lock()
        .expect("is free")
        .pragma_update(None, "user_version", schema::VERSION + 1)
        .expect("is written");
    say("newer", &path, true);
    let (_fleet, missing) = folder();
    let beside = error(Journal::open_beside(&missing));
    let folder = missing.parent().expect("a folder").display().to_string();
    said.push(format!(
        "missing, open beside: {}",
        beside.replace(&folder, "FOLDER")
    ));
    fs::write(&missing, "").expect("is written");
    let beside = error(Journal::open_beside(&missing));
    said.push(format!(
        "empty, open beside: {}",
        beside.replace(&folder, "FOLDER")
    ));
    insta::assert_snapshot!(said.join("\n"));
}

#[test]
fn a_full_disk_loses_nothing_that_was_recorded() {
    let (_folder, path) = folder();
    let journal = open(&path);
    begin(&journal, "sensor-1");
    let set_pages = |pages: i64| {
        let connection = journal.connection.lock().expect("is free");
        connection
            .query_row(&format!("PRAGMA max_page_count = {pages}"), [], |_| Ok(()))
            .expect("is set");
    };
    let pages: i64 = journal
        .read(|connection| connection.query_row("PRAGMA page_count", [], |row| row.get(0)))
        .expect("is read");
    set_pages(pages);
    let mut written = 0;
    let full = loop {
        let add = |transaction: &Transaction<'_>| {
            let detail = "x".repeat(2_000);
            history::add(transaction, at(1), None, None, Act::Failed, Some(&detail))
        };
        match journal.write(add) {
            Ok(()) => written += 1,
            Err(error) => break error.to_string(),
        }
    };
    let expected =
        "the disk is full; what was recorded is kept; make room, and run the command again";
    assert!(full.ends_with(expected), "{full}");
    assert_eq!(
        details(&journal, 1_000).len(),
        1 + written,
        "with what was begun"
    );
    set_pages(pages + 1_000);
    add_detail(&journal, at(2), "goes on");
    drop(journal);
    let entries = details(&open(&path), 1_000);
    assert_eq!(entries.len(), 2 + written);
    assert_eq!(entries.last().map(String::as_str), Some("goes on"));
}

#[test]
fn a_journal_that_can_not_be_written_says_so_and_can_be_read() {
    let (_folder, path) = folder();
    let journal = open(&path);
    begin(&journal, "sensor-1");
    let connection = journal.connection.lock().expect("is free");
    connection
        .pragma_update(None, "query_only", true)
        .expect("is set");
    drop(connection);
    let refused = journal
        .ask(Ask::Rotate, [&name("sensor-1")], at(1))
        .expect_err("can't be written")
        .to_string();
    let expected =
        "it can't be written; run the command as its owner, or mount the folder writable";
    assert!(refused.ends_with(expected), "{refused}");
    let entries = journal.history(None, 10).expect("is read");
    assert_eq!(entries.len(), 1, "nothing was asked for");
}

/// A device of the journal, as if its manifest was loaded.
fn device(journal: &Journal, id: i64) -> Snapshot {
    journal.load_manifest(|_| Ok(())).expect("is loaded");
    journal.device(id).expect("is read").expect("is there")
}

#[cfg(unix)]
#[test]
fn its_files_are_for_their_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let (folder, path) = folder();
    let journal = open(&path);
    begin(&journal, "sensor-1");
    let copy = folder.path().join("copy.db");
    journal.backup(&copy).expect("is copied");
    let mut seen = 0;
    for entry in fs::read_dir(folder.path()).expect("is read") {
        let entry = entry.expect("is read");
        let mode = entry.metadata().expect("is there").permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{}", entry.path().display());
        seen += 1;
    }
    assert_eq!(seen, 4, "the journal, two files beside it, and the copy");
}

#[test]
fn another_process_reads_and_asks_meanwhile() {
    let (_folder, path) = folder();
    let journal = open(&path);
    let id = begin(&journal, "sensor-1");
    let beside = Journal::open_beside(&path).expect("opens");
    assert_eq!(beside.history(None, 10).expect("is read").len(), 1);
    assert_eq!(device(&beside, id).generations.len(), 1);
    let known = [&name("sensor-1"), &name("unknown")];
    assert_eq!(
        beside.ask(Ask::RotateNow, known, at(5)).expect("is asked"),
        1
    );
    let seen = device(&journal, id);
    assert_eq!(seen.ask, Some(Ask::RotateNow));
    assert!(seen.generations[0].leaked);
    add_detail(&journal, at(6), "later");
    assert_eq!(details(&beside, 1), ["later"]);
}

#[test]
fn who_asks_for_something_without_a_leak_marks_no_key() {
    let (_folder, path) = folder();
    let journal = open(&path);
    let id = begin(&journal, "sensor-1");
    for (ask, leaked) in [
        (Ask::Rotate, false),
        (Ask::Revoke, false),
        (Ask::RevokeNow, true),
    ] {
        journal
            .ask(ask, [&name("SENSOR-1")], at(1))
            .expect("is asked");
        let seen = device(&journal, id);
        assert_eq!(
            (seen.ask, seen.generations[0].leaked),
            (Some(ask), leaked),
            "{ask}"
        );
    }
}

#[test]
fn a_copy_is_marked_and_holds_everything() {
    let (folder, path) = folder();
    let journal = open(&path);
    let id = begin(&journal, "sensor-1");
    let copy = folder.path().join("copy.db");
    journal.backup(&copy).expect("is copied");
    begin(&journal, "sensor-2");
    let copied = open(&copy);
    assert!(copied.is_restored().expect("is read"));
    assert!(
        !journal.is_restored().expect("is read"),
        "the journal itself is not"
    );
    assert_eq!(device(&copied, id).name, name("sensor-1"));
    assert_eq!(copied.history(None, 10).expect("is read").len(), 1);
    copied.confirm_restored().expect("is written");
    assert!(!copied.is_restored().expect("is read"));
    drop(copied);
    assert!(!open(&copy).is_restored().expect("is read"));
    // A copy of a copy is one, too.
    let second = folder.path().join("second.db");
    open(&copy).backup(&second).expect("is copied");
    assert!(open(&second).is_restored().expect("is read"));
}

#[test]
fn a_backup_replaces_nothing_and_leaves_nothing_behind() {
    let (folder, path) = folder();
    let journal = open(&path);
    let copy = folder.path().join("copy.db");
    fs::write(&copy, "something else").expect("is written");
    let refused = journal.backup(&copy).expect_err("is there").to_string();
    assert!(
        refused.ends_with("copy.db: it exists; give another file, for a backup replaces nothing"),
        "{refused}"
    );
    assert_eq!(
        fs::read_to_string(&copy).expect("is read"),
        "something else"
    );
    let none = folder.path().join("none/copy.db");
    let refused = journal.backup(&none).expect_err("no folder").to_string();
    assert!(refused.contains("none"), "{refused}");
    let mut names: Vec<_> = fs::read_dir(folder.path())
        .expect("is read")
        .map(|entry| {
            entry
                .expect("is read")
                .file_name()
                .into_string()
                .expect("text")
        })
        .collect();
    names.sort_unstable();
    assert_eq!(
        names,
        ["copy.db", "journal.db", "journal.db-shm", "journal.db-wal"]
    );
}

/// The copy is one instant of the journal, and does not wait for an instant in which nobody writes.
#[test]
fn a_backup_is_complete_while_another_process_writes() {
    const MOST: u32 = 20_000;
    let (folder, path) = folder();
    let journal = open(&path);
    // More than a thousand pages.
    journal
        .write(|transaction| {
            let detail = "x".repeat(4_000);
            for _ in 0..3_000 {
                history::add(transaction, at(0), None, None, Act::Failed, Some(&detail))?;
            }
            Ok(())
        })
        .expect("is written");
    let beside = Journal::open_beside(&path).expect("opens");
    let (is_over, count) = (AtomicBool::new(false), AtomicU32::new(0));
    let copy = folder.path().join("copy.db");
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let connection = beside.connection.lock().expect("is free");
            // It writes as often as it can.
            connection
                .pragma_update(None, "synchronous", "OFF")
                .expect("is set");
            drop(connection);
            while !is_over.load(Ordering::Relaxed) && count.load(Ordering::Relaxed) < MOST {
                let number = count.fetch_add(1, Ordering::Relaxed);
                // Two entries in each transaction.
                let written = beside.write(|transaction| {
                    for _ in 0..2 {
                        let detail = Some(number.to_string());
                        let detail = detail.as_deref();
                        history::add(transaction, at(1), None, None, Act::Repaired, detail)?;
                    }
                    Ok(())
                });
                written.expect("is written");
            }
        });
        while count.load(Ordering::Relaxed) < 10 {
            std::thread::yield_now();
        }
        journal.backup(&copy).expect("is copied");
        is_over.store(true, Ordering::Relaxed);
    });
    assert!(
        count.into_inner() < MOST,
        "the backup waited for the writer"
    );
    let copied = open(&copy);
    let check: String = copied
        .read(|connection| connection.query_row("PRAGMA integrity_check", [], |row| row.get(0)))
        .expect("is read");
    assert_eq!(check, "ok");
    let entries = copied.history(None, u32::MAX).expect("is read");
    let written = entries.iter().filter(|entry| entry.act == Act::Repaired);
    assert_eq!(written.count() % 2, 0, "no transaction is there in part");
}

#[test]
fn the_history_is_limited_to_the_newest_and_kept_as_long_as_was_said() {
    let (_folder, path) = folder();
    let journal = open(&path);
    let id = begin(&journal, "sensor-1");
    begin(&journal, "sensor-2");
    for number in 1..=5 {
        add_detail(&journal, at(number * 100), &number.to_string());
    }
    assert_eq!(details(&journal, 2), ["4", "5"], "oldest first");
    assert!(details(&journal, 0).is_empty());
    let of_one = journal
        .history(Some(&name("sensor-1")), 10)
        .expect("is read");
    assert_eq!(of_one.len(), 1);
    assert_eq!(
        (of_one[0].act, of_one[0].generation),
        (Act::Planned, Some(1))
    );
    assert_eq!(of_one[0].device, Some(name("sensor-1")));
    assert!(
        journal
            .history(Some(&name("other")), 10)
            .expect("is read")
            .is_empty()
    );
    let begin = at(300);
    assert_eq!(journal.forget_before(begin).expect("is written"), 4);
    assert_eq!(details(&journal, 10), ["3", "4", "5"]);
    assert_eq!(
        device(&journal, id).generations.len(),
        1,
        "the state is kept"
    );
    let later = begin + SignedDuration::from_hours(1);
    assert_eq!(journal.forget_before(later).expect("is written"), 3);
}

#[test]
fn of_a_long_detail_the_end_is_kept_from_a_whole_character() {
    let (_folder, path) = folder();
    let journal = open(&path);
    const MOST: usize = 8 * 1024;
    for (detail, len) in [
        ("x".repeat(MOST), MOST),
        ("x".repeat(MOST + 1), MOST),
        // Two, three and four bytes each.
        ("é".repeat(MOST), MOST),
        ("x".to_owned() + &"é".repeat(MOST / 2), MOST),
        ("é".repeat(MOST / 2) + "x", MOST - 1),
        ("€".repeat(MOST), MOST - 2),
        ("🦀".repeat(MOST), MOST),
        ("🦀".repeat(MOST) + "x", MOST - 3),
        ("€".to_owned(), 3),
        (String::new(), 0),
    ] {
        add_detail(&journal, at(0), &detail);
        let kept = details(&journal, 1).remove(0);
        assert_eq!(kept.len(), len, "{}", &kept[..kept.len().min(12)]);
        assert!(detail.ends_with(&kept));
    }
}

#[test]
fn names_are_the_same_whatever_their_case() {
    let (_folder, path) = folder();
    let journal = open(&path);
    let first = begin(&journal, "sensor-1");
    assert_eq!(begin(&journal, "SENSOR-1"), first);
    assert_eq!(device(&journal, first).generations.len(), 2);
}

#[test]
fn a_step_is_recorded_whole_or_not_at_all() {
    let (_folder, path) = folder();
    let journal = open(&path);
    let id = begin(&journal, "sensor-1");
    let generation = device(&journal, id).generations.remove(0);
    let wrong = Change::to(State::Keyed)
        .set("csr_sha256", "a".to_owned())
        .set("no_column", 1);
    journal
        .change(id, &generation, wrong, at(1), Act::Keyed, None)
        .expect_err("there is no such column");
    assert_eq!(device(&journal, id).generations[0].state, State::Planned);
    assert_eq!(journal.history(None, 10).expect("is read").len(), 1);
}

#[test]
fn every_csr_of_a_device_with_its_key_is_known() {
    let (_folder, path) = folder();
    let journal = open(&path);
    let (id, _) = journal.device_place(&name("sensor-1")).expect("is added");
    let zone = "0".repeat(32).parse().expect("an id");
    let mut numbers = Vec::new();
    for key in ["csr", "ecdsa-p256"] {
        for _ in 0..3 {
            let spec = Spec {
                subject: "{}".to_owned(),
                key: key.to_owned(),
                days: 365,
            };
            let number = journal.begin_generation(id, Reason::Time, &zone, &spec, 0, at(0));
            numbers.push(number.expect("is begun"));
        }
    }
    journal
        .write(|transaction| transaction.execute("UPDATE generations SET state = 'revoked'", []))
        .expect("is written");
    let known: Vec<_> = device(&journal, id)
        .generations
        .iter()
        .map(|generation| generation.number)
        .collect();
    // Of the others the newest one is enough.
    assert_eq!(known, [1, 2, 3, 6]);
}
