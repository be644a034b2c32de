//! What a simulated task costs: the size of its future, wakes and events a second, and how time and memory grow from a thousand tasks
//! to a million, as a burst and paced over hours with real polling.
//!
//! The growth is printed before criterion begins. `SSHCHURN_GROWTH=1000,10000` asks for other sizes, and for nothing else;
//! `SSHCHURN_GROWTH_OF="reused-session paced"` for one of the four.

#![allow(clippy::print_stdout)]

use std::future::poll_fn;
use std::hint::black_box;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::{Instant, SystemTime};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use futures::{Stream, StreamExt};
use sshchurn::session::simulate::{Simulation, summary};
use sshchurn_core::model::server::{Costs, ServerSettings};
use sshchurn_core::scenario::Scenario;
use sshchurn_engine::clock::RunClock;
use sshchurn_engine::collector::Collector;
use sshchurn_engine::simulation::{InPlace, SimulatedServers, VirtualTime, run};
use sshchurn_engine::{Engine, Spawner, StopController, plan_rounds};

/// As in the program.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const GROWTH: [u32; 4] = [1_000, 10_000, 100_000, 1_000_000];
/// Logins a second that the assumed server can take, by far: pacing stays below it.
const TASKS_PER_S: u32 = 20;

/// A million tasks at once, or as many a second as the server can take.
fn scenario(strategy: &str, tasks: u32, paced: bool) -> Scenario {
    let arrival = match paced {
        true => format!(
            "shape = \"ramp\"\nover = \"{}s\"",
            tasks.div_ceil(TASKS_PER_S)
        ),
        false => String::from("shape = \"burst\""),
    };
    let text = format!(
        "name = \"growth\"\ndescription = \"growth\"\ntasks = {tasks}\nrounds = 1\nmax_duration = \"24h\"\n[arrival]\n{arrival}\n\
         [job]\nduration = \"4s\"\n[sshd]\nmax_startups = \"100:30:200\"\n[[strategy]]\nkind = \"{strategy}\"\n\
         poll_interval = \"5s\"\n"
    );
    Scenario::parse("growth", &text).expect("a scenario")
}

/// A server that can take them.
fn simulation() -> Simulation {
    let mut simulation = Simulation::assumed();
    simulation.costs.cores = 64;
    simulation
}

/// Most memory of this process so far, MiB.
fn peak_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .and_then(|rest| {
            rest.trim()
                .trim_end_matches("kB")
                .trim()
                .parse::<u64>()
                .ok()
        })
        .unwrap_or(0)
        / 1024
}

/// Polls of all tasks: they outlive the spawner.
static POLLS: AtomicU64 = AtomicU64::new(0);

/// Finds out how large tasks are and how often they are polled.
#[derive(Default)]
struct Counting {
    size: AtomicUsize,
}

impl Spawner for Counting {
    const AHEAD: bool = false;

    async fn run_all<T>(&self, tasks: impl Stream<Item = T>, abort: impl Future<Output = ()>)
    where
        T: Future<Output = ()> + Send + 'static,
    {
        self.size.store(size_of::<T>(), Relaxed);
        let counted = tasks.map(|task| {
            let mut task = Box::pin(task);
            poll_fn(move |context| {
                POLLS.fetch_add(1, Relaxed);
                task.as_mut().poll(context)
            })
        });
        InPlace.run_all(counted, abort).await;
    }
}

/// One round with nobody listening: size of a task's future, and how often tasks were polled.
fn round(scenario: &Scenario) -> (usize, u64) {
    let time = VirtualTime::starting_at(SystemTime::UNIX_EPOCH);
    let collector = Collector::folding(RunClock::Virtual(time.clone()), |record| {
        black_box(record);
    });
    let (_controller, stop) = StopController::new();
    let engine = Engine::new(
        scenario.clone(),
        "/jobs".to_owned(),
        collector.clone(),
        stop,
    );
    let plan = plan_rounds(scenario).remove(0);
    let servers = SimulatedServers {
        settings: ServerSettings::of(scenario.sshd.max_startups),
        costs: Costs {
            cores: 64,
            ..Costs::assumed()
        },
        identification: "SSH-2.0-OpenSSH_9.2".to_owned(),
        refusal: "Exceeded MaxStartups",
        seed: 1,
        witnessed: false,
        collector,
    };
    let servers = servers.of_round(&plan);
    let counting = Counting::default();
    let before = POLLS.load(Relaxed);
    let tasks = engine.run_round_on(&counting, &plan, || servers.connector());
    run(&time, servers.board(), tasks).expect("it comes to an end");
    (counting.size.load(Relaxed), POLLS.load(Relaxed) - before)
}

fn growth() {
    let asked = std::env::var("SSHCHURN_GROWTH").unwrap_or_default();
    let asked: Vec<u32> = asked
        .split(',')
        .filter_map(|size| size.parse().ok())
        .collect();
    let sizes = if asked.is_empty() {
        &GROWTH[..]
    } else {
        &asked
    };
    println!("strategy        arrival      tasks      s   µs/task   events/task   memory so far");
    let only = std::env::var("SSHCHURN_GROWTH_OF").ok();
    for strategy in ["reused-session", "per-command"] {
        for (arrival, paced) in [("burst", false), ("paced", true)] {
            let this = format!("{strategy} {arrival}");
            if only.as_ref().is_some_and(|only| *only != this) {
                continue;
            }
            for tasks in sizes {
                let scenario = scenario(strategy, *tasks, paced);
                let begun = Instant::now();
                let (run, books) = summary(&scenario, &simulation(), false).expect("a run");
                let took = begun.elapsed().as_secs_f64();
                let done = run.strategies[0].numbers.tasks.tasks_scheduled;
                assert_eq!(done, u64::from(*tasks));
                println!(
                    "{strategy:<15} {arrival:<7} {tasks:>10} {took:>6.2} {:>9.1} {:>13.1} {:>9} MiB",
                    took * 1e6 / f64::from(*tasks),
                    books[0].events as f64 / f64::from(*tasks),
                    peak_mib(),
                );
            }
        }
    }
}

fn simulated(criterion: &mut Criterion) {
    growth();
    if std::env::var_os("SSHCHURN_GROWTH").is_some() {
        return;
    }
    let mut group = criterion.benchmark_group("simulated");
    group.sample_size(10);
    for strategy in ["reused-session", "per-command"] {
        let scenario = scenario(strategy, 1_000, true);
        let (size, polls) = round(&scenario);
        println!(
            "{strategy}: a task's future has {size} bytes and is polled {:.1} times",
            polls as f64 / 1e3
        );
        // Wakes a second.
        group.throughput(Throughput::Elements(polls));
        group.bench_function(strategy, |bencher| {
            bencher.iter(|| black_box(round(&scenario)))
        });
    }
    group.finish();
}

criterion_group!(benches, simulated);
criterion_main!(benches);
