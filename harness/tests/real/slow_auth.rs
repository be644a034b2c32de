//! A look-up of keys that takes its time: every login waits once, with its startup slot held, so that slots in use are arrivals
//! a second times the time in the slot (Little's law).

use std::path::Path;

use serde_json::Value;

use crate::driver::{books_balance, run, strategy};
use crate::machine::{Kind, on_each_kind};

const RATE_PER_S: f64 = 10.0;

/// The numbers of a round in which 50 clients come in five seconds.
fn measured(kind: Kind, directory: &Path, slow_auth_ms: u64) -> Value {
    let path = directory.join(format!("slow-{slow_auth_ms}.toml"));
    let text = format!(
        "name = \"slow\"\ntasks = 50\n[arrival]\nshape = \"ramp\"\nover = \"5s\"\n[[strategy]]\nkind = \"one-shot\"\n\
         [sshd]\nmax_startups = \"100:30:200\"\nslow_auth = \"{slow_auth_ms}ms\"\n[[gate]]\nthreshold = \"tasks_failed == 0\"\n"
    );
    std::fs::write(&path, text).unwrap();
    let finished = run(
        &directory.join(slow_auth_ms.to_string()),
        &[path.to_str().unwrap(), "--target", kind.as_str()],
    );
    let report = finished.code(0).report();
    books_balance(&report);
    strategy(&report, "one-shot")["per_round"][0].clone()
}

on_each_kind!(slots_grow_with_the_time_of_a_look_up_of_keys);

fn slots_grow_with_the_time_of_a_look_up_of_keys(kind: Kind) {
    let directory = tempfile::tempdir().unwrap();
    let [quick, slow] = [0, 400].map(|ms| measured(kind, directory.path(), ms));
    let quickest = |round: &Value| {
        round["numbers"]["total"]["times"]["auth"]["min_ns"]
            .as_u64()
            .unwrap()
    };
    // Our client asks whether its key would do before it signs: sshd looks twice, and waits once.
    assert!(quickest(&quick) < 400_000_000, "{}", quickest(&quick));
    assert!(
        (400_000_000..800_000_000).contains(&quickest(&slow)),
        "{}",
        quickest(&slow)
    );
    // Slots times seconds, as the gauge saw them: a sampled reading, so with room.
    let held = |round: &Value| {
        let seconds = |key: &str| round[key].as_f64().unwrap() / 1e9;
        round["startups"]["mean"].as_f64().unwrap() * (seconds("ended_ns") - seconds("started_ns"))
    };
    let grown = held(&slow) - held(&quick);
    let expected = RATE_PER_S * 5.0 * 0.4;
    assert!(
        (0.5 * expected..2.0 * expected).contains(&grown),
        "{grown} slot seconds instead of {expected}"
    );
}
