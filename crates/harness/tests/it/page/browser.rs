//! A headless Chromium, driven over WebDriver (W3C) as a person would use it: it clicks, types and looks.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use harness::process::Process;
use harness::{PATIENCE, eventually, free_addr};
use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::Result;

/// How WebDriver names an element in JSON (§12.2).
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// What the person has before them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Screen {
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) is_dark: bool,
    pub(super) language: &'static str,
}

pub(super) const DESKTOP: Screen = Screen { width: 1280, height: 900, is_dark: false, language: "pt-BR" };
pub(super) const PHONE: Screen = Screen { width: 390, height: 844, is_dark: true, language: "en" };

/// A browser with one tab; it ends when dropped.
pub(super) struct Browser {
    client: reqwest::Client,
    session: String,
    driver: Process,
    _dir: TempDir,
}

impl Browser {
    /// Starts one; none where Chromium or its driver is missing and may be.
    pub(super) async fn start(screen: Screen) -> Result<Option<Self>> {
        harness::install_tls();
        let runs = |name: &str| {
            let mut command = Command::new(name);
            command.arg("--version").stdout(Stdio::null()).stderr(Stdio::null());
            command.status().is_ok_and(|status| status.success())
        };
        if !runs("chromium") || !runs("chromedriver") {
            harness::skipped("chromium or chromium-driver is not installed");
            return Ok(None);
        }
        let dir = tempfile::tempdir()?;
        let addr = free_addr()?;
        let mut command = Command::new("chromedriver");
        command.arg(format!("--port={}", addr.port())).env("HOME", dir.path()).env("TMPDIR", dir.path());
        let driver = Process::start("chromedriver", command, &dir.path().join("chromedriver.log"))?;
        let client = reqwest::Client::new();
        let base = format!("http://{addr}");
        let ready = async || Ok(client.get(format!("{base}/status")).send().await.ok());
        eventually("chromedriver answers", PATIENCE, ready).await?;
        let mut browser = Self { client, session: base, driver, _dir: dir };
        let session = browser.ask(Method::POST, "/session", json!({"capabilities": capabilities(screen)})).await?;
        let id = session["sessionId"].as_str().with_context(|| format!("no session: {session}"))?;
        browser.session = format!("{}/session/{id}", browser.session);
        browser.screen(screen).await?;
        Ok(Some(browser))
    }

    /// Gives the tab the size of a screen, and its colours.
    pub(super) async fn screen(&self, screen: Screen) -> Result {
        let scheme = if screen.is_dark { "dark" } else { "light" };
        let features = json!([{"name": "prefers-color-scheme", "value": scheme}]);
        self.devtools("Emulation.setEmulatedMedia", json!({"features": features})).await?;
        let Screen { width, height, .. } = screen;
        let metrics = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600});
        self.devtools("Emulation.setDeviceMetricsOverride", metrics).await?;
        Ok(())
    }

    pub(super) async fn open(&self, url: &str) -> Result {
        self.ask(Method::POST, "/url", json!({"url": url})).await.map(drop)
    }

    pub(super) async fn reload(&self) -> Result {
        self.ask(Method::POST, "/refresh", json!({})).await.map(drop)
    }

    /// What a script in the page returns, or its promise; `arguments` are those of the script.
    pub(super) async fn run(&self, script: &str, arguments: Value) -> Result<Value> {
        self.ask(Method::POST, "/execute/sync", json!({"script": script, "args": arguments})).await
    }

    /// The text that a person reads in an element; empty where there is none.
    pub(super) async fn text(&self, css: &str) -> Result<String> {
        let text = self.run("return document.querySelector(arguments[0])?.innerText ?? ''", json!([css])).await?;
        Ok(text.as_str().unwrap_or_default().to_owned())
    }

    /// Waits until an element says something.
    pub(super) async fn reads(&self, css: &str, wanted: &str) -> Result {
        let last = std::cell::RefCell::new(String::new());
        let probe = async || {
            let text = self.text(css).await?;
            let is = text.contains(wanted);
            last.replace(text);
            Ok(is.then_some(()))
        };
        let read = eventually(&format!("{css} says {wanted:?}"), PATIENCE, probe).await;
        read.with_context(|| format!("it says {:?}", last.borrow()))
    }

    /// Waits until an expression is true in the page.
    pub(super) async fn holds(&self, expression: &str) -> Result {
        let script = format!("return Boolean({expression})");
        let probe = async || Ok((self.run(&script, json!([])).await? == true).then_some(()));
        eventually(expression, PATIENCE, probe).await
    }

    /// Clicks where a person would.
    pub(super) async fn click(&self, css: &str) -> Result {
        self.element(css, "click", json!({})).await
    }

    /// Types into an element; `\u{e007}` is the enter key.
    pub(super) async fn type_into(&self, css: &str, text: &str) -> Result {
        self.element(css, "value", json!({"text": text})).await
    }

    /// Presses and lets go of a key: `\u{e004}` is the tabulator.
    pub(super) async fn press(&self, key: &str) -> Result {
        let key_action = |kind: &str| json!({"type": kind, "value": key});
        let keyboard =
            json!({"type": "key", "id": "keyboard", "actions": [key_action("keyDown"), key_action("keyUp")]});
        self.ask(Method::POST, "/actions", json!({"actions": [keyboard]})).await.map(drop)
    }

    /// The page may draw a list anew between finding and acting: then the element that was found is gone, nothing was
    /// done to it, and it is looked for again.
    async fn element(&self, css: &str, act: &str, body: Value) -> Result {
        let probe = async || {
            let found = self.ask(Method::POST, "/element", json!({"using": "css selector", "value": css})).await?;
            let id = found[ELEMENT].as_str().with_context(|| format!("no element {css}"))?;
            match self.ask(Method::POST, &format!("/element/{id}/{act}"), body.clone()).await {
                Err(error) if error.to_string().contains("stale element") => Ok(None),
                acted => acted.map(Some),
            }
        };
        eventually(&format!("{act} at {css}"), PATIENCE, probe).await.map(drop)
    }

    /// What the browser has complained of since it was last asked: its source and words.
    pub(super) async fn complaints(&self) -> Result<Vec<(String, String)>> {
        let entries = self.ask(Method::POST, "/se/log", json!({"type": "browser"})).await?;
        let text = |entry: &Value, name: &str| entry[name].as_str().unwrap_or_default().to_owned();
        Ok(entries.as_array().into_iter().flatten().map(|it| (text(it, "source"), text(it, "message"))).collect())
    }

    /// What was asked for since this was last called.
    pub(super) async fn addresses(&self) -> Result<BTreeSet<String>> {
        let entries = self.ask(Method::POST, "/se/log", json!({"type": "performance"})).await?;
        let mut addresses = BTreeSet::new();
        for entry in entries.as_array().into_iter().flatten() {
            let event: Value = serde_json::from_str(entry["message"].as_str().unwrap_or_default())?;
            if event["message"]["method"] == "Network.requestWillBeSent" {
                let url = event["message"]["params"]["request"]["url"].as_str().unwrap_or_default();
                addresses.insert(url.to_owned());
            }
        }
        Ok(addresses)
    }

    /// A picture of the whole page, however long.
    pub(super) async fn picture(&self, path: &Path) -> Result {
        let size = self.run("return [innerWidth, document.documentElement.scrollHeight]", json!([])).await?;
        let (width, height) = (&size[0], &size[1]);
        let metrics = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false});
        self.devtools("Emulation.setDeviceMetricsOverride", metrics).await?;
        // Two frames, in which the chart finds its size.
        self.run("return new Promise((done) => setTimeout(done, 1200))", json!([])).await?;
        let picture = self.devtools("Page.captureScreenshot", json!({"format": "png"})).await?;
        std::fs::write(path, STANDARD.decode(picture["data"].as_str().unwrap_or_default())?)?;
        Ok(())
    }

    async fn devtools(&self, command: &str, parameters: Value) -> Result<Value> {
        self.ask(Method::POST, "/goog/cdp/execute", json!({"cmd": command, "params": parameters})).await
    }

    async fn ask(&self, method: Method, path: &str, body: Value) -> Result<Value> {
        let request = self.client.request(method, format!("{}{path}", self.session)).json(&body);
        let response = request.timeout(PATIENCE).send().await?;
        let is_good = response.status().is_success();
        let mut answer: Value = response.json().await?;
        if !is_good {
            bail!("{path}: {}", answer["value"]["message"]);
        }
        Ok(answer["value"].take())
    }
}

impl Drop for Browser {
    /// The driver leads a group of its own, with the browser's many processes in it.
    fn drop(&mut self) {
        let group = format!("-{}", self.driver.pid());
        let _ = Command::new("kill").args(["-KILL", "--", &group]).stderr(Stdio::null()).status();
    }
}

fn capabilities(screen: Screen) -> Value {
    // The sandbox cannot be had as root, nor much shared memory in a container.
    let mut arguments = vec!["--headless".to_owned(), "--no-sandbox".to_owned(), "--disable-dev-shm-usage".to_owned()];
    arguments.push("--hide-scrollbars".to_owned());
    arguments.push(format!("--window-size={},{}", screen.width, screen.height));
    let preferences = json!({"intl.accept_languages": screen.language});
    json!({"alwaysMatch": {
        "browserName": "chrome",
        "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"},
        "goog:chromeOptions": {"args": arguments, "prefs": preferences},
    }})
}
