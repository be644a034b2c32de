//! A look-up of keys that takes its time: every login waits once, with its startup slot held, so that slots in use are arrivals
//! a second times the time in the slot (Little's law).

use std::path::Path;

use serde_json::Value;

use crate::driver::{books_balance, count, run, strategy};
use crate::machine::{Kind, on_each_kind};

/// Clients, and how long they take to come, seconds.
const CLIENTS: u64 = 45;
const OVER: f64 = 3.0;

/// The round in which they come evenly, and the sentences of its report.
fn measured(
    kind: Kind,
    directory: &Path,
    slow_auth_ms: u64,
    max_startups: &str,
) -> (Value, String) {
    let name = format!("slow-{slow_auth_ms}-{}", max_startups.len());
    let path = directory.join(format!("{name}.toml"));
    let text = format!(
        "name = \"slow\"\ntasks = {CLIENTS}\n[arrival]\nshape = \"ramp\"\nover = \"{OVER:.0}s\"\n[[strategy]]\n\
         kind = \"one-shot\"\n[sshd]\nmax_startups = \"{max_startups}\"\nslow_auth = \"{slow_auth_ms}ms\"\n"
    );
    std::fs::write(&path, text).unwrap();
    let arguments = [path.to_str().unwrap(), "--target", kind.as_str()];
    let finished = run(&directory.join(&name), &arguments).code(0);
    let report = finished.report();
    books_balance(&report);
    (
        strategy(&report, "one-shot")["per_round"][0].clone(),
        finished.stdout,
    )
}

/// Slots times seconds: in use, as the gauge saw them, and in the slot, as each client saw it: from its TCP connection to its
/// login.
fn slot_seconds(round: &Value) -> (f64, f64) {
    let seconds = |key: &str| round[key].as_f64().unwrap() / 1e9;
    let in_use =
        round["startups"]["mean"].as_f64().unwrap() * (seconds("ended_ns") - seconds("started_ns"));
    let times = &round["numbers"]["total"]["times"];
    let held = ["banner", "kex", "auth"]
        .map(|stage| {
            let times = &times[stage];
            times["mean_ns"].as_f64().unwrap() / 1e9 * times["count"].as_f64().unwrap()
        })
        .iter()
        .sum();
    (in_use, held)
}

on_each_kind!(
    slots_in_use_are_arrivals_times_the_time_that_a_look_up_of_keys_takes,
    the_same_arrivals_are_refused_more_the_longer_a_look_up_of_keys_takes,
);

fn slots_in_use_are_arrivals_times_the_time_that_a_look_up_of_keys_takes(kind: Kind) {
    let directory = tempfile::tempdir().unwrap();
    let rounds: Vec<(u64, Value, String)> = [0, 100, 400]
        .into_iter()
        .map(|ms| {
            let (round, told) = measured(kind, directory.path(), ms, "100:30:200");
            (ms, round, told)
        })
        .collect();
    let mut before = 0.0;
    for (ms, round, told) in &rounds {
        let numbers = &round["numbers"];
        assert_eq!(count(&numbers["total"], "handshakes"), CLIENTS);
        // Our client asks whether its key would do before it signs: sshd looks twice, and waits once.
        let quickest = numbers["total"]["times"]["auth"]["min_ns"]
            .as_u64()
            .unwrap();
        assert!(quickest >= ms * 1_000_000, "{ms}: {quickest}");
        let commands = numbers["server"]["key_commands"].as_u64();
        match ms {
            0 => assert_eq!(commands, None),
            _ => {
                let commands = commands.unwrap();
                assert!((CLIENTS..=2 * CLIENTS).contains(&commands), "{commands}");
                let words =
                    format!("sshd ran the key command {commands} times for {CLIENTS} logins");
                assert!(told.contains(&words), "{told}");
            }
        }
        // The client does not see sshd take the slot nor give it back: some milliseconds for each of them, and the gauge is
        // read a hundred times a second.
        let (in_use, held) = slot_seconds(round);
        let clients = f64::from(u32::try_from(CLIENTS).unwrap());
        let tolerance = 0.15 * held + 0.03 * clients;
        assert!(
            (in_use - held).abs() < tolerance,
            "{ms} ms: {in_use} slot seconds in use, {held} by the clients' clocks"
        );
        assert!(in_use > before, "{ms} ms: {in_use} after {before}");
        before = in_use;
    }
}

fn the_same_arrivals_are_refused_more_the_longer_a_look_up_of_keys_takes(kind: Kind) {
    let directory = tempfile::tempdir().unwrap();
    // 15 a second: on average less than one slot, some two and some seven, of the 2 there are.
    let refused = [0, 100, 400].map(|ms| {
        let (round, _) = measured(kind, directory.path(), ms, "2:100:2");
        count(&round["numbers"]["total"], "banner_eof")
    });
    assert!(
        refused.is_sorted_by(|less, more| less < more),
        "{refused:?}"
    );
}
