//! Exit codes and output of `check` and `run`, and what a wrong command line is told.

use std::process::Command;

use crate::support::{USABLE, portcullis, usable, write};

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
fn files_of_the_command_line_are_named() {
    let directory = tempfile::tempdir().unwrap();
    let file = write(directory.path(), &format!("{USABLE}client_secret = 'a'\n"));
    let folder = directory.path().to_str().unwrap();
    for option in ["--cookies", "--jwks"] {
        for (path, words) in [("no/such", "its directory `no` does not exist"), (folder, "it is a directory")]
        {
            let output =
                portcullis(&["explain", "--config", &file, "GET", "http://shop.localhost/", option, path]);
            let text = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.code(), Some(64), "{text}");
            assert!(text.contains(option) && text.contains(path) && text.contains(words), "{text}");
        }
    }
}

/// As documented: 64, and nothing was started.
#[test]
fn a_wrong_command_line_has_its_exit_code() {
    for arguments in [
        &["serve"][..],
        &["chekc"],
        &["check", "--confg", "gateway.toml"],
        &["--config"],
        &["--nonsense"],
        &["check", "gateway.toml"],
        &["explain"],
        &["explain", "GET"],
        &["explain", "GET", "http://store.localhost/", "--jwks"],
        &["explain", "GE T", "http://store.localhost/"],
        &["explain", "GET", "store.localhost/"],
        &["doctor", "--username"],
        &["healthcheck", "--reddy"],
        &["run", "--config", "gateway.toml", "--config", "gateway.toml"],
        &["run", "run"],
    ] {
        let output = portcullis(arguments);
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(64), "{arguments:?}: {text}");
        assert!(text.starts_with("error: ") && output.stdout.is_empty(), "{arguments:?}: {text}");
    }
    for arguments in [&["--help"][..], &["--version"], &["help"], &["check", "--help"], &["help", "explain"]]
    {
        let output = portcullis(arguments);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}");
        assert!(!output.stdout.is_empty() && output.stderr.is_empty(), "{arguments:?}");
    }
}

#[test]
fn an_address_that_cannot_be_listened_on_says_what_helps() {
    let directory = tempfile::tempdir().unwrap();
    let held = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let usable = usable();
    for (address, words) in [
        (held.local_addr().unwrap().to_string(), "`ss -ltnp` names it"),
        (String::from("192.0.2.55:8080"), "`0.0.0.0` for all"),
    ] {
        let file = write(
            directory.path(),
            &format!("server.listen = ['{address}']\nserver.admin_listen = false\n{usable}"),
        );
        let output = portcullis(&["run", "--config", &file]);
        let told = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{told}");
        assert!(
            told.contains(&address) && told.contains("`server.listen`") && told.contains(words),
            "{told}"
        );
    }
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
