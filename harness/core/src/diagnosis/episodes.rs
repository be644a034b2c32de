//! Throttling episodes: how many connections were refused, from the lines that say so in part.
//!
//! Owns the arithmetic. sshd logs refusals in three ways (sshd.c:drop_connection, log.c:log_ratelimit):
//! - up to 8.3 each one, at VERBOSE;
//! - 8.4 to 9.9 a beginning (ERROR), the first one (INFO), the others (VERBOSE), and the total at the end (INFO);
//! - from 10.0 on the first few of a burst (INFO), the others at DEBUG3, and how many those were with a later refusal.
//!
//! A total is never added to the single lines of the same episode. Penalties are logged one by one in 9.8 and 9.9, and limited
//! from 10.0 on.

use std::collections::{BTreeMap, HashMap};

use super::add;
use super::result::{Drops, Episode, EpisodeRule, WhyAtLeast};
use crate::server_log::Moment;

/// Episodes kept; others are counted.
const MOST_EPISODES: usize = 10_000;
/// Places whose level is known; of others the lower one is supposed.
const MOST_VERBOSE: usize = 100;
/// Ports of one episode that are told apart.
const MOST_PORTS: usize = 8;
/// Listeners told apart.
const MOST_LISTENERS: usize = 1_000;
/// Where sshd names no end, this long without a refusal is one, microseconds: 10.0 and later may be silent for 300 s while they
/// refuse (`MAXSTARTUPS` log_every in sshd.c).
const GAP: i64 = 360 * 1_000_000;
/// Below this distance of two lines sshd's limiter has let the second one through because it had become quiet, not because
/// five minutes were over, microseconds.
const QUIET: i64 = 300 * 1_000_000;

/// Why a line's connection was refused, as far as it and the draw before it say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cause {
    MaxStartups,
    PerSource,
    /// sshd words both alike.
    Either,
    Penalty(&'static str),
}

/// One refusal with a line of its own.
#[derive(Debug, Clone, Copy)]
pub(super) struct SingleDrop {
    pub(super) cause: Cause,
    pub(super) slots: u32,
    /// The server's.
    pub(super) port: u16,
    /// `past MaxStartups`: 9.9 or older.
    pub(super) old: bool,
    /// A line that the limiter of 10.0 and later would have held back.
    pub(super) debug: bool,
    /// Forced out by `LogVerbose`, as all others are then.
    pub(super) forced: bool,
    pub(super) times: u64,
}

/// Who logged it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Listener {
    pub(super) origin: Option<String>,
    pub(super) pid: Option<u32>,
}

#[derive(Debug, Default)]
struct Open {
    begin: Option<Moment>,
    last: Option<Moment>,
    /// Began with sshd's own word.
    begun: bool,
    old: bool,
    listed: u64,
    debug: u64,
    forced: bool,
    /// The server's, of its single lines: one more than [`MOST_PORTS`] where there are any number.
    ports: Vec<u16>,
    /// What sshd said on the way.
    so_far: u64,
    held_back: u64,
    /// The limiter may hold lines back of which nothing has been said.
    limited: bool,
    bucket: i64,
    /// Time between the last two lines.
    gap: Option<i64>,
    most_slots: Option<u32>,
    causes: [u64; 2],
    penalties: BTreeMap<&'static str, u64>,
}

#[derive(Debug, Default)]
struct State {
    startups: Option<Open>,
    penalties: Option<Open>,
    /// The last finished episode of each rule, by its place in the list.
    last: [Option<usize>; 2],
    /// The listener's last draw. It is one thread and logs a draw just before the refusal it decided.
    draw: Option<(u32, u32)>,
    /// 9.9 or older, by its words.
    old: bool,
    /// For leaving the longest silent one out.
    used: u64,
}

#[derive(Debug, Default)]
pub(super) struct Episodes {
    states: HashMap<Listener, State>,
    clock: u64,
    done: Vec<Episode>,
    not_listed: u64,
    drops: Drops,
    /// Why episodes that are not listed may have had more.
    not_listed_why: Vec<WhyAtLeast>,
    /// Host and port of listeners at VERBOSE or above, where 9.9 and older show every refusal. A connection that was let in shows
    /// it before any can be refused. Of several sshds on a host each has its own level, and the port is what their lines have.
    verbose: Vec<(Option<String>, u16)>,
}

/// Where the limiter begins to hold back (sshd.c:drop_connection): it lets one fewer through.
fn threshold(rule: EpisodeRule) -> i64 {
    match rule {
        EpisodeRule::MaxStartups => 4,
        EpisodeRule::Penalties => 8,
    }
}

impl State {
    fn open(&mut self, rule: EpisodeRule) -> &mut Option<Open> {
        match rule {
            EpisodeRule::MaxStartups => &mut self.startups,
            EpisodeRule::Penalties => &mut self.penalties,
        }
    }
}

fn index(rule: EpisodeRule) -> usize {
    match rule {
        EpisodeRule::MaxStartups => 0,
        EpisodeRule::Penalties => 1,
    }
}

impl Episodes {
    /// A line that only a listener at VERBOSE and above leads to. Lines of a session prove nothing of it: `Match` may have set
    /// another level for that user.
    pub(super) fn is_verbose(&mut self, origin: Option<&str>, port: u16) {
        if !self.verbose_at(origin, port) && self.verbose.len() < MOST_VERBOSE {
            self.verbose.push((origin.map(str::to_owned), port));
        }
    }

    fn verbose_at(&self, origin: Option<&str>, port: u16) -> bool {
        self.verbose
            .iter()
            .any(|(host, at)| *at == port && host.as_deref() == origin)
    }

    /// Whether each single line of an episode is of a listener at VERBOSE or above.
    fn verbose_on(&self, origin: Option<&str>, ports: &[u16]) -> bool {
        (1..=MOST_PORTS).contains(&ports.len())
            && ports.iter().all(|port| self.verbose_at(origin, *port))
    }

    /// A draw.
    pub(super) fn drew(&mut self, who: &Listener, probability: u32, drawn: u32) {
        self.state(who).draw = Some((probability, drawn));
    }

    /// The draw before a refusal, which it uses up.
    pub(super) fn take_draw(&mut self, who: &Listener) -> Option<(u32, u32)> {
        self.states.get_mut(who)?.draw.take()
    }

    /// A refusal.
    pub(super) fn dropped(&mut self, who: &Listener, at: Option<Moment>, drop: SingleDrop) {
        let rule = match drop.cause {
            Cause::Penalty(_) => EpisodeRule::Penalties,
            _ => EpisodeRule::MaxStartups,
        };
        if drop.old && self.of_the_last(who, at).is_some() {
            add(&mut self.drops.listed, drop.times);
            if let Some(last) = self.last_closed(who) {
                add(&mut last.listed, drop.times);
                last.most_slots = last.most_slots.max(Some(drop.slots));
            }
            return;
        }
        let over = match (self.state(who).open(rule), at) {
            (Some(open), Some(at)) => {
                !open.begun && open.last.is_some_and(|last| at.since(last) > GAP)
            }
            _ => false,
        };
        if over {
            self.close(who, rule, None, None);
        }
        let state = self.state(who);
        state.old |= drop.old;
        let open = state.open(rule).get_or_insert_default();
        let before = open.last;
        open.begin = open.begin.or(at);
        open.gap = at.zip(before).map(|(at, before)| at.since(before));
        open.last = at.or(open.last);
        open.old |= drop.old;
        open.forced |= drop.forced;
        if open.ports.len() <= MOST_PORTS && !open.ports.contains(&drop.port) {
            open.ports.push(drop.port);
        }
        add(&mut open.listed, drop.times);
        if drop.debug {
            add(&mut open.debug, drop.times);
        } else {
            let passed = open.gap.map_or(0, |gap| gap.max(0) / 1_000_000);
            open.bucket = (open.bucket - passed).max(0) + 1;
            open.limited |= open.bucket >= threshold(rule) - 1;
        }
        open.most_slots = open.most_slots.max(Some(drop.slots));
        match drop.cause {
            Cause::MaxStartups => add(&mut open.causes[0], drop.times),
            Cause::PerSource => add(&mut open.causes[1], drop.times),
            Cause::Either => {}
            Cause::Penalty(reason) => add(open.penalties.entry(reason).or_default(), drop.times),
        }
        add(&mut self.drops.listed, drop.times);
    }

    /// The listener's last episode, if sshd has logged its end.
    fn last_closed(&mut self, who: &Listener) -> Option<&mut Episode> {
        let place = self.states.get(who)?.last[index(EpisodeRule::MaxStartups)]?;
        self.done.get_mut(place).filter(|episode| episode.closed)
    }

    /// Begin and end of the episode that has ended by its own account, where a line of this time is of it: lines of one second may be
    /// written in any order, and some logs have the newest line first. Its total has the line already.
    fn of_the_last(&mut self, who: &Listener, at: Option<Moment>) -> Option<(Moment, Moment)> {
        if self.states.get(who)?.startups.is_some() {
            return None;
        }
        let at = at?;
        let last = self.last_closed(who)?;
        let (begin, end) = (last.begin?, last.end?);
        // The length that sshd prints is in whole seconds.
        let within = begin.zoned == at.zoned && end.zoned == at.zoned && begin.before(1) <= at;
        (within && at < end).then_some((begin, end))
    }

    /// `beginning MaxStartups throttling`.
    pub(super) fn began(&mut self, who: &Listener, at: Option<Moment>) {
        // Only its very own beginning: a clock may have been set back.
        if let Some((begin, _)) = self.of_the_last(who, at)
            && at.is_some_and(|at| at <= begin || at.before(1) <= begin)
        {
            return;
        }
        // A first refusal may have been written before the beginning that it follows.
        if let Some(open) = &mut self.state(who).startups
            && !open.begun
            && open.old
            && open.begin.zip(at).is_some_and(|(begin, at)| begin >= at)
        {
            open.begun = true;
            open.begin = at;
            return;
        }
        self.close(who, EpisodeRule::MaxStartups, None, None);
        let state = self.state(who);
        state.old = true;
        *state.open(EpisodeRule::MaxStartups) = Some(Open {
            begin: at,
            last: at,
            begun: true,
            old: true,
            ..Open::default()
        });
    }

    /// `in MaxStartups throttling for …`: its number includes the refusal that follows.
    pub(super) fn continues(&mut self, who: &Listener, at: Option<Moment>, so_far: u64) {
        if self.of_the_last(who, at).is_some() {
            return;
        }
        let state = self.state(who);
        let open = state
            .open(EpisodeRule::MaxStartups)
            .get_or_insert_with(|| Open {
                begin: at,
                ..Open::default()
            });
        open.begun = true;
        open.old = true;
        open.last = at.or(open.last);
        open.so_far = open.so_far.max(so_far);
    }

    /// `exited MaxStartups throttling after …`, with the seconds that it names where they could be read.
    pub(super) fn ended(
        &mut self,
        who: &Listener,
        at: Option<Moment>,
        lasted: Option<i64>,
        total: u64,
    ) {
        let open = self.state(who).open(EpisodeRule::MaxStartups);
        let open = open.get_or_insert_default();
        if !open.begun {
            // Its beginning is before the log's.
            open.begin = at
                .zip(lasted)
                .map(|(at, lasted)| at.before(lasted))
                .or(open.begin);
        }
        self.close(who, EpisodeRule::MaxStartups, at, Some(total));
    }

    /// `… logging rate-limited: additional N connections dropped`.
    pub(super) fn held_back(
        &mut self,
        who: &Listener,
        rule: EpisodeRule,
        at: Option<Moment>,
        count: u64,
    ) {
        let state = self.state(who);
        let last = state.last[index(rule)];
        let open = state.open(rule);
        // It comes with the first line after the silence; where that line began another episode, the silence was in the one
        // before.
        if let Some(current) = open
            && current.listed == 1
            && let Some(before) = last
        {
            current.limited = false;
            if let Some(before) = self.done.get_mut(before) {
                add(&mut before.drops, count);
                add(&mut before.held_back, count);
                before.at_least_because = None;
            }
            match rule {
                EpisodeRule::MaxStartups => {
                    add(&mut self.drops.max_startups_or_per_source, count);
                }
                EpisodeRule::Penalties => self.unnamed_penalties(count),
            }
            return;
        }
        let open = open.get_or_insert_with(|| Open {
            begin: at,
            last: at,
            ..Open::default()
        });
        add(&mut open.held_back, count);
        let quiet = open.gap.is_some_and(|gap| gap < QUIET);
        open.limited = !quiet;
        open.bucket = 1;
    }

    fn unnamed_penalties(&mut self, count: u64) {
        let entry = self.drops.penalties.entry("not-logged".to_owned());
        add(entry.or_default(), count);
    }

    /// The listener of this port starts over: what it counted is gone, and so are listeners under the same name whose process is
    /// not known.
    pub(super) fn restarted(&mut self, who: &Listener, port: u16) {
        let affected: Vec<Listener> = self
            .states
            .keys()
            .filter(|other| {
                other.origin == who.origin
                    && (other.pid == who.pid || other.pid.is_none() || who.pid.is_none())
            })
            .cloned()
            .collect();
        for other in affected {
            self.forget(&other);
        }
        // It may have been told another level.
        self.verbose
            .retain(|(origin, at)| *at != port || *origin != who.origin);
    }

    /// Closes what a listener has open, and forgets it.
    fn forget(&mut self, who: &Listener) {
        self.close(who, EpisodeRule::MaxStartups, None, None);
        self.close(who, EpisodeRule::Penalties, None, None);
        self.states.remove(who);
    }

    fn state(&mut self, who: &Listener) -> &mut State {
        self.clock += 1;
        // Twice the look-up, but a copy of the name only for a new one.
        if !self.states.contains_key(who) {
            if self.states.len() >= MOST_LISTENERS {
                let silent = self.states.iter().min_by_key(|(_, state)| state.used);
                if let Some(silent) = silent.map(|(who, _)| who.clone()) {
                    self.forget(&silent);
                }
            }
            self.states.insert(who.clone(), State::default());
        }
        let state = self.states.get_mut(who).expect("it was there or is now");
        state.used = self.clock;
        state
    }

    fn close(
        &mut self,
        who: &Listener,
        rule: EpisodeRule,
        ended: Option<Moment>,
        total: Option<u64>,
    ) {
        let Some(state) = self.states.get_mut(who) else {
            return;
        };
        let old = state.old;
        let Some(open) = state.open(rule).take() else {
            return;
        };
        let verbose = self.verbose_on(who.origin.as_deref(), &open.ports);
        let shown = verbose || open.forced;
        let (drops, why) = match total {
            Some(total) => (total, None),
            None if open.begun => {
                let drops = open.listed.max(open.so_far).max(1);
                let complete = shown && open.listed == drops;
                (drops, (!complete).then_some(WhyAtLeast::EpisodeOpen))
            }
            None if open.old && rule == EpisodeRule::MaxStartups => {
                (open.listed, (!shown).then_some(WhyAtLeast::EpisodeOpen))
            }
            None => {
                let more = open.held_back.saturating_sub(open.debug);
                // Where lines that the limiter would hold back are shown, nothing is missing; unless a filter took them out
                // behind sshd, as its own number then tells.
                let shown = open.debug > 0 || open.forced;
                let limited = open.limited && !old && (!shown || more > 0);
                (
                    open.listed.saturating_add(more),
                    limited.then_some(WhyAtLeast::RateLimited),
                )
            }
        };
        self.count(rule, &open, drops);
        let place = self.done.len();
        if place < MOST_EPISODES {
            self.done.push(Episode {
                rule,
                origin: who.origin.clone(),
                pid: who.pid,
                begin: open.begin,
                end: ended.or(open.last),
                closed: total.is_some(),
                drops,
                at_least_because: why,
                listed: open.listed,
                total,
                held_back: open.held_back,
                most_slots: open.most_slots,
            });
        } else {
            self.not_listed += 1;
            if let Some(why) = why.filter(|why| !self.not_listed_why.contains(why)) {
                self.not_listed_why.push(why);
            }
        }
        if let Some(state) = self.states.get_mut(who) {
            state.last[index(rule)] = Some(place);
        }
    }

    /// Adds an episode to the causes: what single lines say by their words, and what only the total knows.
    fn count(&mut self, rule: EpisodeRule, open: &Open, drops: u64) {
        // Where the total is smaller than its single lines, causes are taken away from the least certain on.
        let mut left = drops;
        let mut take = |count: u64| {
            let taken = count.min(left);
            left -= taken;
            taken
        };
        match rule {
            EpisodeRule::MaxStartups => {
                add(&mut self.drops.max_startups, take(open.causes[0]));
                add(
                    &mut self.drops.per_source_max_startups,
                    take(open.causes[1]),
                );
                add(&mut self.drops.max_startups_or_per_source, left);
            }
            EpisodeRule::Penalties => {
                for (reason, count) in &open.penalties {
                    let entry = self.drops.penalties.entry((*reason).to_owned());
                    add(entry.or_default(), take(*count));
                }
                if left > 0 {
                    self.unnamed_penalties(left);
                }
            }
        }
    }

    /// Closes what is open, and sums up.
    pub(super) fn finish(mut self) -> (Drops, Vec<Episode>, u64) {
        let mut open: Vec<Listener> = self.states.keys().cloned().collect();
        open.sort_unstable();
        for who in open {
            self.forget(&who);
        }
        let mut drops = self.drops;
        drops.total = drops.startups().saturating_add(drops.by_penalty());
        let listed_why = self
            .done
            .iter()
            .filter_map(|episode| episode.at_least_because);
        drops.at_least_because = listed_why.chain(self.not_listed_why).collect();
        drops.at_least_because.sort_unstable();
        drops.at_least_because.dedup();
        (drops, self.done, self.not_listed)
    }
}
