//! Silent clients beside the tasks: their slots are taken before the tasks come, nothing of them is counted with the tasks, and
//! a ban that they earn is said to be this run's own.

use std::path::Path;

use serde_json::Value;

use crate::driver::{Finished, books_balance, count, run, strategy};
use crate::machine::{Kind, on_each_kind};

fn run_text(directory: &Path, name: &str, text: &str, more: &[&str]) -> Finished {
    let path = directory.join(format!("{name}.toml"));
    std::fs::write(&path, text).unwrap();
    let arguments = [&[path.to_str().unwrap()][..], more].concat();
    run(&directory.join(name), &arguments)
}

fn holders(report: &Value, name: &str) -> Value {
    strategy(report, name)["totals"]["holders"].clone()
}

on_each_kind!(tasks_find_the_slots_of_holders_in_use);

fn tasks_find_the_slots_of_holders_in_use(kind: Kind) {
    let directory = tempfile::tempdir().unwrap();
    // 7 of 10 slots are gone: of 8 stalled clients exactly 3 get one, whatever the order.
    let text = "name = \"beside\"\ntasks = 8\n[holders]\ncount = 7\n[[strategy]]\nkind = \"stalled\"\n\
                [sshd]\nmax_startups = \"10:100:10\"\n";
    let finished = run_text(
        directory.path(),
        "beside",
        text,
        &["--target", kind.as_str()],
    )
    .code(0);
    let report = finished.report();
    books_balance(&report);
    let stalled = strategy(&report, "stalled");
    let total = &stalled["totals"]["total"];
    assert_eq!(count(total, "attempts"), 8);
    assert_eq!(count(total, "attempts_held"), 3);
    assert_eq!(count(total, "banner_eof"), 5);
    // Nor are they in what sshd's log says of the tasks, though they are in the log.
    assert_eq!(stalled["totals"]["server"]["server_drops"], 5);
    let connections = &stalled["per_round"][0]["reconciliation"]["connections"];
    assert_eq!(connections["server"], 15, "{connections:#}");
    let held = holders(&report, "stalled");
    for (what, number) in [
        ("asked", 7),
        ("admitted", 7),
        ("refused", 0),
        ("failed", 0),
        ("ended_by_grace", 0),
        ("logged_in", 0),
    ] {
        assert_eq!(held[what], number, "{held:#}");
    }
    // The rule's own distribution begins where the holders left off.
    let burst = &report["stalled_bursts"][0];
    assert_eq!(
        (&burst["expected_mean"], &burst["verdict"]),
        (&3.0.into(), &"fits".into())
    );
    let told = "stalled: 7 of 7 silent clients beside the tasks (7 in each round) were admitted and held a startup slot.";
    assert!(finished.stdout.contains(told), "{}", finished.stdout);
}

#[test]
fn holders_that_grace_time_ends_earn_a_ban_and_the_report_says_whose_it_is() {
    let Some(_alone) = Kind::Docker.alone() else {
        return;
    };
    let directory = tempfile::tempdir().unwrap();
    // Each of them costs 10 s (10.0: `grace-exceeded`): the second ends what `min` allows.
    let text = "name = \"grace\"\ntasks = 2\nrounds = 2\n[holders]\ncount = 3\nuntil = \"grace_time\"\n[[strategy]]\n\
                kind = \"one-shot\"\n[sshd]\nmax_startups = \"10:30:100\"\nmin_release = \"9.8\"\n[sshd.options]\n\
                LoginGraceTime = 2\nPerSourcePenalties = \"grace-exceeded:10s min:15s max:60s\"\n";
    let more = ["--target", "docker", "--release", "10.0"];
    let finished = run_text(directory.path(), "grace", text, &more);
    let report = finished.report();
    books_balance(&report);
    let one_shot = strategy(&report, "one-shot");
    let round = |index: usize| &one_shot["per_round"][index]["numbers"];
    // The first round's tasks meet no ban, and its holders none either.
    assert_eq!(round(0)["tasks"]["tasks_succeeded"], 2);
    assert_eq!(round(0)["holders"]["admitted"], 3);
    assert_eq!(round(0)["holders"]["ended_by_grace"], 3);
    // In the second everybody from that address is refused.
    assert_eq!(round(1)["tasks"]["tasks_succeeded"], 0);
    assert_eq!(round(1)["holders"]["refused_by_ban"], 3);
    let drops = &one_shot["totals"]["server"]["server_drops_by_cause"]["penalties"];
    assert_eq!(drops["grace-exceeded"], 2, "{drops:#}");
    for words in [
        "3 of these by a ban that this run had earned; 3 were ended by LoginGraceTime",
        "had banned the address (PerSourcePenalties, grace-exceeded); this run earned it itself, by 3 holders",
    ] {
        assert!(finished.stdout.contains(words), "{}", finished.stdout);
    }

    // One that stays until the round ends, and leaves by logging in, earns nothing.
    let blameless = text
        .replace("until = \"grace_time\"\n", "")
        .replace("LoginGraceTime = 2\n", "")
        .replace("grace-exceeded:10s", "noauth:24h grace-exceeded:10s");
    let finished = run_text(directory.path(), "blameless", &blameless, &more).code(0);
    let report = finished.report();
    books_balance(&report);
    let held = holders(&report, "one-shot");
    assert_eq!(
        (&held["admitted"], &held["logged_in"]),
        (&6.into(), &6.into())
    );
    let totals = &strategy(&report, "one-shot")["totals"];
    assert_eq!(count(&totals["total"], "handshakes"), 4);
    assert_eq!(totals["server"]["server_accepted"], 4);
    assert_eq!(totals["tasks"]["tasks_succeeded"], 4);
}
