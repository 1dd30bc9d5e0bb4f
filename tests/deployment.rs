//! The files that are delivered to run the program: the image's recipe and the examples. They are read here as a
//! container engine or a cluster would, as far as that needs neither.

#![expect(clippy::unwrap_used, reason = "helpers of tests may panic as the tests themselves")]

use std::path::{Path, PathBuf};
use std::process::Command;

/// Every secret that an example takes from the environment.
const SECRETS: [&str; 4] = ["STORE_CLIENT_SECRET", "FORUMS_CLIENT_SECRET", "ADMIN_TOKEN", "VALKEY_PASSWORD"];
/// Every key that an example takes from the environment.
const KEYS: [&str; 2] = ["SEAL_KEY", "SHARED_STATE_KEY"];
/// 32 bytes in base64.
const SEAL_KEY: &str = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";
/// The directory of the files that `LoadCredential=` names.
const CREDENTIALS: &str = "/run/credentials/portcullis.service";

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Every file below a directory.
fn files_below(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files.extend(files_below(&path)) } else { files.push(path) }
    }
    files.sort();
    files
}

#[test]
fn what_the_dockerfile_copies_is_there_and_not_ignored() {
    let ignored = read(".dockerignore");
    let kept: Vec<_> = ignored.lines().filter_map(|line| line.strip_prefix('!')).collect();
    let dockerfile = read("Dockerfile");
    let copies = dockerfile
        .lines()
        .filter_map(|line| line.strip_prefix("COPY "))
        .filter(|copy| !copy.starts_with("--from"));
    let mut count = 0;
    for copy in copies {
        let mut words: Vec<_> = copy.split_whitespace().collect();
        words.pop();
        for source in words {
            assert!(root().join(source).exists(), "`COPY {copy}`: no {source}");
            assert!(kept.contains(&source), "`COPY {copy}`: .dockerignore keeps {kept:?}");
            count += 1;
        }
    }
    assert!(count >= 4, "{count} sources");
}

/// The dependencies are built with the manifest, the lock file and nothing else; cargo would look for a target's file.
#[test]
fn the_manifest_can_be_read_without_the_files_of_tests_and_benchmarks() {
    let manifest: toml::Table = read("Cargo.toml").parse().unwrap();
    for kind in ["bench", "test", "example", "bin"] {
        for target in manifest.get(kind).and_then(toml::Value::as_array).into_iter().flatten() {
            assert!(target.get("path").is_some(), "[[{kind}]] without a path: {target}");
        }
    }
}

#[test]
fn the_image_has_no_shell_no_root_and_a_health_check() {
    let dockerfile = read("Dockerfile");
    let last = dockerfile.rsplit("\nFROM ").next().unwrap();
    for wanted in [
        "gcr.io/distroless/",
        "\nUSER 65532:65532\n",
        "\nHEALTHCHECK ",
        "\nENTRYPOINT [\"/usr/local/bin/portcullis\"]\n",
    ] {
        assert!(last.contains(wanted), "{wanted} in {last}");
    }
    assert!(!last.contains("\nRUN "), "there is no shell to run it");
    let version: toml::Table = read("Cargo.toml").parse().unwrap();
    let version = version["package"]["version"].as_str().unwrap();
    assert!(last.contains(&format!("\nARG VERSION={version}\n")), "the label's version is not {version}");
}

/// By systemd itself, where it is installed: the unit, and the template that its README makes of it.
#[test]
fn the_systemd_units_can_be_read() {
    let unit = read("examples/systemd/portcullis.service");
    assert!(unit.contains("\nExecReload=/bin/kill -HUP $MAINPID\n"));
    let directory = tempfile::tempdir().unwrap();
    // It looks whether what is to be run is there.
    let unit = unit.replace("/usr/local/bin/portcullis", env!("CARGO_BIN_EXE_portcullis"));
    let path = directory.path().join("portcullis.service");
    std::fs::write(&path, &unit).unwrap();
    let readme = read("examples/systemd/README.md");
    let sed = readme.split("\nsed ").nth(1).unwrap().split(" > ").next().unwrap().replace("\\\n", "");
    let sed = format!("sed {sed}");
    let template = Command::new("sh").arg("-c").arg(sed).current_dir(directory.path()).output().unwrap();
    let template = String::from_utf8(template.stdout).unwrap();
    assert!(
        template.contains("\nRuntimeDirectoryPreserve=yes\n")
            && template.contains(" run --upgrade --config ")
    );
    assert!(!template.contains("LoadCredential"));
    let other = directory.path().join("portcullis@b.service");
    std::fs::write(&other, template).unwrap();
    let Ok(output) = Command::new("systemd-analyze").arg("verify").arg(path).arg(other).output() else {
        return;
    };
    let text = String::from_utf8_lossy(&output.stderr);
    // It has opinions on every unit of the machine.
    assert!(!text.lines().any(|line| line.contains("portcullis")), "{text}");
}

#[test]
fn check_accepts_the_configuration_of_every_example() {
    let examples = files_below(&root().join("examples"));
    let configurations: Vec<_> =
        examples.iter().filter(|path| path.file_name().is_some_and(|name| name == "gateway.toml")).collect();
    assert_eq!(configurations.len(), 3, "{configurations:?}");
    for path in configurations {
        let directory = tempfile::tempdir().unwrap();
        let credentials = directory.path().to_str().unwrap();
        for name in ["store_client_secret", "admin_token"] {
            std::fs::write(directory.path().join(name), "0123456789abcdef").unwrap();
        }
        std::fs::write(directory.path().join("seal_key"), SEAL_KEY).unwrap();
        let config = directory.path().join("gateway.toml");
        std::fs::write(&config, read(path).replace(CREDENTIALS, credentials)).unwrap();

        let mut command = Command::new(env!("CARGO_BIN_EXE_portcullis"));
        command.arg("check").arg("--config").arg(&config).envs(KEYS.map(|name| (name, SEAL_KEY)));
        let output = command.envs(SECRETS.map(|name| (name, "0123456789abcdef"))).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{}: {text}", path.display());
        // An example's warnings are explained where they come from.
        let explained = read(path).matches("# warned about").count();
        let ending = match explained {
            0 => String::from("the configuration is valid\n"),
            1 => String::from("the configuration is valid, with 1 warning\n"),
            count => format!("the configuration is valid, with {count} warnings\n"),
        };
        assert!(text.ends_with(&ending), "{}: {text}", path.display());
    }
}

/// The seconds of a duration in a configuration. What the configuration leaves out is `default`.
fn seconds(config: &toml::Table, key: &str, default: u64) -> u64 {
    let Some(value) = config["server"].get(key) else { return default };
    value.as_str().unwrap().strip_suffix('s').unwrap().parse().unwrap()
}

/// The number that follows some words in a file, without its unit.
fn number_after(text: &str, words: &str) -> u64 {
    let rest = text.split(words).nth(1).unwrap_or_else(|| panic!("no {words:?} in {text}"));
    rest.chars().take_while(char::is_ascii_digit).collect::<String>().parse().unwrap()
}

/// A supervisor that is faster cuts off the answer of a provider, which may be a session.
#[test]
fn supervisors_wait_for_everything_that_a_stop_waits_for() {
    let compose = read("examples/compose/compose.yaml");
    let kubernetes = read("examples/kubernetes/deployment.yaml");
    let systemd = read("examples/systemd/portcullis.service");
    // `preStop` counts, too.
    let sleep = number_after(&kubernetes, "sleep:\n                seconds: ");
    for (example, given, before) in [
        ("compose", number_after(&compose, "stop_grace_period: "), 0),
        ("kubernetes", number_after(&kubernetes, "terminationGracePeriodSeconds: "), sleep),
        ("systemd", number_after(&systemd, "TimeoutStopSec="), 0),
    ] {
        let config: toml::Table = read(format!("examples/{example}/gateway.toml")).parse().unwrap();
        let stop = seconds(&config, "shutdown_delay", 0) + seconds(&config, "shutdown_grace", 30);
        let answers = 20;
        assert!(given > before + stop + answers, "{example}: {given} s for {before} s and {stop} s");
    }
    let docker = number_after(&read("README.md"), "--stop-timeout ");
    assert!(docker > 30 + 20, "{docker}");
}

#[test]
fn the_examples_of_a_fleet_share_their_state_and_need_no_stickiness() {
    for example in ["compose", "kubernetes"] {
        let config: toml::Table = read(format!("examples/{example}/gateway.toml")).parse().unwrap();
        let shared = config["shared_state"].as_table().unwrap();
        for key in ["url", "keys", "password"] {
            assert!(shared.contains_key(key), "{example}: {key}");
        }
        for path in files_below(&root().join("examples").join(example)) {
            let text = read(&path).to_lowercase();
            for word in ["sessionaffinity:", "stick-table", "cookie "] {
                assert!(
                    !text.lines().any(|line| line.trim_start().starts_with(word)),
                    "{}: {word}",
                    path.display()
                );
            }
        }
        let engine =
            ["compose.yaml", "valkey.yaml"].map(|name| root().join("examples").join(example).join(name));
        let engine = read(engine.iter().find(|path| path.exists()).unwrap());
        // An engine that evicts would evict claims, because each of them has an end.
        let policy = engine.split("--maxmemory-policy").nth(1).unwrap();
        assert!(
            policy.trim_start_matches(|c: char| !c.is_alphabetic()).starts_with("noeviction"),
            "{policy}"
        );
    }
}

/// The name of each environment variable that a configuration reads.
fn variables(config: &str) -> impl Iterator<Item = &str> {
    config.split("env = \"").skip(1).filter_map(|rest| rest.split('"').next())
}

#[test]
fn every_secret_of_a_configuration_is_given_to_its_container() {
    let given = [("compose", "compose.yaml"), ("compose", ".env"), ("kubernetes", "secret.yaml")];
    for (example, file) in given {
        let config = read(format!("examples/{example}/gateway.toml"));
        let text = read(format!("examples/{example}/{file}"));
        let lines: Vec<_> = text.lines().map(str::trim_start).collect();
        let mut count = 0;
        for name in variables(&config) {
            let is_given =
                |line: &&str| line.strip_prefix(name).is_some_and(|rest| rest.starts_with([':', '=']));
            assert!(lines.iter().any(is_given), "{example}/{file}: no {name}");
            count += 1;
        }
        assert!(count >= 5, "{example}: {count} secrets");
    }
}

/// By `kubectl`, where it is installed.
#[test]
fn the_manifests_of_kubernetes_can_be_built() {
    let directory = root().join("examples/kubernetes");
    let kustomization = read(directory.join("kustomization.yaml"));
    let resources = kustomization
        .lines()
        .filter_map(|line| line.strip_prefix("  - "))
        .filter(|file| Path::new(file).extension().is_some_and(|end| end == "yaml"));
    let missing: Vec<_> = resources.filter(|file| !directory.join(file).exists()).collect();
    assert!(missing.is_empty(), "{missing:?}");
    let Ok(output) = Command::new("kubectl").arg("kustomize").arg(&directory).output() else {
        return;
    };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// The part of a configuration that a document leaves out.
const REST: &str = r#"
[identity_providers.main]
issuer = "https://id.example.com"
[apps.store]
hosts = ["store.example.com"]
upstreams = ["http://127.0.0.1:3001"]
client_id = "store"
client_secret = { env = "STORE_CLIENT_SECRET" }
"#;

#[test]
fn check_accepts_every_shared_state_of_the_documents() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    std::fs::write(path("shared_state"), SEAL_KEY).unwrap();
    for name in ["valkey_password", "redis_password"] {
        std::fs::write(path(name), "0123456789abcdef").unwrap();
    }
    let authority = rcgen::generate_simple_self_signed(["valkey.example.com".to_owned()]).unwrap();
    std::fs::write(path("valkey-ca.pem"), authority.cert.pem()).unwrap();
    let secrets = format!("{}/", directory.path().display());
    let mut count = 0;
    for document in ["docs/operations.md", "docs/recipes.md"] {
        let text = read(document);
        let blocks = text.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next());
        for block in blocks.filter(|block| block.contains("[shared_state]")) {
            std::fs::write(path("gateway.toml"), block.replace("/run/secrets/", &secrets) + REST).unwrap();
            let mut command = Command::new(env!("CARGO_BIN_EXE_portcullis"));
            command.arg("check").arg("--config").arg(path("gateway.toml"));
            command.env("SHARED_STATE_KEY", SEAL_KEY).env("STORE_CLIENT_SECRET", "0123456789abcdef");
            let output = command.env("REDIS_PASSWORD", "0123456789abcdef").output().unwrap();
            let problems = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(output.status.success(), "{document}: {block}\n{problems}");
            let report = String::from_utf8_lossy(&output.stdout).into_owned();
            assert!(report.contains("shared state") && report.contains("TLS"), "{document}: {report}");
            count += 1;
        }
    }
    assert_eq!(count, 4);
}
