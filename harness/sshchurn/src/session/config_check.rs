//! What `MaxStartups` was meant to be, what `sshd -T` says and what the server did, of a run of held connections.
//!
//! Owns reading a run against an expectation. The verdict is `report`'s.

use sshchurn_core::analysis::laws::LawStatus;
use sshchurn_core::analysis::validity::{CheckId, CheckStatus};
use sshchurn_core::manifest::Substitution;
use sshchurn_core::scenario::MaxStartups;
use sshchurn_report::RunReport;
use sshchurn_report::config_check::{Agreement, CONFIG_CHECK_VERSION, ClimbsSeen, ConfigCheck};
use sshchurn_server::ServerChoice;
use sshchurn_server::docker::Suite;

use super::error::SessionError;
use super::order::RunOrder;
use super::replay;

/// Holds a run that was made against what its configuration is expected to mean.
///
/// # Errors
/// Those of [`replay::curves`].
pub fn of_run(
    order: &RunOrder,
    report: &RunReport,
    expected: MaxStartups,
) -> Result<ConfigCheck, SessionError> {
    let curves = replay::curves(&order.directory, expected)?;
    // That the server does not follow the rule is what is asked here, and no fault of the measurement.
    let invalid = report
        .validity
        .iter()
        .filter(|check| check.status == CheckStatus::Invalid && check.id != CheckId::AdmissionRule)
        .map(|check| {
            format!(
                "{}: {}",
                check.actual,
                check.advice.as_deref().unwrap_or("")
            )
        });
    let broken = report
        .laws
        .iter()
        .filter(|law| law.status == LawStatus::Broken)
        .map(|law| format!("a cross-check failed: {}", law.description));
    let server = &report.target;
    Ok(ConfigCheck {
        server: format!("{} ({})", server.kind.as_str(), server.release_and_image(),),
        embedded_stand_in: report.stand_in.is_some(),
        substitution: server.substitution.clone(),
        effective: server.effective_max_startups.clone(),
        most_likely: report.most_likely_max_startups.clone(),
        held: curves.held,
        draws: curves.draws,
        climbs: ClimbsSeen::of(&curves.climbs),
        problems: broken.chain(invalid).collect(),
        ..unmeasured(order, expected)
    }
    .concluded())
}

/// The same where the server was not started, since its own reading of the configuration, `effective`, is another.
#[must_use]
pub fn of_refusal(order: &RunOrder, expected: MaxStartups, effective: String) -> ConfigCheck {
    ConfigCheck {
        effective: Some(effective),
        ..unmeasured(order, expected)
    }
    .concluded()
}

fn unmeasured(order: &RunOrder, expected: MaxStartups) -> ConfigCheck {
    ConfigCheck {
        schema_version: CONFIG_CHECK_VERSION,
        server: "a server that was not started".to_owned(),
        embedded_stand_in: false,
        substitution: substitution(order),
        requested: order.scenario.sshd.max_startups.to_string(),
        expected: expected.to_string(),
        effective: None,
        most_likely: None,
        held: None,
        draws: None,
        climbs: ClimbsSeen::default(),
        problems: Vec::new(),
        agreement: Agreement::Inconclusive,
        reasons: Vec::new(),
    }
}

/// Where the release asked for cannot be had, also of a server that refused its configuration before it had a description.
fn substitution(order: &RunOrder) -> Option<Substitution> {
    let made = order.server == ServerChoice::Docker && order.options.docker.image.is_none();
    let release = order.options.release.filter(|_| made)?;
    Suite::nearest(release, order.scenario.sshd.min_release)?.1
}
