//! What a `MaxStartups` does, and what is odd about a line, in words.

use sshchurn_core::model::{BurstDistribution, drop_probability_percent};
use sshchurn_core::release::Release;
use sshchurn_core::scenario::MaxStartups;
use sshchurn_core::sshd_file::ConfigFile;
use sshchurn_core::sshd_file::changes::first_counts_since;
use sshchurn_core::sshd_file::findings::Finding;

/// The largest burst whose distribution is computed: its cost grows with the square.
const MOST_CLIENTS: u32 = 2_000;

/// What a value does to connections that are not logged in yet: sshd.c `should_drop_connection`.
pub(crate) fn curve(value: MaxStartups) -> String {
    let MaxStartups { start, rate, full } = value;
    let first = match start {
        1 => "the first connection always gets in".to_owned(),
        _ => format!("the first {} always get in", start),
    };
    let then = if start == full {
        format!(
            "everybody beyond is refused: `start` is `full`, and the rate of {rate} is never used"
        )
    } else if rate == 100 {
        format!(
            "everybody beyond is refused: at a rate of 100 nothing is left to chance, and `full`, {}, is never reached",
            full
        )
    } else {
        format!(
            "from {} on {rate} % are refused, rising to all at {}",
            start, full
        )
    };
    let clients = full.saturating_mul(2).clamp(2, MOST_CLIENTS);
    let burst = BurstDistribution::of_stalled_burst(clients, value);
    let admitted = match (burst.mean_accepted(), burst.standard_deviation()) {
        // No draw, or one that hardly ever matters.
        (mean, deviation) if deviation < 0.05 && mean < 1.5 => "1 is admitted".to_owned(),
        (mean, deviation) if deviation < 0.05 => format!("{mean:.0} are admitted"),
        (mean, deviation) if deviation < 1.0 => format!("{mean:.1} ± {deviation:.1} are admitted"),
        (mean, deviation) => format!("{mean:.0} ± {deviation:.0} are admitted"),
    };
    debug_assert_eq!(drop_probability_percent(full, value), 100);
    format!(
        "{first}; {then}; of {} silent clients at once {admitted}",
        clients
    )
}

/// What is odd, with what to do about it.
pub(super) fn finding(config: &ConfigFile, finding: &Finding) -> String {
    match finding {
        Finding::Several { keyword, lines } => {
            let told: Vec<String> = lines
                .iter()
                .map(|(place, said)| format!("{} (`{said}`)", config.told(*place)))
                .collect();
            let value = |line: Option<&(_, String)>| {
                line.map_or_else(String::new, |(_, said)| format!("`{said}`"))
            };
            let (first, last) = (value(lines.first()), value(lines.last()));
            let wins = match first_counts_since(keyword) {
                None => format!("sshd takes the first, {first}"),
                Some(since) => {
                    format!(
                        "before OpenSSH {since} sshd takes the last, {last}; from {since} on the first, {first}"
                    )
                }
            };
            format!(
                "{keyword} is set {} times, in {}: {wins}. Keep one of them",
                lines.len(),
                told.join(", ")
            )
        }
        Finding::PartlyRead {
            place,
            value,
            ignored,
        } => format!(
            "{}: of `{value}` sshd reads only what stands before `{ignored}`, and does not say so. Write \
             `start:rate:full`, three numbers",
            config.told(*place)
        ),
        Finding::CutOff { place, value } => format!(
            "{}: a number in `{value}` is larger than sshd's integers, and is cut off without a word. Write a smaller one",
            config.told(*place)
        ),
        Finding::NotPositive { place, value } => format!(
            "{}: the first number of `{value}` is not above 0. OpenSSH 9.2 and later refuse it; older ones take -1 for \
             no number at all, and end at the start where `full` is not above 0 either. Write `start:rate:full`, with a `start` of at least 1",
            config.told(*place)
        ),
        Finding::OneNumber { place, value } => format!(
            "{}: `{value}` is one number. OpenSSH 10.1 and 10.2 read it as 10:30:{value}, all others as {value}:30:{value}. \
             Write {value}:30:{value}",
            config.told(*place)
        ),
        Finding::SingleQuotes { place } => format!(
            "{}: OpenSSH before 8.7 takes 'single quotes' for a part of the value, and ends. Leave them away",
            config.told(*place)
        ),
        Finding::NoSeparator {
            place,
            word,
            keyword,
        } => format!(
            "{}: `{word}` is one word. Write `{keyword} {}`",
            config.told(*place),
            &word[keyword.len().min(word.len())..]
        ),
        Finding::InMatch { place, block } => format!(
            "{}: MaxStartups is inside the block that `{}` opens in {}; indentation ends no block. Move it above that line",
            config.told(*place),
            config.line(*block).trim(),
            config.told(*block)
        ),
        Finding::ByteOrderMark { place } => format!(
            "{}: the file begins with a byte order mark, which sshd takes for a part of the first word. Save it as UTF-8 \
             without one",
            config.told(*place)
        ),
        Finding::NothingIncluded { place, pattern } => format!(
            "{}: no file fits `{pattern}`, and sshd does not say so",
            config.told(*place)
        ),
        Finding::TooDeep { place } => format!(
            "{}: files include each other, deeper than the 16 levels that sshd goes",
            config.told(*place)
        ),
    }
}

/// `8.4`, `8.4 and 9.2`, `8.4, 9.2 and 10.0`.
pub(super) fn listed(releases: &[Release]) -> String {
    let texts: Vec<String> = releases.iter().map(ToString::to_string).collect();
    match texts.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} and {last}", rest.join(", ")),
        Some((only, _)) => only.clone(),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn curve_says_what_the_admission_model_computes() {
        for (value, sentence) in [
            (
                "10:30:60",
                "the first 10 always get in; from 10 on 30 % are refused, rising to all at 60; of 120 silent clients at once \
                 50 ± 2 are admitted",
            ),
            (
                "100:30:200",
                "the first 100 always get in; from 100 on 30 % are refused, rising to all at 200; of 400 silent clients at once \
                 188 ± 3 are admitted",
            ),
            (
                "500:30:500",
                "the first 500 always get in; everybody beyond is refused: `start` is `full`, and the rate of 30 is never used; \
                 of 1000 silent clients at once 500 are admitted",
            ),
            (
                "10:100:60",
                "the first 10 always get in; everybody beyond is refused: at a rate of 100 nothing is left to chance, and \
                 `full`, 60, is never reached; of 120 silent clients at once 10 are admitted",
            ),
            (
                "1:30:1",
                "the first connection always gets in; everybody beyond is refused: `start` is `full`, and the rate of 30 is \
                 never used; of 2 silent clients at once 1 is admitted",
            ),
        ] {
            assert_eq!(curve(value.parse().expect("valid")), sentence, "{value}");
        }
    }
}
