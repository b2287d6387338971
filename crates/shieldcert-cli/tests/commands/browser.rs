//! A headless Chromium, driven by its DevTools protocol through a pipe: JSON messages that end with a NUL.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

/// How long Chromium may take for anything.
const PATIENCE: Duration = Duration::from_secs(120);

/// A page in a browser of its own.
pub(crate) struct Page {
    child: Child,
    requests: Option<ChildStdin>,
    messages: Receiver<Value>,
    session: Option<String>,
    last_id: u64,
    /// What happened in the page, in order.
    events: Vec<Value>,
    _profile: TempDir,
}

impl Page {
    pub(crate) fn open(file: &Path) -> Self {
        let profile = TempDir::new().expect("a folder");
        // Chromium reads from descriptor 3 and writes to 4.
        let mut child = Command::new("sh")
            .args(["-c", r#"exec "$0" "$@" 3<&0 4>&1 </dev/null >/dev/null"#])
            .arg("chromium")
            .args([
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--no-first-run",
            ])
            .args(["--remote-debugging-pipe", "--window-size=1400,1000"])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("it starts");
        let requests = child.stdin.take();
        let mut out = BufReader::new(child.stdout.take().expect("piped"));
        let (sender, messages) = channel();
        std::thread::spawn(move || {
            let mut message = Vec::new();
            while out.read_until(0, &mut message).is_ok_and(|read| read > 0) {
                message.pop();
                let parsed = serde_json::from_slice(&message).expect("JSON");
                if sender.send(parsed).is_err() {
                    break;
                }
                message.clear();
            }
        });
        let mut page = Self {
            child,
            requests,
            messages,
            session: None,
            last_id: 0,
            events: Vec::new(),
            _profile: profile,
        };
        let target = page.call("Target.createTarget", json!({"url": "about:blank"}));
        let target = json!({"targetId": target["targetId"], "flatten": true});
        let attached = page.call("Target.attachToTarget", target);
        page.session = attached["sessionId"].as_str().map(str::to_owned);
        for domain in ["Log", "Network", "Page", "Runtime"] {
            page.call(&format!("{domain}.enable"), json!({}));
        }
        page.call(
            "Page.navigate",
            json!({"url": format!("file://{}", file.display())}),
        );
        while !page
            .events
            .iter()
            .any(|event| event["method"] == "Page.loadEventFired")
        {
            page.receive();
        }
        page
    }

    fn receive(&mut self) -> Value {
        let message = self
            .messages
            .recv_timeout(PATIENCE)
            .expect("Chromium speaks");
        if message.get("id").is_none() {
            self.events.push(message.clone());
        }
        message
    }

    pub(crate) fn call(&mut self, method: &str, params: Value) -> Value {
        self.last_id += 1;
        let id = self.last_id;
        let mut request = json!({"id": id, "method": method, "params": params});
        if let Some(session) = &self.session {
            request["sessionId"] = json!(session);
        }
        let requests = self.requests.as_mut().expect("open until it is dropped");
        requests
            .write_all(format!("{request}\0").as_bytes())
            .expect("is read");
        loop {
            let mut message = self.receive();
            if message["id"] == id {
                assert!(message.get("error").is_none(), "{method}: {message}");
                return message["result"].take();
            }
        }
    }

    /// The value of an expression. A promise is awaited.
    pub(crate) fn eval(&mut self, expression: &str) -> Value {
        let params = json!({"expression": expression, "returnByValue": true, "awaitPromise": true});
        let mut evaluated = self.call("Runtime.evaluate", params);
        assert!(
            evaluated.get("exceptionDetails").is_none(),
            "{expression}: {evaluated}"
        );
        evaluated["result"]["value"].take()
    }

    /// Presses and releases a key.
    pub(crate) fn press(&mut self, key: &str) {
        let mut params = json!({"type": "keyDown", "key": key, "code": key});
        let code = match key {
            "Tab" => 9,
            "Enter" => 13,
            "End" => 35,
            "ArrowLeft" => 37,
            "ArrowRight" => 39,
            _ => 0,
        };
        params["windowsVirtualKeyCode"] = json!(code);
        match key {
            "Enter" => params["text"] = json!("\r"),
            key if key.chars().count() == 1 => params["text"] = json!(key),
            _ => {}
        }
        self.call("Input.dispatchKeyEvent", params);
        let release = json!({"type": "keyUp", "key": key, "code": key});
        self.call("Input.dispatchKeyEvent", release);
    }

    /// What the console, the page's policy and its script complained of.
    pub(crate) fn complaints(&self) -> Vec<&Value> {
        let is_complaint = |event: &&Value| {
            matches!(
                event["method"].as_str(),
                Some("Runtime.exceptionThrown" | "Runtime.consoleAPICalled" | "Log.entryAdded")
            )
        };
        self.events.iter().filter(is_complaint).collect()
    }

    /// The URLs that were requested.
    pub(crate) fn requests(&self) -> Vec<&str> {
        let sent = |event: &&Value| event["method"] == "Network.requestWillBeSent";
        let events = self.events.iter().filter(sent);
        events
            .filter_map(|event| event["params"]["request"]["url"].as_str())
            .collect()
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        // It ends when nobody can speak to it, and with it its other processes.
        drop(self.requests.take());
        let _ = self.child.wait();
    }
}
