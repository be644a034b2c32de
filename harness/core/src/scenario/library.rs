//! Scenarios shipped with a program, handed down by whoever embeds them.
//!
//! Owns finding a scenario by name or path; which ones there are is the embedding program's.

use std::path::Path;

use super::config::Scenario;
use super::problem::ScenarioErrors;
use crate::nearest::nearest;

/// Named scenario texts, the default first.
#[derive(Debug, Clone, Copy)]
pub struct Library(pub &'static [(&'static str, &'static str)]);

impl Library {
    /// All scenarios, the default first.
    #[must_use]
    pub fn all(&self) -> Vec<Scenario> {
        // A test parses each of them; one that did not parse would be missing here and fail that test.
        self.0
            .iter()
            .filter_map(|(name, text)| Scenario::parse(name, text).ok())
            .collect()
    }

    /// Their names.
    #[must_use]
    pub fn names(&self) -> Vec<&'static str> {
        self.0.iter().map(|(name, _)| *name).collect()
    }

    /// Reads the scenario a user names: a file, or one of these. Says where it came from.
    ///
    /// # Errors
    /// Every problem of the text at once, or that there is no such scenario, with the nearest name.
    pub fn resolve(&self, argument: &str) -> Result<(Scenario, String), ScenarioErrors> {
        let path = Path::new(argument);
        if path.is_file() {
            return Ok((Scenario::load(path)?, argument.to_owned()));
        }
        if let Some((_, text)) = self.0.iter().find(|(name, _)| *name == argument) {
            return Ok((Scenario::parse(argument, text)?, "built-in".to_owned()));
        }
        let names = self.names();
        let help = match nearest(argument, names.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!(
                "the shipped scenarios are {}; or give the path of a file",
                names.join(", ")
            ),
        };
        Err(ScenarioErrors::without_text(
            argument,
            [(
                format!("`{argument}` is neither a file nor a shipped scenario"),
                Some(help),
            )],
        ))
    }
}
