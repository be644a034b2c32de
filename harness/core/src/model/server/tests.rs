//! Oracles of the simulated server: exact distributions and closed forms.

use rand::RngExt;

use super::*;
use crate::model::BurstDistribution;

fn at(ns: u64) -> RunInstant {
    RunInstant(ns)
}

fn dial(silent: bool) -> Dial {
    Dial {
        silent,
        asks_methods: false,
        unknown_key: false,
        within: Deadlines::default(),
        own_work: None,
        peer: Peer {
            source: 1,
            port: 1024,
        },
    }
}

fn asker(client: u32) -> Asker {
    Asker {
        client,
        question: 0,
    }
}

/// A server on which everything but one work is free.
fn costs(cores: u32, start_cpu_ns: u64) -> Costs {
    Costs {
        cores,
        clients: ClientPlace::Elsewhere,
        shares: Vec::new(),
        listener_spread: 0.0,
        round_trip_ns: 0,
        connect_cpu_ns: 0,
        accept_cpu_ns: 0,
        fork_cpu_ns: 0,
        start_cpu_ns,
        client_kex_cpu_ns: 0,
        kex_cpu_ns: 0,
        auth_request_ns: 0,
        auth_cpu_ns: 0,
        release_cpu_ns: 0,
        session_cpu_ns: 0,
        first_command_wait_ns: 0,
        exec_cpu_ns: 0,
        client_exec_cpu_ns: 0,
        process_cpu_ns: 0,
        end_cpu_ns: 0,
        spread: 0.0,
        uncertainty: 0.0,
    }
}

fn settings(text: &str) -> ServerSettings {
    ServerSettings {
        login_grace: None,
        ..ServerSettings::of(text.parse().expect("a MaxStartups"))
    }
}

/// 20,000 bursts of each of five settings against every probability of the exact distribution: 100,000 bursts in all.
/// The answers up to then.
fn answered_by(
    server: &mut SimulatedServer,
    now: RunInstant,
) -> std::vec::IntoIter<(Question, Answer, Stamps)> {
    let mut answers = Vec::new();
    server.advance(now, &mut answers);
    answers.into_iter()
}

#[test]
fn stalled_bursts_have_the_exact_distribution() {
    const BURSTS: u32 = 20_000;
    for (spec, clients) in [
        ("10:30:100", 60_u32),
        ("10:30:60", 120),
        ("5:50:40", 40),
        ("1:1:20", 25),
        ("3:100:3", 9),
    ] {
        let exact = BurstDistribution::of_stalled_burst(clients, spec.parse().expect("valid"));
        let mut seen = vec![0_u32; clients as usize + 1];
        for burst in 0..BURSTS {
            let mut server = SimulatedServer::new(settings(spec), costs(2, 1000), u64::from(burst));
            for client in 0..clients {
                server.dial(at(0), asker(client), dial(true));
            }
            let end = at(1_000_000_000);
            let admitted = answered_by(&mut server, end)
                .filter(|(_, answer, _)| matches!(answer, Answer::In(_)))
                .count();
            seen[admitted] += 1;
        }
        // Pearson's test over the cells with at least 5 expected; 5 standard deviations of its distribution allowed.
        let (mut statistic, mut cells, mut rest) = (0.0, 0.0, (0.0, 0.0));
        for (admitted, seen) in seen.iter().enumerate() {
            let expected = exact.probability(admitted as u32) * f64::from(BURSTS);
            if expected >= 5.0 {
                statistic += (f64::from(*seen) - expected).powi(2) / expected;
                cells += 1.0;
            } else {
                rest = (rest.0 + f64::from(*seen), rest.1 + expected);
            }
        }
        let freedom: f64 = cells;
        let limit = freedom + 5.0 * (2.0 * freedom).sqrt();
        assert!(statistic <= limit, "{spec}: {statistic} of {limit}");
        assert!(
            rest.0 <= rest.1 + 5.0 * rest.1.max(1.0).sqrt(),
            "{spec}: {rest:?}"
        );
    }
}

/// M/M/c and M/M/1 with processor sharing have the same number in the system when there is one core: rho / (1 - rho); with more
/// cores, R-PS with exponential work is M/M/c (each of n ≤ c jobs is served at rate 1, c in all beyond).
#[test]
fn shared_cores_hold_as_many_jobs_as_erlang_says() {
    for (cores, load) in [(1_u32, 0.5_f64), (1, 0.8), (2, 0.6), (4, 0.7)] {
        const MEAN_NS: f64 = 1_000_000.0;
        const JOBS: u32 = 200_000;
        let mut pool: Cores<u32> = Cores::new(cores, Shares::default());
        let mut draws = ChaCha8Rng::seed_from_u64(7);
        let mut exponential = |mean: f64| {
            let unit: f64 = draws.random();
            -(1.0 - unit).ln() * mean
        };
        let between = MEAN_NS / (load * f64::from(cores));
        let (mut now, mut inside, mut area, mut arrived) = (0_u64, 0_u32, 0.0, 0_u32);
        let mut arrival = exponential(between) as u64;
        while arrived < JOBS {
            let next = pool.next(now).map_or(arrival, |done| done.min(arrival));
            area += (next - now) as f64 * f64::from(inside);
            pool.pass(next - now);
            now = next;
            while pool.done().is_some() {
                inside -= 1;
            }
            if next == arrival {
                pool.add(Worker::Server, exponential(MEAN_NS), arrived);
                inside += 1;
                arrived += 1;
                arrival += exponential(between).max(1.0) as u64;
            }
        }
        let mean = area / now as f64;
        let expected = erlang_mean(cores, load);
        assert!(
            (mean / expected - 1.0).abs() < 0.04,
            "{cores} cores at {load}: {mean}, {expected} expected"
        );
    }
}

/// Mean number in an M/M/c: Erlang's C formula.
fn erlang_mean(cores: u32, load: f64) -> f64 {
    let c = f64::from(cores);
    let offered = load * c;
    let mut term = 1.0;
    let mut sum = 1.0;
    for k in 1..cores {
        term *= offered / f64::from(k);
        sum += term;
    }
    let last = term * offered / c;
    let waits = last / (1.0 - load) / (sum + last / (1.0 - load));
    offered + waits * load / (1.0 - load)
}

#[test]
fn equal_jobs_share_equally_and_leave_together_in_the_order_of_their_names() {
    let mut pool: Cores<u32> = Cores::new(2, Shares::default());
    for job in [3, 1, 2, 0] {
        pool.add(Worker::Server, 1_000.0, job);
    }
    // Four jobs on two cores: half a core each.
    assert_eq!(pool.next(0), Some(2_000));
    pool.pass(2_000);
    let order: Vec<u32> = std::iter::from_fn(|| pool.done()).collect();
    assert_eq!(order, [0, 1, 2, 3]);
}

#[test]
fn time_in_the_slot_adds_up_to_slots_over_time() {
    let mut server = SimulatedServer::new(settings("20:30:60"), Costs::assumed(), 3);
    for client in 0..100 {
        server.dial(
            at(u64::from(client) * 3_000_000),
            asker(client),
            dial(false),
        );
    }
    let end = at(60_000_000_000);
    answered_by(&mut server, end).count();
    let books = server.books();
    assert_eq!(books.admitted, books.released);
    // Little's law, with both sides counted on their own: the area under the gauge, and what each connection had.
    assert_eq!(books.slot_ns, books.in_slot_ns);
    assert!(books.refused > 0 && books.logins == books.admitted);
}

#[test]
fn full_listen_queue_makes_the_kernel_drop_syns_and_they_come_again_after_a_second() {
    let slow = Costs {
        accept_cpu_ns: 90_000_000,
        ..costs(1, 1000)
    };
    let mut server = SimulatedServer::new(settings("1000:30:1000"), slow, 1);
    for client in 0..140 {
        server.dial(at(0), asker(client), dial(true));
    }
    // One is being accepted, 129 wait, the rest must come again.
    answered_by(&mut server, at(1)).count();
    assert_eq!(server.books().syns_dropped, 10);
    assert_eq!(server.books().queue_peak, 129);
    let connected: Vec<u64> = answered_by(&mut server, at(60_000_000_000))
        .filter_map(|(_, _, stamps)| stamps.connected.get())
        .collect();
    assert_eq!(connected.len(), 140);
    assert_eq!(
        connected.iter().filter(|at| **at == 1_000_000_000).count(),
        10
    );
}

#[test]
fn silent_client_is_ended_by_login_grace_time_and_its_slot_is_free() {
    let mut server = SimulatedServer::new(
        ServerSettings {
            login_grace: Some(Duration::from_secs(2)),
            ..settings("1:30:1")
        },
        costs(1, 1000),
        1,
    );
    server.dial(at(0), asker(0), dial(true));
    let answers: Vec<_> = answered_by(&mut server, at(1_000_000)).collect();
    let [(question, Answer::In(connection), _)] = answers[..] else {
        panic!("{answers:?}");
    };
    server.taken(question);
    server.dial(at(1_000_000), asker(1), dial(true));
    let refused: Vec<_> = answered_by(&mut server, at(2_000_000))
        .map(|(_, answer, _)| answer)
        .collect();
    // Where everything is free the client's own identification string is there first.
    assert_eq!(refused, [Answer::Refused { reset: true }]);
    server.watch(at(2_000_000), asker(2), connection);
    let lost: Vec<_> = answered_by(&mut server, at(3_000_000_000))
        .map(|(_, answer, _)| answer)
        .collect();
    assert_eq!(lost, [Answer::Lost]);
    server.dial(at(3_000_000_000), asker(3), dial(true));
    let again: Vec<_> = answered_by(&mut server, at(3_001_000_000))
        .map(|(_, answer, _)| answer)
        .collect();
    assert!(matches!(again[..], [Answer::In(_)]), "{again:?}");
}

#[test]
fn requests_take_the_least_time_or_twice_that() {
    for (auth_cpu_ns, least, expected) in [
        (0, 7_000_000, 14_000_000),
        (6_000_000, 7_000_000, 14_000_000),
        // Each request takes 10 ms, and is answered after 14.
        (20_000_000, 7_000_000, 28_000_000),
    ] {
        let costs = Costs {
            auth_request_ns: least,
            auth_cpu_ns,
            ..costs(1, 0)
        };
        let mut server = SimulatedServer::new(settings("10:30:20"), costs, 1);
        server.dial(at(0), asker(0), dial(false));
        let stamps = answered_by(&mut server, at(1_000_000_000))
            .map(|(_, _, stamps)| stamps)
            .next()
            .expect("answered");
        assert_eq!(stamps.authenticated.instant(), Some(at(expected)));
    }
}

#[test]
fn limit_per_source_refuses_what_max_startups_lets_in() {
    let mut server = SimulatedServer::new(
        ServerSettings {
            per_source_max_startups: Some(3),
            ..settings("10:30:20")
        },
        costs(1, 1000),
        1,
    );
    for client in 0..8 {
        let mut from = dial(true);
        from.peer.source = client % 2;
        server.dial(at(0), asker(client), from);
    }
    answered_by(&mut server, at(1_000_000)).count();
    assert_eq!((server.books().admitted, server.books().refused), (6, 2));
}

#[test]
fn order_of_asking_at_one_instant_changes_nothing() {
    let run = |order: &[u32]| {
        let mut server = SimulatedServer::new(settings("5:50:20"), Costs::assumed(), 9).noting();
        for client in order {
            server.dial(at(5), asker(*client), dial(false));
        }
        answered_by(&mut server, at(20_000_000_000)).count();
        (server.take_notes(), server.books().clone())
    };
    let forwards: Vec<u32> = (0..40).collect();
    let backwards: Vec<u32> = (0..40).rev().collect();
    assert_eq!(run(&forwards), run(&backwards));
}

/// Closing a socket with something unread in it sends an RST: what refuses faster than the client speaks sends a FIN.
#[test]
fn client_that_has_spoken_before_is_refused_by_rst_and_a_slow_one_by_fin() {
    for (connect_cpu_ns, accept_cpu_ns, reset) in
        [(1_000, 50_000, true), (1_000_000, 50_000, false)]
    {
        let costs = Costs {
            connect_cpu_ns,
            accept_cpu_ns,
            ..costs(2, 1000)
        };
        let mut server = SimulatedServer::new(settings("1:100:1"), costs, 1);
        server.dial(at(0), asker(0), dial(true));
        server.dial(at(5_000_000), asker(1), dial(true));
        let refused = answered_by(&mut server, at(1_000_000_000))
            .map(|(_, answer, _)| answer)
            .next_back();
        assert_eq!(refused, Some(Answer::Refused { reset }));
    }
}

#[test]
fn first_command_of_a_connection_waits_and_the_next_does_not() {
    let costs = Costs {
        first_command_wait_ns: 40_000_000,
        ..costs(1, 0)
    };
    let mut server = SimulatedServer::new(settings("10:30:20"), costs, 1);
    server.dial(at(0), asker(0), dial(false));
    let mut now = 0;
    let answered = |server: &mut SimulatedServer, now: &mut u64| {
        let RunInstant(next) = server.run_until(at(u64::MAX)).expect("an answer");
        *now = next;
        let (question, answer, _) = answered_by(server, at(next)).next().expect("an answer");
        server.taken(question);
        answer
    };
    let Answer::In(connection) = answered(&mut server, &mut now) else {
        panic!("not let in");
    };
    for expected in [40_000_000, 40_000_000] {
        let (work, within) = (Duration::ZERO, Duration::from_secs(10));
        server.run(at(now), asker(0), connection, work, within);
        assert_eq!(answered(&mut server, &mut now), Answer::Ran);
        assert_eq!(now, expected);
    }
}

/// On one core, by weight; what one cannot use is for the others.
#[test]
fn listener_clients_and_the_others_share_the_cores_by_their_weights() {
    let shares = Shares {
        listener: 4.0,
        clients: 3.0,
    };
    let mut machine: Cores<u32> = Cores::new(1, shares);
    machine.add(Worker::Listener, 1e6, 0);
    machine.add(Worker::Server, 1e6, 1);
    // Two clients weigh no more than one.
    machine.add(Worker::Client, 1e6, 3);
    machine.add(Worker::Client, 1e6, 4);
    let rates = [Worker::Listener, Worker::Server, Worker::Client].map(|who| machine.rate(who));
    for (rate, expected) in rates.into_iter().zip([0.5, 0.125, 0.1875]) {
        assert!((rate - expected).abs() < 1e-9, "{rates:?}");
    }
    assert!((machine.busy() - 1.0).abs() < 1e-9);
    // With three cores the listener would have more than a core to itself.
    let mut machine: Cores<u32> = Cores::new(3, shares);
    for (who, job) in [
        (Worker::Listener, 0),
        (Worker::Server, 1),
        (Worker::Server, 2),
        (Worker::Server, 3),
    ] {
        machine.add(who, 1e6, job);
    }
    assert_eq!(machine.rate(Worker::Listener), 1.0);
    assert!((machine.rate(Worker::Server) - 2.0 / 3.0).abs() < 1e-9);
}

#[test]
fn rounds_of_an_uncertain_machine_differ_and_those_of_one_seed_do_not() {
    let costs = Costs {
        uncertainty: 0.1,
        ..Costs::assumed()
    };
    let start = |seed| {
        let server = SimulatedServer::new(settings("10:30:20"), costs.clone(), seed);
        server.costs().start_cpu_ns
    };
    assert_eq!(start(1), start(1));
    let logarithms: Vec<f64> = (0..2000)
        .map(|seed| (start(seed) as f64 / costs.start_cpu_ns as f64).ln())
        .collect();
    let mean = logarithms.iter().sum::<f64>() / 2000.0;
    let variance = logarithms.iter().map(|it| (it - mean).powi(2)).sum::<f64>() / 2000.0;
    assert!(
        mean.abs() < 0.01 && (variance.sqrt() - 0.1).abs() < 0.01,
        "{mean} {variance}"
    );
}
