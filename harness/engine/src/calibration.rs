//! Before the first round: what one connect and one bare exec cost, and what of it the login shell adds.
//!
//! The first contact pays for cold caches and is thrown away. Nothing here is recorded as an attempt: the ledger
//! begins after it. Every connection logs in and says good-bye, since one that leaves earlier earns its address a penalty
//! (`PerSourcePenalties`, 9.8).

use std::collections::BTreeMap;
use std::time::Duration;

use crate::clock::RunClock;
use crate::ssh::{Command, ConnectLimits, Connector, Session, Tap};
use sshchurn_core::instant::RunInstant;
use sshchurn_core::vocabulary::{AttemptOutcome, AttemptTrace};

/// Connections made for the round-trip time.
const CONNECTS: usize = 5;
/// Commands run for the exec cost.
const EXECS: usize = 9;
/// sshd's default MaxSessions is 10 and channels are used one after another, so this is only a time bound.
const WITHIN: Duration = Duration::from_secs(20);
/// sshd ends a login that takes longer (`LoginGraceTime`); a look-up of keys may take most of it.
const LOGIN_WITHIN: Duration = Duration::from_secs(120);

/// Between two tries of a login that was refused.
const AGAIN_AFTER: Duration = Duration::from_millis(50);
/// How long a server may refuse before it is one that lets nobody in. A busy one draws for each connection, and one with a
/// single slot gives it back a moment after the client has been let in.
const FIRST_LOGIN: Duration = Duration::from_secs(10);
/// How long all the further ones together may take, before what was measured has to do.
const FURTHER_LOGINS: Duration = Duration::from_secs(5);

/// Prints the shell's start (clock ticks since boot, proc(5) field 22) and the present uptime (seconds): their
/// difference is what the login shell spent before it came to the command.
const SHELL_AGE: &str =
    "read -r stat < /proc/$$/stat; read -r up rest < /proc/uptime; echo \"${stat##*)} $up\"";

/// The measured costs; `None` where they could not be measured.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Calibration {
    /// The server's identification string, without line end.
    pub identification: Option<String>,
    /// Logins that were refused before one was let in, or given up.
    pub refused: Refusals,
    /// Median time of a TCP connect.
    pub round_trip: Option<Duration>,
    /// Median time of `true` on an established connection.
    pub exec: Option<Duration>,
    /// Median time the login shell takes before it runs the command; resolution 10 ms, Linux servers only.
    pub login_shell: Option<Duration>,
}

/// Logins that a server refused to a single client, and in what words.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Refusals {
    /// Logins that were tried, refused or not.
    pub tried: u32,
    /// Those that were refused.
    pub count: u32,
    /// The same by what the server said in place of its identification string; empty where it said nothing.
    pub texts: BTreeMap<String, u32>,
    /// From the first try to the last.
    pub took: Duration,
}

/// Most of a server's words that are kept; sshd's have 26 bytes.
const MOST_CHARS: usize = 80;

impl Refusals {
    /// Counts one.
    pub fn add(&mut self, trace: &AttemptTrace) {
        self.count += 1;
        let text = trace.text_before.as_deref().unwrap_or_default().trim();
        let kept: String = text.chars().take(MOST_CHARS).collect();
        *self
            .texts
            .entry(kept.escape_debug().to_string())
            .or_default() += 1;
    }

    /// For a person: how many of how many, in what words and over how long.
    #[must_use]
    pub fn sentence(&self) -> String {
        let texts: Vec<String> = self
            .texts
            .iter()
            .map(|(text, count)| match text.as_str() {
                "" => format!("{count} without a word"),
                text => format!("{count} with `{text}`"),
            })
            .collect();
        format!(
            "{} of {} logins of a single client within {:.1} s ({})",
            self.count,
            self.tried,
            self.took.as_secs_f64(),
            texts.join(", ")
        )
    }
}

/// Nobody was let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LetsNobodyIn {
    /// What became of the last login.
    pub outcome: AttemptOutcome,
    /// The refusals until then.
    pub refused: Refusals,
}

/// Measures. A login that is refused is tried again for some seconds; once one was let in, those that are still refused are
/// given up, and what was measured has to do.
///
/// # Errors
/// The outcome of the first login: a target that never lets a single client in is not ready for many.
pub async fn calibrate<C: Connector>(
    clock: &RunClock,
    connector: &C,
) -> Result<Calibration, LetsNobodyIn> {
    let mut logins = Logins {
        clock,
        connector,
        identification: None,
        begun: clock.now(),
        refused: Refusals::default(),
    };
    let mut round_trips = Vec::new();
    let (mut last, _) = match logins.one(clock.now() + FIRST_LOGIN).await {
        Ok(first) => first,
        Err(outcome) => {
            return Err(LetsNobodyIn {
                outcome,
                refused: logins.refused,
            });
        }
    };
    let further_by = clock.now() + FURTHER_LOGINS;
    for _ in 0..CONNECTS {
        // Where a login takes long, a few have to do.
        if clock.now() >= further_by {
            break;
        }
        let Ok((session, round_trip)) = logins.one(further_by).await else {
            break;
        };
        round_trips.extend(round_trip);
        std::mem::replace(&mut last, session).close().await;
    }
    let (execs, shells) = commands(clock, &last).await;
    last.close().await;
    let exec = median(execs);
    Ok(Calibration {
        identification: logins.identification,
        refused: logins.refused,
        round_trip: median(round_trips),
        exec,
        login_shell: share(median(shells), exec),
    })
}

/// Logins one after the other.
struct Logins<'a, C> {
    clock: &'a RunClock,
    connector: &'a C,
    identification: Option<String>,
    begun: RunInstant,
    refused: Refusals,
}

impl<C: Connector> Logins<'_, C> {
    /// The next one, with the time of its TCP connect; tried again while the server refuses, until `by`.
    async fn one(
        &mut self,
        by: RunInstant,
    ) -> Result<(C::Session, Option<Duration>), AttemptOutcome> {
        let limits = ConnectLimits {
            login: LOGIN_WITHIN,
            ..ConnectLimits::within(WITHIN)
        };
        loop {
            let tap = Tap::new(self.clock.clone());
            let login = self.connector.connect(&limits, &tap).await;
            self.refused.tried += 1;
            self.refused.took = self.clock.now().since(self.begun);
            if matches!(login, Err(AttemptOutcome::BannerEof { .. })) {
                self.refused.add(&tap.trace());
            }
            match login {
                Ok(session) => {
                    let trace = tap.trace();
                    self.identification = trace.identification;
                    let begun = trace.connect_called;
                    let round_trip = trace
                        .connected
                        .zip(begun)
                        .map(|(connected, begun)| connected.since(begun));
                    return Ok((session, round_trip));
                }
                Err(AttemptOutcome::BannerEof { .. }) if self.clock.now() < by => {
                    self.clock.sleep(AGAIN_AFTER).await;
                }
                Err(outcome) => return Err(outcome),
            }
        }
    }
}

/// The times of bare commands on an established connection, and what of them the login shell took. A server that refuses
/// channels (MaxSessions 0) still has a round-trip time.
async fn commands<S: Session>(clock: &RunClock, session: &S) -> (Vec<Duration>, Vec<Duration>) {
    let (mut execs, mut shells) = (Vec::new(), Vec::new());
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
    (execs, shells)
}

/// From the fields after the command name in `/proc/<pid>/stat`, and the uptime appended to them.
fn shell_age(line: &str) -> Option<Duration> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    // Field 22 (starttime) is the 20th after the name; USER_HZ is 100 on every Linux there is.
    let started = fields.get(19)?.parse::<f64>().ok()? / 100.0;
    let uptime = fields.last()?.parse::<f64>().ok()?;
    Duration::try_from_secs_f64((uptime - started).max(0.0)).ok()
}

/// Two medians of different commands, the one with a resolution of 10 ms: no part is larger than the whole.
fn share(part: Option<Duration>, whole: Option<Duration>) -> Option<Duration> {
    whole.map_or(part, |whole| part.map(|part| part.min(whole)))
}

fn median(mut values: Vec<Duration>) -> Option<Duration> {
    values.sort_unstable();
    values.get(values.len() / 2).copied()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::testing::{EOF, FakeConnector, Script};

    fn server(script: Script) -> (RunClock, FakeConnector) {
        let clock = RunClock::start();
        (clock.clone(), FakeConnector::new(script, clock))
    }

    #[tokio::test(start_paused = true)]
    async fn busy_server_that_lets_one_of_several_in_is_measured_and_its_refusals_are_counted() {
        let mut script = Script::default();
        script
            .connects
            .extend([Some(EOF), Some(EOF), None, Some(EOF)]);
        let (clock, connector) = server(script);
        let measured = calibrate(&clock, &connector).await.unwrap();
        assert_eq!((measured.refused.count, measured.refused.tried), (3, 9));
        let words = measured.refused.sentence();
        assert!(words.starts_with("3 of 9 logins"), "{words}");
        assert!(measured.exec.is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn server_that_lets_nobody_in_is_an_error_and_one_that_stops_to_is_measured_by_what_it_let_in()
     {
        let shut = |first: &[Option<AttemptOutcome>]| Script {
            connects: first.iter().cloned().collect(),
            refuse_all: Some(EOF),
            ..Script::default()
        };
        let (clock, connector) = server(shut(&[]));
        let nobody = calibrate(&clock, &connector).await.unwrap_err();
        assert_eq!(nobody.outcome, EOF);
        assert_eq!(nobody.refused.count, nobody.refused.tried);
        assert!(nobody.refused.took >= FIRST_LOGIN, "{nobody:?}");
        let (clock, connector) = server(shut(&[None]));
        let measured = calibrate(&clock, &connector).await.unwrap();
        assert!(measured.exec.is_some() && measured.refused.count > 0);
    }

    #[test]
    fn login_shell_takes_no_more_of_a_command_than_the_whole_of_it() {
        let [part, whole] = [90, 88].map(|ms| Some(Duration::from_millis(ms)));
        assert_eq!(share(part, whole), whole);
        assert_eq!(share(whole, part), whole);
        assert_eq!(share(part, None), part);
    }

    #[test]
    fn shell_age_is_uptime_minus_start() {
        let line = " S 1 2 2 0 -1 4194560 100 0 0 0 0 0 0 0 20 0 1 0 100050 2600 200 18446744073709551615 1001.40\n";
        assert_eq!(shell_age(line), Some(Duration::from_secs_f64(0.9)));
        assert_eq!(shell_age("csh: no such file\n"), None);
    }
}
