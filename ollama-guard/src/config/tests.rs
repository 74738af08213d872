mod faults;
mod properties;
mod sound;
mod unreadable;

use std::path::Path;

use super::parse;
use crate::policy::Policy;

fn policy(text: &str) -> Policy {
    parse(Path::new("config.toml"), text).unwrap_or_else(|error| panic!("{error}"))
}

/// What the user reads.
fn rejection(text: &str) -> String {
    parse(Path::new("config.toml"), text).expect_err("the text has a fault").to_string()
}

#[test]
fn a_faulty_file_still_names_its_directories() {
    let section = "[paths]\nbpf = \"/sys/fs/bpf/mine\"\nrun = \"/run/mine\"\n";
    for text in [section.to_owned(), format!("no toml\n\n{section}"), format!("profle = \"lan\"\n{section}[intrfaces]")]
    {
        let paths = super::paths_in(&text);
        assert_eq!((paths.bpf, paths.run), ("/sys/fs/bpf/mine".into(), "/run/mine".into()), "{text}");
    }
    // However TOML lets a table be written, before a fault and behind one.
    for header in ["[paths] # ours", "[ paths ]", "  [paths]\t", "[\"paths\"]"] {
        for text in [
            format!("{header}\nbpf = \"/sys/fs/bpf/mine\"\n"),
            format!("no toml\n{header}\nbpf = \"/sys/fs/bpf/mine\"\n[[allow]\n"),
            format!("trusted = [\n{header}\nbpf = \"/sys/fs/bpf/mine\" # comment\n"),
        ] {
            assert_eq!(super::paths_in(&text).bpf, Path::new("/sys/fs/bpf/mine"), "{text}");
        }
    }
    for text in ["paths.bpf = \"/sys/fs/bpf/mine\"", "paths = { bpf = \"/sys/fs/bpf/mine\" }"] {
        assert_eq!(super::paths_in(text).bpf, Path::new("/sys/fs/bpf/mine"), "{text}");
    }
    let file = std::env::temp_dir().join(format!("ollama-guard-paths-{}.toml", std::process::id()));
    std::fs::write(&file, format!("no toml\n{section}")).unwrap();
    assert_eq!(super::paths(Some(&file)), super::paths_in(section));
    std::fs::remove_file(&file).unwrap();
    assert_eq!(super::paths(Some(&file)), super::built_in().paths, "there is no file");
    let broken = super::paths_in("[paths]\nbpf = 7\nrun = \"/run/mine\"");
    assert_eq!((broken.bpf, broken.run), (super::built_in().paths.bpf, "/run/mine".into()));
}
