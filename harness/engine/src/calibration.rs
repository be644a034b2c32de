//! Before the first round: what one connect and one bare exec cost, and what of it the login shell adds.
//!
//! The first contact pays for cold caches and is thrown away. Nothing here is recorded as an attempt: the ledger
//! begins after it.

use std::time::Duration;

use crate::clock::RunClock;
use crate::ssh::{Command, ConnectLimits, Connector, Session, Tap};
use sshchurn_core::vocabulary::AttemptOutcome;

/// Connections made for the round-trip time.
const CONNECTS: usize = 5;
/// Commands run for the exec cost.
const EXECS: usize = 9;
/// sshd's default MaxSessions is 10 and channels are used one after another, so this is only a time bound.
const WITHIN: Duration = Duration::from_secs(20);

/// Prints the shell's start (clock ticks since boot, proc(5) field 22) and the present uptime (seconds): their
/// difference is what the login shell spent before it came to the command.
const SHELL_AGE: &str =
    "read -r stat < /proc/$$/stat; read -r up rest < /proc/uptime; echo \"${stat##*)} $up\"";

/// The measured costs; `None` where they could not be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Calibration {
    /// Median time of a TCP connect.
    pub round_trip: Option<Duration>,
    /// Median time of `true` on an established connection.
    pub exec: Option<Duration>,
    /// Median time the login shell takes before it runs the command; resolution 10 ms, Linux servers only.
    pub login_shell: Option<Duration>,
}

/// Measures.
///
/// # Errors
/// The outcome of the connection attempt that failed: a target that refuses a single client is not ready for many.
pub async fn calibrate<C: Connector>(
    clock: &RunClock,
    connector: &C,
) -> Result<Calibration, AttemptOutcome> {
    let limits = ConnectLimits {
        connect: WITHIN,
        banner: WITHIN,
        login: WITHIN,
        whole: None,
        source: None,
        keepalive: None,
        asks_methods: false,
        work: None,
    };
    let mut round_trips = Vec::new();
    let mut last = None;
    for warm in 0..=CONNECTS {
        let tap = Tap::new(clock.clone());
        let session = connector.connect(&limits, &tap).await?;
        let trace = tap.trace();
        if let (Some(called), Some(connected), true) =
            (trace.connect_called, trace.connected, warm > 0)
        {
            round_trips.push(connected.since(called));
        }
        if let Some(previous) = last.replace(session) {
            Session::close(previous).await;
        }
    }
    let mut execs = Vec::new();
    let mut shells = Vec::new();
    if let Some(session) = last {
        // A server that refuses channels (MaxSessions 0) still has a round-trip time.
        let _ = session.run(Command::Run("true"), WITHIN).await;
        for _ in 0..EXECS {
            let started = clock.now();
            if session.run(Command::Run("true"), WITHIN).await.is_ok() {
                execs.push(clock.now().since(started));
            }
            if let Ok(output) = session.run(Command::Run(SHELL_AGE), WITHIN).await {
                shells.extend(shell_age(&String::from_utf8_lossy(output.stdout.kept())));
            }
        }
        session.close().await;
    }
    Ok(Calibration {
        round_trip: median(round_trips),
        exec: median(execs),
        login_shell: median(shells),
    })
}

/// From the fields after the command name in `/proc/<pid>/stat`, and the uptime appended to them.
fn shell_age(line: &str) -> Option<Duration> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    // Field 22 (starttime) is the 20th after the name; USER_HZ is 100 on every Linux there is.
    let started = fields.get(19)?.parse::<f64>().ok()? / 100.0;
    let uptime = fields.last()?.parse::<f64>().ok()?;
    Duration::try_from_secs_f64((uptime - started).max(0.0)).ok()
}

fn median(mut values: Vec<Duration>) -> Option<Duration> {
    values.sort_unstable();
    values.get(values.len() / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shell_age_is_uptime_minus_start() {
        let line = " S 1 2 2 0 -1 4194560 100 0 0 0 0 0 0 0 20 0 1 0 100050 2600 200 18446744073709551615 1001.40\n";
        assert_eq!(shell_age(line), Some(Duration::from_secs_f64(0.9)));
        assert_eq!(shell_age("csh: no such file\n"), None);
    }
}
