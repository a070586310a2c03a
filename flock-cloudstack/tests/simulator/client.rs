//! A client as small as it can be, with its own signatures.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flock_cloudstack::simulator::{Credentials, Simulator, SimulatorOptions};
use hmac::{Hmac, KeyInit as _, Mac as _};
use reqwest::header::HeaderMap;
use serde_json::Value;
use sha1::Sha1;

/// Parameters and their values.
pub(crate) type Pairs<'a> = &'a [(&'a str, &'a str)];

pub(crate) struct Api {
    pub(crate) url: String,
    pub(crate) key: String,
    pub(crate) secret: String,
    pub(crate) post: bool,
    pub(crate) http: reqwest::Client,
}

pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    /// The name of the outermost member.
    pub(crate) envelope: String,
    /// What is in it.
    pub(crate) body: Value,
}

/// A simulator that loses no time, and a client of its first account.
pub(crate) async fn start(options: SimulatorOptions) -> (Simulator, Api) {
    let options = options
        .with_job_time(Duration::from_millis(20))
        .with_install_time(Duration::from_millis(20))
        .with_upload_interval(Duration::from_millis(20));
    let simulator = Simulator::start(options).await.unwrap();
    let api = Api::new(simulator.url(), simulator.api_key(), simulator.secret_key().expose());
    (simulator, api)
}

pub(crate) async fn fresh() -> (Simulator, Api) {
    start(SimulatorOptions::new()).await
}

impl Api {
    pub(crate) fn new(url: &str, key: &str, secret: &str) -> Self {
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let (url, key, secret) = (url.to_owned(), key.to_owned(), secret.to_owned());
        Self { url, key, secret, post: true, http }
    }

    /// The same server as somebody else.
    pub(crate) fn as_other(&self, credentials: &Credentials) -> Self {
        Self::new(&self.url, &credentials.api_key, credentials.secret_key.expose())
    }

    pub(crate) fn with_get(mut self) -> Self {
        self.post = false;
        self
    }

    /// Signs and sends parameters just as they are.
    pub(crate) async fn send(
        &self,
        parameters: Pairs<'_>,
    ) -> Result<reqwest::Response, reqwest::Error> {
        let signature = sign(parameters, &self.secret);
        let mut form = url_form(parameters);
        form.push_str(&format!("&signature={}", encode(&signature)));
        let request = match self.post {
            true => self
                .http
                .post(&self.url)
                .header("Content-Type", "application/x-www-form-urlencoded")
                .body(form),
            false => self.http.get(format!("{}?{form}", self.url)),
        };
        request.send().await
    }

    /// Calls a command and reads the reply, whatever it is.
    pub(crate) async fn try_call(
        &self,
        command: &str,
        more: Pairs<'_>,
    ) -> Result<Reply, reqwest::Error> {
        let key = self.key.clone();
        let mut all = vec![("command", command), ("response", "json"), ("apikey", key.as_str())];
        all.extend_from_slice(more);
        let response = self.send(&all).await?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let text = response.text().await?;
        let (envelope, body) = match serde_json::from_str(&text) {
            Ok(Value::Object(map)) => map.into_iter().next().unwrap(),
            _ => (String::new(), Value::String(text)),
        };
        Ok(Reply { status, headers, envelope, body })
    }

    pub(crate) async fn call(&self, command: &str, more: Pairs<'_>) -> Reply {
        self.try_call(command, more).await.unwrap()
    }

    /// Calls a command that must work.
    pub(crate) async fn ok(&self, command: &str, more: Pairs<'_>) -> Value {
        let reply = self.call(command, more).await;
        assert_eq!(reply.status, 200, "{command}: {}", reply.body);
        reply.body
    }

    /// Calls a command that must not work: its code and text.
    pub(crate) async fn refused(&self, command: &str, more: Pairs<'_>) -> (u16, String) {
        let reply = self.call(command, more).await;
        assert_ne!(reply.status, 200, "{command}: {}", reply.body);
        assert_eq!(reply.body["errorcode"], reply.status, "{command}");
        (reply.status, reply.body["errortext"].as_str().unwrap_or_default().to_owned())
    }

    /// Waits for a job: its result, or the code and text of its failure.
    pub(crate) async fn wait(&self, started: &Value) -> Result<Value, (u64, String)> {
        let job = started["jobid"].as_str().expect("a job id");
        loop {
            let found = self.ok("queryAsyncJobResult", &[("jobid", job)]).await;
            match found["jobstatus"].as_u64() {
                Some(0) => tokio::time::sleep(Duration::from_millis(5)).await,
                Some(1) => return Ok(found["jobresult"].clone()),
                _ => {
                    let error = &found["jobresult"];
                    let text = error["errortext"].as_str().unwrap_or_default().to_owned();
                    return Err((error["errorcode"].as_u64().unwrap_or(0), text));
                }
            }
        }
    }

    /// Starts a job and waits for it.
    pub(crate) async fn run(&self, command: &str, more: Pairs<'_>) -> Result<Value, (u64, String)> {
        let started = self.ok(command, more).await;
        self.wait(&started).await
    }

    /// The id of the first item of a list.
    pub(crate) async fn first(&self, command: &str, key: &str, more: Pairs<'_>) -> String {
        let list = self.ok(command, more).await;
        list[key][0]["id"].as_str().unwrap_or_else(|| panic!("{command}: {list}")).to_owned()
    }

    pub(crate) async fn zone(&self) -> String {
        self.first("listZones", "zone", &[("name", "zone-1")]).await
    }

    pub(crate) async fn offering(&self, name: &str) -> String {
        self.first("listServiceOfferings", "serviceoffering", &[("name", name)]).await
    }

    /// A template that the simulator brings.
    pub(crate) async fn template(&self, hypervisor: &str) -> String {
        let name = format!("Debian 12 ({hypervisor})");
        let filter = [("templatefilter", "featured"), ("name", name.as_str())];
        self.first("listTemplates", "template", &filter).await
    }

    /// Asks for a machine with further parameters.
    pub(crate) async fn deploy(&self, name: &str, more: Pairs<'_>) -> Reply {
        let (zone, template) = (self.zone().await, self.template("KVM").await);
        let offering = self.offering("Small Instance").await;
        let mut all = vec![("zoneid", zone.as_str())];
        for (key, value) in [("templateid", &template), ("serviceofferingid", &offering)] {
            if !more.iter().any(|(given, _)| *given == key) {
                all.push((key, value));
            }
        }
        if !name.is_empty() {
            all.push(("name", name));
        }
        all.extend_from_slice(more);
        self.call("deployVirtualMachine", &all).await
    }

    /// Deploys a machine: its record.
    pub(crate) async fn deployed(&self, name: &str, more: Pairs<'_>) -> Value {
        let reply = self.deploy(name, more).await;
        assert_eq!(reply.status, 200, "{}", reply.body);
        self.wait(&reply.body).await.unwrap()["virtualmachine"].clone()
    }
}

/// The signature: by the developer guide, "How to sign an API call".
pub(crate) fn sign(parameters: Pairs<'_>, secret: &str) -> String {
    let mut sorted: Vec<_> = parameters.to_vec();
    sorted.sort_unstable();
    let pairs = sorted.iter().map(|(name, value)| format!("{name}={}", encode(value)));
    let text = pairs.collect::<Vec<_>>().join("&").to_lowercase();
    let mut mac = Hmac::<Sha1>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(text.as_bytes());
    STANDARD.encode(mac.finalize().into_bytes())
}

fn url_form(parameters: Pairs<'_>) -> String {
    let pairs =
        parameters.iter().map(|(name, value)| format!("{}={}", encode(name), encode(value)));
    pairs.collect::<Vec<_>>().join("&")
}

fn encode(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.*".contains(&byte);
    text.bytes()
        .map(|byte| match plain(byte) {
            true => char::from(byte).to_string(),
            false => format!("%{byte:02X}"),
        })
        .collect()
}
