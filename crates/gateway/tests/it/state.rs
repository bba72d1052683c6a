//! The state store's file is whole whatever kills its writer, and holds all that was said to be kept.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use gatepost::resources::state::{Clock, Embedded, Settings, Space, State};

/// Names the file for the process that writes.
const WRITER: &str = "GATEPOST_TEST_STATE";

const LIFE: Duration = Duration::from_secs(100_000);

fn open(path: &Path) -> Embedded {
    let settings =
        Settings { path: path.to_owned(), cache: 4 << 20, most: 1_000_000, clock: Clock::system() };
    Embedded::open(&settings).unwrap_or_else(|why| panic!("{why}"))
}

fn key(number: u64) -> Vec<u8> {
    format!("192.0.2.0 sender{number}@out.test user{}@in.test", number % 97).into_bytes()
}

/// Not a test by itself: the process that the test below kills. It says how far all is kept.
#[tokio::test]
#[ignore = "started by survives_being_killed"]
async fn writer() {
    let Some(path) = std::env::var_os(WRITER) else { return };
    let state = open(Path::new(&path));
    let mut number = state.count(Space::Limits, b"begun", 0, LIFE).await.unwrap();
    loop {
        for _ in 0..50 {
            number += 1;
            state.put(Space::Triplets, &key(number), &number.to_be_bytes(), LIFE).await.unwrap();
        }
        state.count(Space::Limits, b"begun", 50, LIFE).await.unwrap();
        state.flush().await.unwrap();
        println!("kept {number}");
    }
}

#[tokio::test]
async fn survives_being_killed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.redb");
    let mut last = 0;
    for round in 0..12_u64 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["state::writer", "--exact", "--ignored", "--nocapture"])
            .env(WRITER, &path)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut kept = |least: usize| {
            let said = lines.by_ref().map_while(Result::ok);
            let numbers = said.filter_map(|line| line.strip_prefix("kept ")?.parse::<u64>().ok());
            numbers.take(least).last()
        };
        // Killed at another moment of its work each time; what it said in the meantime counts as well.
        let mut said = kept(1 + (round % 3) as usize).expect("it writes");
        std::thread::sleep(Duration::from_millis(round * 37 % 250));
        child.kill().unwrap();
        child.wait().unwrap();
        said = kept(usize::MAX).unwrap_or(said);

        let state = open(&path);
        for number in (1..=said).rev().step_by(7).chain([said, last.max(1)]) {
            let value = state.get(Space::Triplets, &key(number)).await.unwrap();
            assert_eq!(value, Some(number.to_be_bytes().to_vec()), "{number} of {said}, round {round}");
        }
        let begun = state.count(Space::Limits, b"begun", 0, LIFE).await.unwrap();
        assert!(begun >= said, "counted {begun}, said {said}");
        // Of a batch nothing or all is there: no number is beyond the counter that was written with it.
        let beyond = state.get(Space::Triplets, &key(begun + 51)).await.unwrap();
        assert_eq!(beyond, None, "round {round}");
        last = said;
    }
    let aside = std::fs::read_dir(folder.path()).unwrap().filter(|entry| {
        entry.as_ref().is_ok_and(|entry| entry.file_name().to_string_lossy().contains("corrupt"))
    });
    assert_eq!(aside.count(), 0, "the file was whole each time");
}
