//! The HTML report in a real browser: both themes, desktop and phone.

use crate::driver;
use std::path::{Path, PathBuf};

use serde_json::Value;
use sshchurn_report::{RunReport, html};

use crate::browser::Browser;

const DESKTOP: (u32, u32) = (1280, 900);
const PHONE: (u32, u32) = (390, 844);

/// Everything that is asked of a page, as one value. All folded parts are opened first.
const LOOK: &str = r"
    document.querySelectorAll('details').forEach(part => part.open = true);
    const box = element => { const r = element.getBoundingClientRect(); return [r.left, r.top, r.right, r.bottom]; };
    const apart = (a, b) => a[2] <= b[0] + 1 || b[2] <= a[0] + 1 || a[3] <= b[1] + 1 || b[3] <= a[1] + 1;
    const body = getComputedStyle(document.body);
    const svgs = [...document.querySelectorAll('svg')].map(svg => {
        const outer = box(svg);
        const texts = [...svg.querySelectorAll('text')].map(text => [text.textContent.trim(), box(text)]);
        const outside = texts.filter(([, t]) => t[0] < outer[0] - 1 || t[2] > outer[2] + 1 || t[1] < outer[1] - 2 || t[3] > outer[3] + 2);
        const over = [];
        texts.forEach(([a, first], i) => texts.slice(i + 1).forEach(([b, second]) => {
            if (!apart(first, second)) over.push(a + ' / ' + b);
        }));
        return {
            title: svg.querySelector('title')?.textContent ?? '',
            description: svg.querySelector('desc')?.textContent ?? '',
            role: svg.getAttribute('role'),
            named: (svg.getAttribute('aria-labelledby') ?? '').split(' ').every(id => document.getElementById(id)),
            width: outer[2] - outer[0], height: outer[3] - outer[1],
            shapes: svg.querySelectorAll('rect, circle, polyline, polygon, line').length,
            ink: getComputedStyle(svg.querySelector('text')).fill,
            outside: outside.map(([text]) => text), over,
        };
    });
    return {
        scroll: document.documentElement.scrollWidth, inner: innerWidth,
        verdict: document.getElementById('verdict').textContent,
        svgs, text: body.color, paper: body.backgroundColor,
        scripts: document.scripts.length,
        ids: [...document.querySelectorAll('[id]')].map(e => e.id),
    };
";

/// Where the things of the first screen end, before anything is opened.
const FIRST_SCREEN: &str = r"
    const bottom = selector => document.querySelector(selector).getBoundingClientRect().bottom;
    return { verdict: bottom('#verdict'), sentence: bottom('.sentence'), numbers: bottom('.headlines'), height: innerHeight };
";

fn rgb(colour: &Value) -> [f64; 3] {
    let text = colour.as_str().unwrap();
    let inside = text.split_once('(').unwrap().1.trim_end_matches(')');
    let parts: Vec<f64> = inside
        .split(',')
        .map(|part| part.trim().parse().unwrap())
        .collect();
    [parts[0], parts[1], parts[2]]
}

/// Relative luminance (WCAG 2.2).
fn luminance(colour: [f64; 3]) -> f64 {
    let [red, green, blue] = colour.map(|part| {
        let part = part / 255.0;
        if part <= 0.04045 {
            part / 12.92
        } else {
            ((part + 0.055) / 1.055).powf(2.4)
        }
    });
    0.2126 * red + 0.7152 * green + 0.0722 * blue
}

fn contrast(one: &Value, other: &Value) -> f64 {
    let (one, other) = (luminance(rgb(one)), luminance(rgb(other)));
    (one.max(other) + 0.05) / (one.min(other) + 0.05)
}

/// Opens the page in every theme and width and looks at it.
fn look_at(browser: &Browser, page: &Path, verdict: &str) {
    let mut papers = Vec::new();
    for dark in [false, true] {
        for size in [DESKTOP, PHONE] {
            let what = format!("{} dark: {dark}, {size:?}", page.display());
            browser.open(page, size, dark);
            let first = browser.script(FIRST_SCREEN);
            let at = |name: &str| first[name].as_f64().unwrap();
            assert!(
                at("verdict") > 0.0 && at("verdict") < at("height"),
                "{what}"
            );
            assert!(at("sentence") < at("height"), "{what}: {first}");
            if size == DESKTOP {
                assert!(at("numbers") < at("height"), "{what}: {first}");
            }
            let seen = browser.script(LOOK);
            assert_eq!(seen["inner"], u64::from(size.0), "{what}");
            let (scroll, inner) = (seen["scroll"].as_u64(), seen["inner"].as_u64());
            assert!(scroll <= inner, "{what}: {scroll:?} wide");
            assert_eq!(seen["verdict"], verdict, "{what}");
            assert_eq!(seen["scripts"], 0, "{what}");
            let svgs = seen["svgs"].as_array().unwrap();
            assert!(svgs.len() >= 5, "{what}: {} plots", svgs.len());
            for svg in svgs {
                plot_is_readable(svg, &seen["paper"], &what);
            }
            assert!(
                contrast(&seen["text"], &seen["paper"]) >= 7.0,
                "{what}: {seen}"
            );
            if size == DESKTOP {
                papers.push(luminance(rgb(&seen["paper"])));
            }
            let mut ids: Vec<&str> = seen["ids"]
                .as_array()
                .unwrap()
                .iter()
                .map(|id| id.as_str().unwrap())
                .collect();
            ids.sort_unstable();
            let all = ids.len();
            ids.dedup();
            assert_eq!(ids.len(), all, "{what}: an id is used twice");
            assert_eq!(browser.console(), Vec::<String>::new(), "{what}");
            let requests = browser.requests();
            assert!(
                requests.iter().any(|url| url.starts_with("file:")),
                "the page itself was not seen: {requests:?}"
            );
            for url in requests {
                let local = ["file:", "data:"]
                    .iter()
                    .any(|scheme| url.starts_with(scheme));
                assert!(local, "{what} asked for {url}");
            }
        }
    }
    assert!(papers[0] > 0.9 && papers[1] < 0.1, "{papers:?}");
}

fn plot_is_readable(svg: &Value, paper: &Value, what: &str) {
    let title = svg["title"].as_str().unwrap();
    assert!(!title.is_empty(), "{what}: a plot without a title");
    assert!(
        svg["description"].as_str().unwrap().len() > 20,
        "{what}: {title}"
    );
    assert_eq!(svg["role"], "img", "{what}: {title}");
    assert_eq!(svg["named"], true, "{what}: {title}");
    assert!(
        svg["width"].as_f64().unwrap() > 200.0,
        "{what}: {title}: {svg}"
    );
    assert!(
        svg["height"].as_f64().unwrap() > 30.0,
        "{what}: {title}: {svg}"
    );
    assert!(
        svg["shapes"].as_u64().unwrap() > 3,
        "{what}: {title} is empty"
    );
    assert!(
        contrast(&svg["ink"], paper) >= 4.5,
        "{what}: {title}: {svg}"
    );
    for fault in ["outside", "over"] {
        let texts = svg[fault].as_array().unwrap();
        assert!(texts.is_empty(), "{what}: {title}: text {fault}: {texts:?}");
    }
}

/// The hand-built report of the renderers' own tests, as they keep it.
fn hand_built() -> RunReport {
    let snapshot = include_str!(
        "../../report/src/snapshots/sshchurn_report__tests__the_json_report_is_stable_and_reads_back.snap"
    );
    let json = snapshot.splitn(3, "---\n").nth(2).unwrap();
    serde_json::from_str(json).unwrap()
}

#[test]
fn a_report_with_everything_in_it_reads_well_in_both_themes_and_widths() {
    let Some(browser) = Browser::start() else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let page: PathBuf = folder.path().join("report.html");
    let report = hand_built();
    assert!(report.strategies[0].per_round[0].startups.is_some());
    std::fs::write(&page, html::render(&report)).unwrap();
    look_at(&browser, &page, &report.verdict.as_str().to_uppercase());
    browser.close();
}

#[test]
fn the_report_of_a_run_reads_well_in_both_themes_and_widths() {
    let Some(browser) = Browser::start() else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let run = driver::run(folder.path(), &["smoke", "--target", "embedded"]);
    let verdict = run.report()["verdict"].as_str().unwrap().to_uppercase();
    look_at(&browser, &run.directory.join("report.html"), &verdict);
    let first = browser.script("return document.body.innerText.trim().split('\\n')[0]");
    assert!(
        first.as_str().unwrap().starts_with("EMBEDDED STAND-IN"),
        "{first}"
    );
    browser.close();
}
