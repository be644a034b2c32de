//! A headless Chromium, driven over WebDriver: a few JSON calls on a loopback socket.
//!
//! Owns the processes it starts: none outlives the value, whatever the test does.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::channel;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::driver;

/// Makes a missing browser a failure.
const REQUIRED: &str = "SSHCHURN_REQUIRE_BROWSER";
/// For any one step of the browser.
const WITHIN: Duration = Duration::from_secs(60);

/// A browser with one page.
pub(crate) struct Browser {
    driver: Child,
    port: u16,
    session: Option<String>,
    profile: tempfile::TempDir,
}

fn program(names: &[&str]) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    names.iter().find_map(|name| {
        std::env::split_paths(&path)
            .map(|folder| folder.join(name))
            .find(|candidate| candidate.is_file())
    })
}

impl Browser {
    /// Starts a browser; `None`, said loudly, where there is none.
    pub(crate) fn start() -> Option<Browser> {
        let chromium = program(&["chromium", "chromium-browser", "google-chrome"]);
        let (Some(chromium), Some(chromedriver)) = (chromium, program(&["chromedriver"])) else {
            driver::skipped(REQUIRED, "no chromium and chromedriver here");
            return None;
        };
        let mut driver = Command::new(chromedriver)
            .arg("--port=0")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let stdout = BufReader::new(driver.stdout.take().unwrap());
        let (sender, receiver) = channel();
        std::thread::spawn(move || {
            // Read to the end: a driver that cannot write any more would stop.
            for line in stdout.lines().map_while(Result::ok) {
                let port = line
                    .split_once("successfully on port ")
                    .and_then(|(_, rest)| rest.trim_end_matches('.').parse::<u16>().ok());
                if let Some(port) = port {
                    let _ = sender.send(port);
                }
            }
        });
        let mut browser = Browser {
            driver,
            port: 0,
            session: None,
            profile: tempfile::Builder::new()
                .prefix("sshchurn-browser-")
                .tempdir()
                .unwrap(),
        };
        browser.port = receiver
            .recv_timeout(WITHIN)
            .expect("chromedriver is ready");
        let session = browser.call(
        "POST",
        "/session",
        &json!({"capabilities": {"alwaysMatch": {
            "browserName": "chrome",
            "goog:chromeOptions": {
                "binary": chromium,
                "args": [
                    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
                    "--disable-background-networking", "--no-first-run", "--hide-scrollbars",
                    format!("--user-data-dir={}", browser.profile.path().display()),
                ],
            },
            "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"},
        }}}),
    );
        browser.session = Some(session["sessionId"].as_str().unwrap().to_owned());
        // A browser's own first page asks for things too.
        browser.in_session("POST", "/url", &json!({"url": "about:blank"}));
        browser.requests();
        Some(browser)
    }

    /// A page of `width` × `height` pixels in a theme.
    pub(crate) fn open(&self, page: &Path, (width, height): (u32, u32), dark: bool) {
        let theme = if dark { "dark" } else { "light" };
        self.devtools(
            "Emulation.setDeviceMetricsOverride",
            &json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false}),
        );
        self.devtools(
            "Emulation.setEmulatedMedia",
            &json!({"features": [{"name": "prefers-color-scheme", "value": theme}]}),
        );
        let url = format!("file://{}", page.display());
        self.in_session("POST", "/url", &json!({"url": url}));
    }

    /// Runs the body of a function in the page; its value.
    pub(crate) fn script(&self, body: &str) -> Value {
        self.in_session(
            "POST",
            "/execute/sync",
            &json!({"script": body, "args": []}),
        )
    }

    /// What the page wrote to its console since the last call.
    pub(crate) fn console(&self) -> Vec<String> {
        self.log("browser")
    }

    /// The addresses asked for since the last call.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.log("performance")
            .iter()
            .filter_map(|entry| serde_json::from_str::<Value>(entry).ok())
            .filter(|entry| entry["message"]["method"] == "Network.requestWillBeSent")
            .map(|entry| {
                let url = &entry["message"]["params"]["request"]["url"];
                url.as_str().unwrap().to_owned()
            })
            .collect()
    }

    fn log(&self, kind: &str) -> Vec<String> {
        let entries = self.in_session("POST", "/se/log", &json!({"type": kind}));
        let entries = entries.as_array().unwrap().clone();
        entries
            .iter()
            .map(|entry| entry["message"].as_str().unwrap().to_owned())
            .collect()
    }

    fn devtools(&self, command: &str, parameters: &Value) {
        self.in_session(
            "POST",
            "/goog/cdp/execute",
            &json!({"cmd": command, "params": parameters}),
        );
    }

    fn in_session(&self, method: &str, path: &str, body: &Value) -> Value {
        let session = self.session.as_ref().unwrap();
        self.call(method, &format!("/session/{session}{path}"), body)
    }

    fn call(&self, method: &str, path: &str, body: &Value) -> Value {
        let answer = self
            .exchange(method, path, &body.to_string())
            .unwrap_or_else(|error| panic!("{method} {path}: {error}"));
        let mut answer: Value = serde_json::from_str(&answer).unwrap();
        let value = answer["value"].take();
        assert!(value.get("error").is_none(), "{method} {path}: {value:#}");
        value
    }

    /// One HTTP exchange, to the end of the body.
    fn exchange(&self, method: &str, path: &str, body: &str) -> std::io::Result<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
        stream.set_read_timeout(Some(WITHIN))?;
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
            self.port,
            body.len()
        )?;
        let mut reader = BufReader::new(stream);
        let mut length = 0;
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line)? == 0 || line.trim_end().is_empty() {
                break;
            }
            if let Some((name, value)) = line.split_once(':')
                && name.eq_ignore_ascii_case("content-length")
            {
                length = value.trim().parse().unwrap_or(0);
            }
        }
        let mut text = vec![0; length];
        reader.read_exact(&mut text)?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    /// The browser's processes: all of them name its profile, or their parent does.
    fn processes(&self) -> Vec<Pid> {
        let mark = self.profile.path().display().to_string();
        let Ok(entries) = std::fs::read_dir("/proc") else {
            return Vec::new();
        };
        entries
            .filter_map(Result::ok)
            .filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok())
            .filter(|pid| {
                let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
                String::from_utf8_lossy(&line).contains(&mark)
            })
            .map(Pid::from_raw)
            .collect()
    }

    /// Ends the browser and waits until its processes are gone.
    pub(crate) fn close(self) {
        let mark = self.profile.path().display().to_string();
        drop(self);
        driver::wait_until(WITHIN, "the browser's end", || {
            driver::processes_with(&mark).is_empty()
        });
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        if let Some(session) = self.session.take() {
            let _ = self.exchange("DELETE", &format!("/session/{session}"), "{}");
        }
        let _ = self.driver.kill();
        let _ = self.driver.wait();
        // What the driver has not ended, after a failed test for example.
        for pid in self.processes() {
            let _ = kill(pid, Signal::SIGKILL);
        }
    }
}
