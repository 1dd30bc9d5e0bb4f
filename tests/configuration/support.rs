//! Running the program on files that a test has written.

use std::path::Path;
use std::process::{Command, Output};

/// Runs the program with these arguments until it ends.
pub(crate) fn portcullis(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_portcullis")).args(arguments).output().unwrap()
}

/// Writes a configuration into the directory and returns its path.
pub(crate) fn write(directory: &Path, text: &str) -> String {
    let path = directory.join("gateway.toml");
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

/// Returns the standard error of `check` for a file with these bytes. `check` must find one problem.
pub(crate) fn complaint(directory: &Path, text: &[u8]) -> String {
    let path = directory.join("gateway.toml");
    std::fs::write(&path, text).unwrap();
    let output = portcullis(&["check", "--config", path.to_str().unwrap()]);
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(64), "{text}");
    assert!(text.contains("1 problem in"), "{text}");
    text
}

/// The least configuration. It lacks only the client secret, which a test adds.
pub(crate) const USABLE: &str = "[identity_providers.main]\nissuer = 'https://id.example.com'\n[apps.shop]\n\
    hosts = ['shop.localhost']\nupstreams = ['http://127.0.0.1:3000']\nclient_id = 'shop'\n";

/// Returns [`USABLE`] with a secret that `check` accepts without a warning.
pub(crate) fn usable() -> String {
    format!("{USABLE}client_secret = {{ env = \"PATH\" }}\n")
}

/// Returns the warnings of `check`, each in one line.
pub(crate) fn warnings(directory: &Path, text: &str, environment: &[(&str, &str)]) -> Vec<String> {
    let file = write(directory, text);
    let output = Command::new(env!("CARGO_BIN_EXE_portcullis"))
        .args(["check", "--config", &file])
        .envs(environment.iter().copied())
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let found = text.split("\nwarning: ").skip(1);
    found.map(|warning| warning.split("\n\n").next().unwrap().replace('\n', " ")).collect()
}
