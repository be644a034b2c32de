//! A user's own `sshd_config` with everything that it includes: read as text, cut into directives, and judged line by line.
//!
//! Owns the order in which sshd meets the lines (`Include`, `Match`), what releases make of them where they disagree
//! ([`changes`]), what sshd said about them ([`complaint`]) and what of them can be run elsewhere ([`extract`]). Pure: texts come
//! through the seam [`Texts`], and no sshd is asked here. What a release's own sshd says is always the better answer.

pub mod changes;
pub mod complaint;
pub mod extract;
pub mod findings;
mod line;
#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashMap};

/// How deep files may include each other (servconf.c `SERVCONF_MAX_DEPTH`).
const MAX_DEPTH: u32 = 16;
/// Far beyond what people write; files that include each other twice double with every level.
const MOST_DIRECTIVES: usize = 100_000;

/// The text of one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceFile {
    /// Where it is, as the user is told. No two files have the same.
    pub name: String,
    /// What it says. Bytes that are no UTF-8 are replaced.
    pub text: String,
}

/// Where the texts of included files come from.
pub trait Texts {
    /// Why one cannot be had.
    type Error;

    /// The files that a pattern of an `Include` line means, in the order of glob(3): sorted by name. None where nothing fits:
    /// sshd is content with that.
    ///
    /// # Errors
    /// Where the pattern leads to what may not be read, or cannot.
    fn matching(&mut self, pattern: &str, at: At<'_>) -> Result<Vec<SourceFile>, Self::Error>;
}

/// The line that asks for a file.
#[derive(Debug, Clone, Copy)]
pub struct At<'a> {
    /// Name of its file.
    pub file: &'a str,
    /// Its number, from 1.
    pub line: u32,
}

/// A line of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// Index in [`ConfigFile::files`].
    pub file: usize,
    /// From 1.
    pub line: u32,
}

/// A line that says something, in the order in which sshd meets it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Directive {
    /// Where it stands.
    pub place: Place,
    /// As typed.
    pub keyword: String,
    /// What follows the keyword, as typed, comment included.
    pub rest: String,
    /// The `Match` block that it is in: index in [`ConfigFile::blocks`].
    pub block: Option<usize>,
}

impl Directive {
    /// Whether it sets this keyword; sshd does not look at case.
    #[must_use]
    pub fn sets(&self, keyword: &str) -> bool {
        self.keyword.eq_ignore_ascii_case(keyword)
    }
}

/// A `Match` block. It reaches to the next `Match` or to the end of its file; indentation ends nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// Its first line.
    pub place: Place,
    /// Its criteria, as typed.
    pub criteria: String,
    /// Whether it is no block at all but the rest of the file: sshd takes global keywords after `Match all` (servconf.c
    /// `match_cfg_line` answers 1 for it even when it only checks the syntax), unless the file is included from a block
    /// (`SSHCFG_NEVERMATCH`).
    pub is_all: bool,
}

/// Whether these are the criteria of `Match all`.
fn are_all(criteria: &str) -> bool {
    line::arguments(criteria, line::SINGLE_QUOTES)
        .is_some_and(|words| matches!(&words[..], [word] if word.eq_ignore_ascii_case("all")))
}

/// An `Include` line and what it brought.
#[derive(Debug, Clone, PartialEq, Eq)]
struct IncludeLine {
    line: u32,
    /// Each pattern with the files that fit it: indices in [`ConfigFile::files`].
    patterns: Vec<(String, Vec<usize>)>,
}

/// An `sshd_config` with everything that it includes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigFile {
    /// The file itself first, then each included one once.
    pub files: Vec<SourceFile>,
    /// What they say, in sshd's order.
    pub directives: Vec<Directive>,
    /// The `Match` blocks among them.
    pub blocks: Vec<Block>,
    /// Whether files include each other deeper than sshd goes; what is deeper is not in `directives`.
    pub too_deep: Option<Place>,
    includes: Vec<Vec<IncludeLine>>,
}

impl ConfigFile {
    /// Reads a file and what it includes, each included file once.
    ///
    /// # Errors
    /// Those of [`Texts::matching`].
    pub fn read<T: Texts>(main: SourceFile, texts: &mut T) -> Result<Self, T::Error> {
        let mut config = ConfigFile {
            files: vec![main],
            directives: Vec::new(),
            blocks: Vec::new(),
            too_deep: None,
            includes: Vec::new(),
        };
        let mut known = HashMap::from([(config.files[0].name.clone(), 0)]);
        while config.includes.len() < config.files.len() {
            let file = config.includes.len();
            let mut lines = Vec::new();
            for (number, text) in numbered(&config.files[file].text) {
                let Some((keyword, rest)) = line::split(text) else {
                    continue;
                };
                if keyword.eq_ignore_ascii_case("include") {
                    lines.push((number, rest.to_owned()));
                }
            }
            let mut included = Vec::new();
            for (line, rest) in lines {
                let name = config.files[file].name.clone();
                let mut patterns = Vec::new();
                for pattern in line::arguments(&rest, line::SINGLE_QUOTES).unwrap_or_default() {
                    let at = At { file: &name, line };
                    let mut files = Vec::new();
                    for found in texts.matching(&pattern, at)? {
                        let next = config.files.len();
                        let index = *known.entry(found.name.clone()).or_insert(next);
                        if index == next {
                            config.files.push(found);
                        }
                        files.push(index);
                    }
                    patterns.push((pattern, files));
                }
                included.push(IncludeLine { line, patterns });
            }
            config.includes.push(included);
        }
        config.walk(0, None, 0);
        Ok(config)
    }

    /// Puts what a file says, and what it includes, behind what was there. A block inside an included file ends with it.
    fn walk(&mut self, file: usize, outer: Option<usize>, depth: u32) {
        let mut block = outer;
        let text = self.files[file].text.clone();
        for (number, text) in numbered(&text) {
            let Some((keyword, rest)) = line::split(text) else {
                continue;
            };
            // sshd ends at the first one that is too deep.
            if self.too_deep.is_some() || self.directives.len() >= MOST_DIRECTIVES {
                return;
            }
            let place = Place { file, line: number };
            if keyword.eq_ignore_ascii_case("match") {
                self.blocks.push(Block {
                    place,
                    criteria: rest.to_owned(),
                    is_all: are_all(rest) && outer.is_none_or(|outer| self.blocks[outer].is_all),
                });
                block = Some(self.blocks.len() - 1);
            }
            self.directives.push(Directive {
                place,
                keyword: keyword.to_string(),
                rest: rest.to_owned(),
                block,
            });
            let included = self.includes[file]
                .iter()
                .find(|include| include.line == number)
                .filter(|_| keyword.eq_ignore_ascii_case("include"))
                .map(|include| include.targets())
                .unwrap_or_default();
            for target in included {
                if depth + 1 > MAX_DEPTH {
                    self.too_deep = Some(place);
                    return;
                }
                self.walk(target, block, depth + 1);
            }
        }
    }

    /// The text of a line, without its end.
    #[must_use]
    pub fn line(&self, place: Place) -> &str {
        let wanted = usize::try_from(place.line).unwrap_or(usize::MAX);
        self.files
            .get(place.file)
            .and_then(|file| file.text.split('\n').nth(wanted.checked_sub(1)?))
            .unwrap_or_default()
            .trim_end_matches('\r')
    }

    /// `sshd_config line 3`, by the shortest name that tells the files apart.
    #[must_use]
    pub fn told(&self, place: Place) -> String {
        let names: Vec<&str> = self.files.iter().map(|file| file.name.as_str()).collect();
        let name = names.get(place.file).copied().unwrap_or_default();
        format!("{} line {}", short_name(name, &names), place.line)
    }

    /// Directives that apply to every connection: outside of every block, or after `Match all`.
    pub fn global(&self) -> impl Iterator<Item = &Directive> {
        self.directives.iter().filter(|directive| {
            directive
                .block
                .is_none_or(|block| self.blocks[block].is_all)
        })
    }

    /// Whether a file sets this keyword for every connection.
    #[must_use]
    pub fn sets(&self, keyword: &str) -> bool {
        self.global().any(|directive| directive.sets(keyword))
    }

    /// `Include` lines whose pattern fits no file: sshd says nothing of it.
    pub(crate) fn nothing_included(&self) -> impl Iterator<Item = (Place, &str)> {
        self.includes
            .iter()
            .enumerate()
            .flat_map(|(file, includes)| {
                includes.iter().flat_map(move |include| {
                    let line = include.line;
                    include
                        .patterns
                        .iter()
                        .filter(|(_, files)| files.is_empty())
                        .map(move |(pattern, _)| (Place { file, line }, pattern.as_str()))
                })
            })
    }

    /// The text of a file as it is put before an sshd elsewhere: line for line the same, but that `Include` lines name the files
    /// where they are there (`path_of`), and the lines in `without` are comments. A `Match` among them becomes one that fits
    /// nobody, or its lines would be everybody's.
    #[must_use]
    pub fn copy(
        &self,
        file: usize,
        without: &BTreeSet<Place>,
        path_of: impl Fn(usize) -> String,
    ) -> String {
        let mut lines: Vec<String> = Vec::new();
        for (number, text) in numbered(&self.files[file].text) {
            let include = self.includes[file]
                .iter()
                .find(|include| include.line == number);
            lines.push(match include {
                _ if without.contains(&Place { file, line: number }) => {
                    let is_match = line::split(text)
                        .is_some_and(|(keyword, _)| keyword.eq_ignore_ascii_case("match"));
                    match is_match {
                        true => "Match user !*".to_owned(),
                        false => "# left out".to_owned(),
                    }
                }
                // For sshd to complain about. What is behind it is not passed on: a release that cuts words otherwise would
                // follow it.
                Some(include) if include.patterns.is_empty() => "Include".to_owned(),
                Some(include) => {
                    let paths: Vec<String> = include
                        .targets()
                        .into_iter()
                        .map(|target| format!("\"{}\"", path_of(target)))
                        .collect();
                    match paths.is_empty() {
                        true => "# includes nothing".to_owned(),
                        false => format!("Include {}", paths.join(" ")),
                    }
                }
                None => text.to_owned(),
            });
        }
        lines.join("\n") + "\n"
    }
}

impl IncludeLine {
    fn targets(&self) -> Vec<usize> {
        let files = self.patterns.iter().flat_map(|(_, files)| files);
        files.copied().collect()
    }
}

/// The name of a file without the folder that all of them are in.
#[must_use]
pub fn short_name<'n>(name: &'n str, all: &[&str]) -> &'n str {
    let folder = |name: &str| name.rfind('/').map_or(0, |slash| slash + 1);
    let mut common = folder(name);
    for other in all {
        while common > 0 && !other.starts_with(&name[..common]) {
            common = folder(&name[..common - 1]);
        }
    }
    &name[common..]
}

/// Lines with their numbers, as sshd counts them.
fn numbered(text: &str) -> impl Iterator<Item = (u32, &str)> {
    (1_u32..).zip(text.split_terminator('\n'))
}
