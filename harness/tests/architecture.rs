//! The module walls and the homes of external crates, checked on the source text.

use std::fs;
use std::path::{Path, PathBuf};

fn sources(under: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(under).expect("a source folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            files.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// Path within `src`, and the file's code without comments.
fn code() -> Vec<(String, String)> {
    sources(&root())
        .into_iter()
        .map(|path| {
            let text = fs::read_to_string(&path).expect("a source file");
            let code = text
                .lines()
                .filter(|line| !line.trim_start().starts_with("//"))
                .collect::<Vec<_>>()
                .join("\n");
            let name = path
                .strip_prefix(root())
                .expect("below src")
                .display()
                .to_string();
            (name, code)
        })
        .collect()
}

#[test]
fn every_external_crate_has_one_home() {
    let homes: [(&str, &[&str]); 14] = [
        ("russh", &["ssh/", "target/embedded/"]),
        ("testcontainers", &["target/docker/"]),
        ("plotters", &["report/plot"]),
        ("hdrhistogram", &["analysis/"]),
        ("clap", &["cli/"]),
        ("clap_complete", &["cli/"]),
        ("clap_mangen", &["cli/"]),
        ("memchr", &["analysis/"]),
        ("indicatif", &["cli/"]),
        ("comfy_table", &["report/"]),
        ("minijinja", &["report/html/"]),
        ("quick_junit", &["report/junit"]),
        ("chrono", &["report/junit"]),
        ("zstd", &["ledger/", "cli/recorded_log"]),
    ];
    let mut strays = Vec::new();
    for (name, code) in code() {
        for (krate, allowed) in &homes {
            if code.contains(&format!("{krate}::"))
                && !allowed.iter().any(|home| name.starts_with(home))
            {
                strays.push(format!("{name} uses {krate}"));
            }
        }
    }
    assert!(strays.is_empty(), "{strays:#?}");
}

#[test]
fn modules_know_only_what_they_may() {
    // Module, and what it must not mention. The order of the data flow is the order of the knowledge.
    let walls: [(&str, &[&str]); 12] = [
        ("quantity", &["crate::"]),
        ("ids", &["crate::"]),
        ("clock", &["crate::"]),
        ("exit_code", &["crate::"]),
        ("release", &["crate::"]),
        (
            "ledger",
            &[
                "scenario", "ssh", "target", "engine", "analysis", "gate", "report", "cli",
            ],
        ),
        (
            "ssh",
            &[
                "scenario", "target", "engine", "analysis", "gate", "report", "cli",
            ],
        ),
        (
            "scenario",
            &["ssh", "target", "engine", "analysis", "report", "cli"],
        ),
        (
            "target",
            &["ledger", "engine", "analysis", "gate", "report", "cli"],
        ),
        ("engine", &["target", "analysis", "gate", "report", "cli"]),
        (
            "analysis",
            &["ssh", "target", "engine", "gate", "report", "cli"],
        ),
        ("report", &["ssh", "target", "engine", "cli"]),
    ];
    let mut breaches = Vec::new();
    for (name, code) in code() {
        // Conversions between numbers, which are nobody's in particular.
        let code = code.replace("crate::quantity::", "");
        for (module, forbidden) in &walls {
            let inside = name == format!("{module}.rs") || name.starts_with(&format!("{module}/"));
            if !inside {
                continue;
            }
            for other in *forbidden {
                let mention = if other.contains("::") {
                    (*other).to_owned()
                } else {
                    format!("crate::{other}::")
                };
                if code.contains(&mention) {
                    breaches.push(format!("{name} mentions {mention}"));
                }
            }
        }
    }
    assert!(breaches.is_empty(), "{breaches:#?}");
}

#[test]
fn pure_modules_use_no_runtime_files_clocks_or_terminals() {
    let forbidden = [
        "tokio::",
        "std::fs",
        "std::io::",
        "Instant::now",
        "SystemTime::now",
        "println!",
        "std::env::",
    ];
    let mut breaches = Vec::new();
    for (name, code) in code() {
        let product = code.split("#[cfg(test)]").next().unwrap_or_default();
        if ["analysis/", "gate/", "model/"]
            .iter()
            .any(|module| name.starts_with(module))
            && !name.ends_with("tests.rs")
            && !name.contains("/tests/")
        {
            for word in forbidden {
                if product.contains(word) {
                    breaches.push(format!("{name} uses {word}"));
                }
            }
        }
    }
    assert!(breaches.is_empty(), "{breaches:#?}");
}

#[test]
fn only_the_command_line_prints_and_nothing_exits() {
    let mut breaches = Vec::new();
    for (name, code) in code() {
        let product = code.split("#[cfg(test)]").next().unwrap_or_default();
        let prints = ["println!", "eprintln!", "print!(", "stdout()", "stderr()"];
        if !name.starts_with("cli/")
            && !name.ends_with("tests.rs")
            && !name.contains("/tests/")
            && prints.iter().any(|word| product.contains(word))
        {
            breaches.push(format!("{name} prints"));
        }
        if product.contains("process::exit") {
            breaches.push(format!("{name} exits"));
        }
    }
    assert!(breaches.is_empty(), "{breaches:#?}");
}

#[test]
fn every_file_says_what_it_owns() {
    for path in sources(&root()) {
        let text = fs::read_to_string(&path).expect("a source file");
        assert!(
            text.starts_with("//!"),
            "{} does not open with a module doc",
            path.display()
        );
    }
}
