//! Values as people read them.

use serde::Serialize;
use sshchurn_core::analysis::latency::Stage;
use sshchurn_core::gate::{GateResult, Reason};
use sshchurn_core::quantity;

/// The stages shown, and their names for a person.
pub(crate) const STAGES: [(Stage, &str); 8] = [
    (Stage::Tcp, "TCP connect"),
    (Stage::Banner, "identification string"),
    (Stage::Kex, "key exchange"),
    (Stage::Auth, "authentication"),
    (Stage::Refusal, "connect to refusal"),
    (Stage::Exec, "command"),
    (Stage::Submit, "task until submitted"),
    (Stage::Task, "task until its end"),
];

/// A cell without a value.
pub(crate) const NONE: &str = "–";

/// A number of things, in words.
pub(crate) fn counted(count: u64, thing: &str) -> String {
    match count {
        1 => format!("1 {thing}"),
        _ => format!("{count} {thing}s"),
    }
}

/// A gate's own value, rounded only where more digits would not be read.
pub(crate) fn gate_value(gate: &GateResult, value: Option<f64>) -> String {
    match value {
        None => "no data".to_owned(),
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "metrics are never negative, and this is for display"
        )]
        Some(value) if gate.is_duration => time(value.round() as u64),
        Some(value) => decimal(value),
    }
}

/// A number, with two decimals where it has any.
pub(crate) fn decimal(value: f64) -> String {
    if value.fract() == 0.0 {
        format!("{value:.0}")
    } else {
        format!("{value:.2}")
    }
}

/// Nanoseconds as a person reads them.
pub(crate) fn time(ns: u64) -> String {
    let ns = quantity::number(ns);
    match ns {
        _ if ns >= 99.95e9 => format!("{:.0} s", ns / 1e9),
        _ if ns >= 1e9 => format!("{:.2} s", ns / 1e9),
        _ if ns >= 99.95e6 => format!("{:.0} ms", ns / 1e6),
        _ if ns >= 1e6 => format!("{:.1} ms", ns / 1e6),
        _ => format!("{:.0} µs", ns / 1e3),
    }
}

/// What people read of reasons.
pub(crate) fn reason_texts(reasons: &[Reason]) -> Vec<String> {
    reasons.iter().map(|reason| reason.text.clone()).collect()
}

/// The name of a value in the document, as words.
pub(crate) fn word(id: &impl Serialize) -> String {
    match serde_json::to_value(id) {
        Ok(serde_json::Value::String(name)) => name.replace('_', " "),
        _ => String::new(),
    }
}
