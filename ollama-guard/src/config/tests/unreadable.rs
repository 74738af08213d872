//! Files of which nothing can be said but that.

use std::path::Path;
use std::{env, fs, io, process};

use super::super::{ConfigError, Fault, load};

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
fn a_fault_elsewhere_is_the_key_s_that_names_the_file() {
    let fault = Fault::of_named_file("metrics.web_config", &"/etc/web.yml:3: no such key");
    let told = serde_json::to_string(&fault).unwrap();
    assert_eq!(
        told,
        r#"{"line":1,"column":1,"key":"metrics.web_config","problem":"/etc/web.yml:3: no such key","next_step":"correct that file"}"#
    );
}
