//! Memory of the counts of sshd's log does not grow with the log: a test binary of its own, since its allocator counts.
//! It counts what the asking thread takes, and nothing of the test runner's.
#![allow(unsafe_code)]

mod grown_log;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use grown_log::GrownLog;
use sshchurn_core::server_log::{LogLines, ServerLogCounts, parse_line};

/// The system's allocator, counting bytes.
struct Counting;

thread_local! {
    // Made without memory and without a destructor, so that the allocator may use them at any time.
    static LIVE: Cell<usize> = const { Cell::new(0) };
    static PEAK: Cell<usize> = const { Cell::new(0) };
}

fn grown(bytes: usize) {
    // What one thread takes another may give back.
    let live = LIVE.get().wrapping_add(bytes);
    LIVE.set(live);
    PEAK.set(PEAK.get().max(live));
}

// SAFETY: every call goes to the system's allocator unchanged; only numbers are kept beside it.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        grown(layout.size());
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        LIVE.set(LIVE.get().wrapping_sub(layout.size()));
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(block, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The largest number of client ports there can be.
const ALL_PORTS: u32 = 65_536;

/// What reading a log costs, bytes.
struct Cost {
    /// Held by the counts at the end.
    held: usize,
    /// More than before at any moment, the line buffer included.
    peak: usize,
}

fn cost_of(lines: usize, mut line: impl FnMut(usize, &mut Vec<u8>)) -> Cost {
    let mut buffer = Vec::with_capacity(4096);
    let before = LIVE.get();
    PEAK.set(before);
    let mut counts = ServerLogCounts::new(None);
    let mut parser = LogLines::new();
    for number in 0..lines {
        buffer.clear();
        line(number, &mut buffer);
        // In two pieces, so that the parser has to keep one.
        let (first, second) = buffer.split_at(buffer.len() / 2);
        parser.feed(first, |line| {
            counts.fold(&parse_line(line));
        });
        parser.feed(second, |line| {
            counts.fold(&parse_line(line));
        });
    }
    parser.finish(|line| {
        counts.fold(&parse_line(line));
    });
    drop(parser);
    assert_eq!(counts.lines, lines as u64);
    Cost {
        held: LIVE.get() - before,
        peak: PEAK.get() - before,
    }
}

#[test]
fn counts_do_not_grow_with_the_log() {
    // With ports that soon repeat, a hundred times the log is not a byte more.
    let few = GrownLog::with_ports(500);
    let short = cost_of(10_000, |number, line| few.append(number, line));
    let long = cost_of(1_000_000, |number, line| few.append(number, line));
    assert!(short.held > 0);
    assert_eq!(long.held, short.held, "held");
    assert_eq!(long.peak, short.peak, "peak");

    // Nor with every port there is: single connections are not the counts'.
    let all = GrownLog::with_ports(ALL_PORTS);
    let long = cost_of(1_000_000, |number, line| all.append(number, line));
    assert_eq!(long.held, short.held, "held");

    // And what no sshd would write: numbers and texts that are never the same twice.
    let odd = |number: usize, line: &mut Vec<u8>| {
        let text = match number % 4 {
            0 => format!("p {number}, r 3\n"),
            1 => format!("drop connection #{number} from [::1]:9 on [::1]:22 Maxstartups\n"),
            2 => format!(
                "drop connection #1 from [::1]:9 on [::1]:22 penalty: for reason {number}\n"
            ),
            _ => format!("line {number} is none that is known\n"),
        };
        line.extend_from_slice(text.as_bytes());
    };
    // Past the last number of slots that is told apart.
    assert_eq!(cost_of(200_000, odd).held, cost_of(100_000, odd).held);
}
