//! TLS and passwords, with the real curl and the real Prometheus.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tests::guard::Guard;
use tests::netns::Netns;
use tests::topology::World;
use tests::{require, requires, wait};

use super::POLICY;

const URL: &str = "https://127.0.0.1:19434/metrics";
const SOON: Duration = Duration::from_secs(20);
/// bcrypt of `opensesame`, cost 5, by Apache's htpasswd.
const HASH: &str = "$2y$05$8osEywld0sgIrU5A7jAEyeurf8cBFGSdX7nKQ8nSPNoVw/uRDTqoy";

/// An authority, and a certificate of its for server and client.
fn certificates(ns: &Netns, folder: &Path) -> Result<()> {
    let folder = folder.to_str().context("path")?;
    let script = format!(
        "cd {folder} && openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=authority \
         -keyout ca.key -out ca.crt 2>/dev/null\n\
         for who in server client; do\n\
         openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=$who -keyout $who.key -out $who.csr 2>/dev/null\n\
         printf 'subjectAltName=IP:127.0.0.1' > $who.ext\n\
         openssl x509 -req -in $who.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 -extfile $who.ext -out $who.crt 2>/dev/null\n\
         done"
    );
    ns.run("sh", &["-ec", &script]).map(drop)
}

/// curl's answer: the status, 000 if there was none.
fn curl(ns: &Netns, folder: &Path, arguments: &[&str]) -> Result<String> {
    let ca = folder.join("ca.crt");
    let usual = ["-s", "-o", "/dev/null", "-w", "%{http_code}", "--max-time", "10", "--cacert"];
    let output = ns.output("curl", &[&usual[..], &[ca.to_str().context("path")?], arguments].concat())?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[test]
fn strangers_hear_nothing_and_prometheus_does() -> Result<()> {
    require!(requires::root(), requires::bpffs(), requires::guard());
    require!(requires::tool("openssl"), requires::tool("curl"), requires::tool("prometheus"));
    let world = World::new()?;
    let ns = &world.guard;
    let mut guard = Guard::prepare(ns, POLICY)?;
    let folder = guard.config().parent().context("no folder")?.to_owned();
    certificates(ns, &folder)?;
    let web = folder.join("web.yml");
    let policy = format!("{POLICY}\n[metrics]\nweb_config = \"{}\"", web.display());
    let tls = "tls_server_config:\n  cert_file: server.crt\n  key_file: server.key\n";

    // A faulty file: the guard enforces, nothing is served, and `check` says where.
    fs::write(&web, format!("{tls}  cert: x\n"))?;
    guard.configure(&policy)?;
    let check = guard.command(&["check"])?;
    let error = String::from_utf8_lossy(&check.stderr).into_owned();
    ensure!(check.status.code() == Some(2) && error.contains("web.yml:4:3: "), "{error}");
    guard.run()?;
    guard.enforces()?;
    wait::until("the log to say so", SOON, || {
        guard.log().contains("metrics are unavailable (enforcement is not affected)")
    })?;
    ensure!(guard.log().contains("web.yml:4:3: ") && guard.log().contains("`cert`"), "{}", guard.log());
    for url in [URL, "http://127.0.0.1:19434/metrics"] {
        ensure!(curl(ns, &folder, &["-k", url])? == "000", "{url} is answered");
    }

    // Corrected: it is tried again by itself. Without a password, or without TLS, there is nothing to hear.
    fs::write(&web, format!("{tls}basic_auth_users:\n  prometheus: {HASH}\n"))?;
    let alice = ["-u", "prometheus:opensesame", URL];
    wait::until("metrics over TLS", SOON, || curl(ns, &folder, &alice).is_ok_and(|code| code == "200"))
        .with_context(|| guard.log())?;
    ensure!(curl(ns, &folder, &[URL])? == "401");
    ensure!(curl(ns, &folder, &["-u", "prometheus:wrong", URL])? == "401");
    ensure!(curl(ns, &folder, &["-u", "nobody:opensesame", URL])? == "401");
    ensure!(curl(ns, &folder, &["http://127.0.0.1:19434/metrics"])? == "000");
    ensure!(curl(ns, &folder, &["-u", "prometheus:opensesame", "--tls-max", "1.2", URL])? == "200");

    // A faulty change closes nothing and opens nothing.
    fs::write(&web, "basic_auth_user: {}\n")?;
    ensure!(curl(ns, &folder, &[URL])? == "401" && curl(ns, &folder, &alice)? == "200");
    ensure!(guard.log().contains("stays in force") && guard.log().contains("web.yml:1:1: "), "{}", guard.log());

    // Client certificates, and TLS 1.3 only, without a reload.
    let strict = "  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: ca.crt\n  min_version: TLS13\n";
    fs::write(&web, format!("{tls}{strict}basic_auth_users:\n  prometheus: {HASH}\n"))?;
    ensure!(curl(ns, &folder, &alice)? == "000", "no certificate was shown");
    let path = |name: &str| folder.join(name).display().to_string();
    let (certificate, key) = (path("client.crt"), path("client.key"));
    let shown = [&["--cert", &certificate, "--key", &key][..], &alice].concat();
    ensure!(curl(ns, &folder, &shown)? == "200", "{}", guard.log());
    ensure!(curl(ns, &folder, &[&["--tls-max", "1.2"][..], &shown].concat())? == "000", "TLS 1.2 is too old");

    // And the real Prometheus.
    let config = folder.join("prometheus.yml");
    let scrape = format!(
        "global: {{ scrape_interval: 1s }}\nscrape_configs:\n  - job_name: ollama-guard\n    scheme: https\n    \
         basic_auth: {{ username: prometheus, password: opensesame }}\n    \
         tls_config: {{ ca_file: {}, cert_file: {certificate}, key_file: {key} }}\n    \
         static_configs: [ {{ targets: [ '127.0.0.1:19434' ] }} ]\n",
        path("ca.crt")
    );
    fs::write(&config, scrape)?;
    let arguments = [
        format!("--config.file={}", config.display()),
        format!("--storage.tsdb.path={}", folder.join("data").display()),
        "--web.listen-address=127.0.0.1:9090".to_owned(),
    ];
    let prometheus = ns.spawn("prometheus", &arguments.each_ref().map(String::as_str))?;
    let up = || -> Result<Value> {
        let answer = ns.run(
            "curl",
            &["-s", "--max-time", "5", "http://127.0.0.1:9090/api/v1/query?query=ollama_guard_enforcing"],
        )?;
        let answer: Value = serde_json::from_str(&answer)?;
        Ok(answer["data"]["result"][0]["value"][1].clone())
    };
    wait::until("Prometheus to have scraped", Duration::from_mins(1), || up().is_ok_and(|value| value == "1"))
        .with_context(|| prometheus.log())?;
    guard.enforces()
}
