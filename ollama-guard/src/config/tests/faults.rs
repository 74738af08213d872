//! What people read when their file is wrong: snapshots of the words.

use insta::assert_snapshot;

use super::rejection;

fn words(text: &str) -> String {
    rejection(text)
}

#[test]
fn not_toml() {
    assert_snapshot!(words("mode = enforce\nprofile = \"vpn\"\n[interfaces\n"));
    assert_snapshot!("the_same_key_twice", words("mode = \"enforce\"\nmode = \"observe\"\n"));
}

#[test]
fn unknown_and_misplaced_keys() {
    assert_snapshot!(words(
        "colour = 1\nprofil = \"vpn\"\n[[service]]\nname = \"ollama\"\nports = [11434]\nport = 1\nmode = \"observe\"\n\
         [interfaces]\ntrused = []\n[serivce]\n"
    ));
}

#[test]
fn wrong_types() {
    assert_snapshot!(words(
        "mode = 1\nwall = \"yes\"\nservice = 11434\ninterfaces = []\n[sources]\ntracked = \"many\"\nexported = 1.5\n"
    ));
    assert_snapshot!(
        "wrong_types_inside",
        words(
            "[[service]]\nname = 1\nports = 11434\nprotocols = \"tcp\"\ninsist = 1\n[interfaces]\ntrusted = \"lo\"\n\
         containers = [1]\nattach = \"tc\"\n[metrics]\nlisten = 19434\n[paths]\nbpf = true\n[[allow]]\nsource = 1\n"
        )
    );
}

#[test]
fn unknown_words() {
    assert_snapshot!(words("profile = \"VPN\"\nmode = \"paranoid\"\nattach = \"xpd\"\nforwarded = \"\"\n"));
}

#[test]
fn services() {
    assert_snapshot!(words(
        "[[service]]\nname = \"ollama\"\nports = [0, 65536, -1, 8080, 8080, \"1\"]\n\
         [[service]]\nname = \"ollama\"\nports = []\nprotocols = []\n\
         [[service]]\nname = \"open webui\"\nports = [8080]\nprotocols = [\"tcp\", \"tcp\", \"sctp\"]\n\
         [[service]]\n"
    ));
}

#[test]
fn a_port_in_two_services() {
    assert_snapshot!(words(
        "[[service]]\nname = \"a\"\nports = [8080]\n[[service]]\nname = \"b\"\nports = [1, 8080]\nprotocols = [\"udp\", \"tcp\"]\n"
    ));
}

fn many_services(count: u16) -> String {
    let service = |n| format!("[[service]]\nname = \"s{n}\"\nports = [{n}]\n");
    (1..=count).map(service).collect::<Vec<_>>().concat()
}

#[test]
fn too_many_services() {
    assert_snapshot!(words(&many_services(17)));
}

#[test]
fn no_room_for_ollama() {
    assert_snapshot!(words(&many_services(15)));
}

#[test]
fn no_services() {
    assert_snapshot!(words("service = []\n"));
}

#[test]
fn interfaces() {
    assert_snapshot!(words(
        "[interfaces]\ntrusted = [\"lo\", \"wg*0\", \"\", \"lo\"]\ncontainers = [\"lo\", \"averylonginterfacename\"]\n\
         [interfaces.attach]\n\"eth*\" = \"tc\"\neth0 = \"fast\"\n"
    ));
}

#[test]
fn allows() {
    let allow = |line: &str| format!("[[allow]]\n{line}\n");
    assert_snapshot!(words(
        &[
            allow("source = \"192.168.1.50/24\""),
            allow("source = \"2001:db8::1/32\""),
            allow("source = \"desk.local\""),
            allow("source = \"10.0.0.0/33\""),
            allow("source = \"fe80::1%eth0\""),
            allow("source = \"::ffff:192.168.1.0/120\""),
            allow("comment = \"who?\""),
            allow("source = \"10.0.0.1\"\ninterface = \"eth*\"\nservice = \"olama\""),
        ]
        .concat()
    ));
}

#[test]
fn limits() {
    assert_snapshot!(words("sources.tracked = 0\nsources.exported = 10001\n"));
    assert_snapshot!("absurd", words("sources.tracked = 99999999999999999999\n"));
    assert_snapshot!("more_exported_than_tracked", words("sources.tracked = 64\nsources.exported = 65\n"));
}

#[test]
fn metrics() {
    for (name, address) in [
        ("host_name", "localhost:19434"),
        ("port_only", "19434"),
        ("port_zero", "127.0.0.1:0"),
        ("taken_port", "127.0.0.1:11434"),
        ("bare_path", "/run/metrics.sock"),
        ("relative_socket", "unix:metrics.sock"),
    ] {
        assert_snapshot!(name, words(&format!("[metrics]\nlisten = \"{address}\"\n")));
    }
    assert_snapshot!(
        "taken_name",
        words("[[service]]\nname = \"metrics\"\nports = [1]\n[metrics]\nlisten = \"0.0.0.0:19434\"\n")
    );
    assert_snapshot!("no_service_left", words(&(many_services(14) + "[metrics]\nlisten = \"0.0.0.0:19434\"\n")));
    let path = "m".repeat(107);
    assert_snapshot!(
        "metrics_paths",
        words(&format!("[metrics]\nlisten = \"unix:/{path}\"\nweb_config = \"web.yml\"\n"))
    );
}

#[test]
fn paths() {
    assert_snapshot!(words("[paths]\nbpf = \"/sys/fs/bpf/a.b\"\nrun = \"run/../x\"\n"));
    assert_snapshot!("long_path", words(&format!("[paths]\nrun = \"/{}\"\n", "r".repeat(95))));
    assert_snapshot!("one_path_for_both", words("[paths]\nbpf = \"/a\"\nrun = \"/a\"\n"));
}

#[test]
fn the_caret_stands_under_the_value_whatever_precedes_it() {
    assert_snapshot!(words("[[allow]]\n\tcomment = \"Schreibtisch für Zoë\"\n\tsource = \"10.1.1.1/8\"\n"));
}

#[test]
fn a_file_that_is_no_configuration_is_told_in_few_words() {
    let text = "[[a#".to_owned() + &"\u{7f}\n".repeat(5000);
    let error = crate::config::parse(std::path::Path::new("config.toml"), &text).unwrap_err();
    assert_eq!(error.faults().len(), 101);
    assert!(error.faults()[100].problem.starts_with("and 9"), "{:?}", error.faults()[100]);
}

/// The slips that people make when they copy from a page, or guess.
#[test]
fn common_slips() {
    for (name, text) in [
        ("curly_quotes", "[interfaces]\ntrusted = [“lo”, “wg0”]\n"),
        ("curly_quotes_around_a_word", "mode = ‘observe’\n"),
        ("unclosed_list", "[[service]]\nname = \"a\"\nports = [8000, 8001\nprotocols = [\"tcp\"]\n"),
        ("unclosed_section", "[interfaces\ntrusted = [\"lo\"]\n"),
        ("unclosed_string", "profile = \"vpn\nmode = \"observe\"\n"),
        ("bare_word", "mode = observe\n"),
        ("a_section_twice", "[interfaces]\ntrusted = [\"lo\"]\n[interfaces]\ncount_loopback = true\n"),
        ("a_key_twice_in_a_section", "[sources]\ntracked = 9\n# tracked\nexported = 1\n  tracked = 8\n"),
        ("one_bracket", "[service]\nname = \"a\"\nports = [8000]\n"),
        ("range", "[[service]]\nname = \"a\"\nports = [\"8000-8010\"]\n"),
        ("range_alone", "[[service]]\nname = \"a\"\nports = \"8000:8010\"\n"),
        ("bare_range", "[[service]]\nname = \"a\"\nports = [8000-8010]\n"),
        ("dotted_range", "[[service]]\nname = \"a\"\nports = [8000..8010]\n"),
        ("nothing_guarded", "ollama = false\n"),
    ] {
        assert_snapshot!(name, words(text));
    }
}
