//! Files of which nothing can be said but that.

use std::path::Path;
use std::{env, fs, io, process};

use super::super::{ConfigError, fault_at, load};

/// Files that are really there, but for the permission that root never lacks.
#[test]
fn a_file_that_cannot_be_read() {
    let folder = env::temp_dir().join(format!("ollama-guard-unreadable-{}", process::id()));
    fs::create_dir_all(&folder).unwrap();
    let latin1 = folder.join("latin1.toml");
    fs::write(&latin1, b"# Z\xfcrich\n").unwrap();
    let load = |path: &Path| load(Some(path)).unwrap_err();
    let denied = ConfigError::Unreadable { file: "f".into(), error: io::ErrorKind::PermissionDenied.into() };
    for (error, next_step) in [
        (load(&folder.join("missing")), "check the path; without --config the built-in defaults apply"),
        (load(&folder), "check that the path names a readable text file"),
        (load(&latin1), "save the file as UTF-8 text"),
        (denied, "run as root, or make the file readable for this user"),
    ] {
        let words = error.to_string();
        assert!(words.ends_with(&format!("\n  next: {next_step}")), "{words}");
        // Scripts are told the same.
        let [fault] = error.faults().try_into().unwrap();
        assert_eq!((fault.line, fault.column, fault.key.as_str(), fault.next_step.as_str()), (1, 1, "", next_step));
        assert!(words.contains(&fault.problem), "{words}");
        assert!(std::error::Error::source(&error).is_none(), "a chain would say it twice");
    }
    fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn a_fault_elsewhere_is_told_where_its_file_is_named() {
    let file = env::temp_dir().join(format!("ollama-guard-fault-at-{}.toml", process::id()));
    fs::write(&file, "mode = \"enforce\"\n[metrics]\nweb_config = \"/etc/web.yml\"\n").unwrap();
    let error = fault_at(&file, &["metrics", "web_config"], "/etc/web.yml:3: no such key", "correct that line");
    let [fault] = error.faults().try_into().unwrap();
    assert_eq!((fault.line, fault.column, fault.key.as_str()), (3, 14, "metrics.web_config"));
    assert!(error.to_string().contains("  3 | web_config = "), "{error}");
    fs::remove_file(&file).unwrap();
    let gone = fault_at(&file, &["metrics", "web_config"], "no such file", "create it");
    assert_eq!(gone.faults()[0].line, 1);
}
