use super::super::samples::{day, derived};
use super::*;

#[test]
fn the_status_document() {
    let snapshot = day();
    insta::assert_snapshot!("status", serde_json::to_string_pretty(&Status::from(&snapshot)).unwrap());
}

#[test]
fn the_sources_document() {
    let mut snapshot = day();
    snapshot.rank_sources(Some(1));
    insta::assert_snapshot!("sources", serde_json::to_string_pretty(&Sources::from(&snapshot)).unwrap());
}

/// The keys that scripts rely on, in the order of the documentation. Whoever has to change a line here breaks
/// somebody's script.
#[test]
fn the_contract_holds() {
    let snapshot = day();
    let text = serde_json::to_string(&Status::from(&snapshot)).unwrap();
    let expected = [
        r#"{"version":"0.1.0","mode":"enforce","enforcing":true,"#,
        r#""services":[{"name":"ollama","protocols":["tcp"],"ports":[11434]}],"#,
        r#""interfaces":[{"name":"eth0","index":2,"class":"guarded","hook":"xdp-native","#,
        r#""passed_packets":0,"passed_bytes":0,"dropped_packets":12904,"dropped_bytes":774240,"#,
        r#""drops":{"untrusted":12900,"fragment":4},"last_drop":{"source":"203.0.113.9","seconds_ago":2.1}"#,
        r#""seatbelt":{"installed":true,"dropped_packets":0,"repairs":0"#,
        r#""sources":[{"source":"203.0.113.9","interface":"eth0","service":"ollama","packets":12900,"dropped_packets":12900,"last_seen_seconds_ago":2.1"#,
        r#""sources_tracked":1,"unattributed_packets":0,"problems":[]"#,
    ];
    let mut rest = text.as_str();
    for part in expected {
        let at = rest.find(part).unwrap_or_else(|| panic!("{part} is missing or out of order in {text}"));
        rest = &rest[at + part.len()..];
    }
}

#[test]
fn every_key_is_documented() {
    fn keys(value: &serde_json::Value, found: &mut BTreeSet<String>) {
        match value {
            serde_json::Value::Object(object) => object.iter().for_each(|(key, value)| {
                found.insert(key.clone());
                keys(value, found);
            }),
            serde_json::Value::Array(array) => array.iter().for_each(|value| keys(value, found)),
            _ => {}
        }
    }
    let mut snapshot = day();
    snapshot.daemon = false;
    snapshot.derived.push(derived());
    snapshot.seatbelt.dropped.clear(); // Its keys are the names of chains.
    let mut found = BTreeSet::new();
    keys(&serde_json::to_value(Status::from(&snapshot)).unwrap(), &mut found);
    let guide = include_str!("../../../../docs/json.md");
    let missing: Vec<_> = found.iter().filter(|key| !guide.contains(&format!("`{key}`"))).collect();
    assert!(missing.is_empty(), "docs/json.md does not mention {missing:?}");
}

/// Each state has a word of its own; only the first two say that there is a table.
#[test]
fn the_state_of_the_seatbelt() {
    for (state, word, installed) in [
        (SeatbeltState::Intact, "intact", true),
        (SeatbeltState::Altered("a rule is gone".into()), "altered", true),
        (SeatbeltState::Missing, "missing", false),
        (SeatbeltState::Unknown("no permission".into()), "unknown", false),
    ] {
        let mut snapshot = day();
        snapshot.seatbelt.state = state;
        let status = serde_json::to_value(Status::from(&snapshot)).unwrap();
        assert_eq!((&status["seatbelt"]["state"], &status["seatbelt"]["installed"]), (&word.into(), &installed.into()));
    }
}
