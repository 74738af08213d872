//! The exit codes and streams of the real program, as scripts see them.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

fn ollama_guard(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_ollama-guard")).args(arguments).output().expect("the program starts")
}

fn file(name: &str, text: &str) -> String {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::write(&path, text).expect("the temporary directory is writable");
    path.into_os_string().into_string().expect("its path is text")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn a_valid_file_is_0_and_explained_on_stdout() {
    let output = ollama_guard(&["check", "--config", &file("valid.toml", "profile = \"local\"")]);
    assert_eq!(output.status.code(), Some(0));
    assert!(text(&output.stdout).contains("guarded          ollama (tcp 11434)"));
    assert_eq!(text(&output.stderr), "");
}

#[test]
fn a_faulty_file_is_2_and_explained_on_stderr() {
    let output = ollama_guard(&["--config", &file("faulty.toml", "\n\nmode = \"off\""), "check"]);
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(text(&output.stdout), "");
    assert!(text(&output.stderr).contains("faulty.toml:3:8: mode: "), "{}", text(&output.stderr));
}

#[test]
fn a_faulty_file_is_2_and_a_document_for_scripts() {
    let output = ollama_guard(&["check", "--json", "--config", &file("script.toml", "mode = 1")]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stdout).contains("\"valid\": false"));
}

#[test]
fn a_missing_file_is_2() {
    assert_eq!(ollama_guard(&["check", "--config", "/no/such/file"]).status.code(), Some(2));
}

#[test]
fn wrong_usage_is_2() {
    assert_eq!(ollama_guard(&["chekc"]).status.code(), Some(2));
    assert_eq!(ollama_guard(&["check", "--colour"]).status.code(), Some(2));
}

#[test]
fn help_is_0_and_names_every_command() {
    let output = ollama_guard(&["--help"]);
    assert_eq!(output.status.code(), Some(0));
    for command in ["run", "status", "sources", "metrics", "check", "down"] {
        assert!(text(&output.stdout).contains(&format!("\n  {command} ")), "{command}");
    }
}
