//! `[metrics]`: where `/metrics` listens, and its guard if strangers could reach it there.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::num::NonZeroU16;
use std::path::Path;

use super::section::{Field, Section};
use crate::policy::{InvalidListen, Listen, MAX_SERVICES, Policy, Protocol, Service};

/// The service that a reachable metrics port becomes.
const SERVICE: &str = "metrics";

pub(super) fn read(mut section: Section<'_, '_>, policy: &mut Policy) {
    if let Some(field) = section.take("listen")
        && let Some(text) = field.text("\"127.0.0.1:19434\", or \"\" for no metrics")
    {
        policy.metrics = if text.is_empty() { None } else { place(&field, text) };
        if let Some(Listen::Tcp(address)) = policy.metrics {
            guard(&field, address, policy);
        }
    }
    if let Some(field) = section.take("web_config")
        && let Some(text) = field.text("\"/etc/ollama-guard/web.yml\"")
    {
        let path = Path::new(text);
        if path.is_absolute() {
            policy.web_config = Some(path.to_owned());
        } else {
            let problem = format!("\"{}\" is not an absolute path", text.escape_debug());
            field.fault(problem, "write it like \"/etc/ollama-guard/web.yml\"");
        }
    }
    section.finish();
}

fn place(field: &Field<'_, '_>, text: &str) -> Option<Listen> {
    let error = match text.parse() {
        Ok(place) => return Some(place),
        Err(error) => error,
    };
    let next = match error {
        InvalidListen::NoPort => "name the port: \"127.0.0.1:19434\"".to_owned(),
        InvalidListen::NoPath => "write it in full: \"unix:/run/ollama-guard/metrics.sock\"".to_owned(),
        InvalidListen::TooLong => "choose a shorter one, such as \"unix:/run/ollama-guard/metrics.sock\"".to_owned(),
        InvalidListen::NoAddress => match text.strip_prefix("localhost:") {
            Some(port) => format!("write \"127.0.0.1:{port}\": host names are not looked up"),
            None if text.starts_with('/') => format!("write \"unix:{text}\" for a unix socket"),
            None => {
                "write an address and a port: \"127.0.0.1:19434\" or \"[::1]:19434\"; \"\" for no metrics".to_owned()
            }
        },
    };
    let problem = match error {
        InvalidListen::NoPort => error.to_string(),
        _ => format!("\"{}\" {error}", text.escape_debug()),
    };
    field.fault(problem, next);
    None
}

/// A port that strangers could scrape joins the guarded ones: trusted interfaces may, others may not.
fn guard(field: &Field<'_, '_>, address: SocketAddr, policy: &mut Policy) {
    let Some(port) = NonZeroU16::new(address.port()) else { return };
    if let Some(service) = policy.services.iter().find(|service| service.covers(Protocol::Tcp, port)) {
        let problem = format!("tcp port {port} belongs to the service \"{}\"", service.name);
        field.fault(problem, "choose another port for metrics, such as 19434");
    } else if address.ip().is_loopback() {
        // Nobody outside this host can reach it.
    } else if policy.services.len() >= MAX_SERVICES {
        let problem = format!("it must be guarded, and there are {MAX_SERVICES} services already");
        field.fault(problem, "listen on 127.0.0.1, or merge two services into one with several ports");
    } else if policy.services.iter().any(|service| service.name.as_str() == SERVICE) {
        let problem = format!("its port becomes a service \"{SERVICE}\", and that name is taken");
        field.fault(problem, "rename that service, or listen on 127.0.0.1");
    } else {
        policy.services.push(Service {
            name: SERVICE.parse().expect("the built-in name is valid"),
            ports: BTreeSet::from([port]),
            protocols: BTreeSet::from([Protocol::Tcp]),
            insist: false,
        });
    }
}
