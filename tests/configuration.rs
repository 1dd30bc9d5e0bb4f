//! The configuration from the command line: what `check` and a refused `run` print, and their exit codes.

#![expect(clippy::unwrap_used, reason = "helpers of tests may panic as the tests themselves")]

use std::path::Path;
use std::process::{Command, Output};

fn portcullis(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_portcullis")).args(arguments).output().unwrap()
}

fn write(directory: &Path, text: &str) -> String {
    let path = directory.join("gateway.toml");
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn check_prints_the_reference_as_a_table() {
    let output = portcullis(&["check", "--config", "gateway.toml"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert!(text.contains("\n  /api/admin/*     required  admin\n"), "{text}");
    assert!(text.ends_with("the configuration is valid, with 3 warnings\n"), "{text}");
    for secret in ["demo-secret", "ZGVtbyBzZWFs"] {
        assert!(!text.contains(secret), "a secret is shown: {text}");
    }
}

#[test]
fn check_and_run_refuse_a_bad_file_with_every_error_and_exit_code_64() {
    let directory = tempfile::tempdir().unwrap();
    let file = write(directory.path(), "[server]\nlisten = []\nport = 80\n");
    for arguments in [&["check", "--config", &file][..], &["run", "--config", &file], &["--config", &file]] {
        let output = portcullis(arguments);
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(64), "{arguments:?}");
        for key in ["`server.listen`", "`server.port`", "`identity_providers`", "`apps`"] {
            assert!(text.contains(key), "{key} in {text}");
        }
        assert!(text.contains(&format!("4 problems in `{file}`; nothing has been started")), "{text}");
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn a_file_that_is_not_there_is_a_bad_configuration() {
    let output = portcullis(&["--config", "no/such/gateway.toml"]);
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(64));
    assert!(text.starts_with("error: the file cannot be read: "), "{text}");
}

#[test]
fn check_says_how_many_connections_fit_where_it_runs() {
    let check = |limit: &str| {
        let script = format!("ulimit {limit}; exec \"$0\" check --config gateway.toml");
        let program = env!("CARGO_BIN_EXE_portcullis");
        let output = Command::new("sh").args(["-c", &script, program]).output().unwrap();
        assert_eq!(output.status.code(), Some(0));
        String::from_utf8(output.stdout).unwrap()
    };
    let text = check("-n 1024");
    for words in ["note: `server.limits.max_connections`", "20000", "1024", "`ulimit -n`", "`LimitNOFILE`"] {
        assert!(text.contains(words), "{words} in {text}");
    }
    // It is of this machine, not of the file.
    assert!(text.ends_with("the configuration is valid, with 3 warnings\n"), "{text}");
    // A start raises the soft limit, so that is none.
    let with_low_soft_limit = check("-S -n 300");
    assert!(!with_low_soft_limit.contains("300 file descriptors"), "{with_low_soft_limit}");
}
