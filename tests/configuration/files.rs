//! Files that are missing, unreadable or no text: each is one problem, and its message says why.

use std::path::PathBuf;

use crate::support::{USABLE, complaint, portcullis, usable, write};

#[test]
fn a_file_that_is_not_there_is_a_bad_configuration() {
    let output = portcullis(&["--config", "no/such/gateway.toml"]);
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(64));
    assert!(text.starts_with("error: the file cannot be read: "), "{text}");
}

/// Returns `text` in UTF-16, without a byte order mark.
fn utf16(text: &str, big: bool) -> Vec<u8> {
    text.encode_utf16().flat_map(|unit| if big { unit.to_be_bytes() } else { unit.to_le_bytes() }).collect()
}

/// Returns contents that are no text in UTF-8, each with the words that its message must have.
fn foreign(text: &str) -> Vec<(Vec<u8>, &'static [&'static str])> {
    let marked = |mark: &[u8], text: Vec<u8>| [mark.to_vec(), text].concat();
    vec![
        (marked(b"\xff\xfe", utf16(text, false)), &["UTF-16", "save it as UTF-8"]),
        (marked(b"\xfe\xff", utf16(text, true)), &["UTF-16", "save it as UTF-8"]),
        (utf16(text, false), &["UTF-16", "save it as UTF-8"]),
        (utf16(text, true), &["UTF-16", "save it as UTF-8"]),
        (marked(b"# K\xf6ln\n", text.as_bytes().to_vec()), &["not UTF-8", "line 1"]),
        (marked(b"# a\n# \xc3\n", text.as_bytes().to_vec()), &["not UTF-8", "line 2"]),
        (marked(b"\x7fELF\x02\x01\x01\0\0\0", text.as_bytes().to_vec()), &["not a text"]),
        (vec![b'#'; 5 * 1024 * 1024], &["larger than"]),
    ]
}

#[test]
fn a_configuration_that_is_no_text_is_one_clear_problem() {
    let directory = tempfile::tempdir().unwrap();
    for (bytes, words) in foreign(USABLE) {
        let text = complaint(directory.path(), &bytes);
        for word in words {
            assert!(text.contains(word), "{word:?} in {text}");
        }
    }
    for empty in ["", "\u{feff}", "\n \r\n"] {
        let text = complaint(directory.path(), empty.as_bytes());
        assert!(text.contains("the file is empty") && text.contains("docs/configuration.md"), "{text}");
    }
    // What editors of other systems write is read.
    let secret = format!("{USABLE}client_secret = 'a'\n");
    for good in [format!("\u{feff}{secret}"), secret.replace('\n', "\r\n")] {
        let file = write(directory.path(), &good);
        assert_eq!(portcullis(&["check", "--config", &file]).status.code(), Some(0), "{good}");
    }
}

#[test]
fn a_configuration_that_cannot_be_opened_says_why() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    std::fs::create_dir(path("folder")).unwrap();
    std::fs::write(path("plain"), "").unwrap();
    std::os::unix::fs::symlink(path("gone"), path("dangling")).unwrap();
    std::os::unix::fs::symlink(path("loop"), path("loop")).unwrap();
    for (file, words) in [
        ("missing.toml", &["there is no such file", "--config"][..]),
        ("none/gateway.toml", &["its directory", "none` does not exist"]),
        ("folder", &["it is a directory", "gateway.toml"]),
        ("dangling", &["it is a link to", "gone", "does not exist"]),
        ("plain/gateway.toml", &["plain` is no directory"]),
        ("loop", &["symbolic links"]),
    ] {
        for command in ["check", "run", "doctor", "healthcheck"] {
            let output = portcullis(&[command, "--config", &path(file)]);
            let text = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.code(), Some(64), "{command} {file}");
            assert!(text.contains(&path(file)) && text.contains("1 problem in"), "{text}");
            for word in words {
                assert!(text.contains(word), "{word:?} in {text}");
            }
        }
    }
}

/// Configurations that name a file `FILE`, beside a good certificate and its key.
struct NamingFiles {
    directory: tempfile::TempDir,
    own: rcgen::CertifiedKey<rcgen::KeyPair>,
    secret: String,
    authority: String,
    certificate: String,
    key: String,
}

impl NamingFiles {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let own = rcgen::generate_simple_self_signed([String::from("shop.localhost")]).unwrap();
        std::fs::write(directory.path().join("good.key"), own.signing_key.serialize_pem()).unwrap();
        std::fs::write(directory.path().join("good.pem"), own.cert.pem()).unwrap();
        let usable = usable();
        let tls = |files: &str| {
            format!(
                "[server]\nlisten_tls = ['127.0.0.1:8443']\n[server.tls]\ncertificates = [{files}]\n{usable}"
            )
        };
        Self {
            directory,
            own,
            secret: format!("{USABLE}client_secret = {{ file = 'FILE' }}\n"),
            authority: format!("{usable}[apps.shop.upstream_tls]\nca = 'FILE'\n")
                .replace("http://127.0.0.1", "https://127.0.0.1"),
            certificate: tls("{ certificate = 'FILE', key = 'good.key' }"),
            key: tls("{ certificate = 'good.pem', key = 'FILE' }"),
        }
    }

    /// Each configuration with the key that names the file.
    fn kinds(&self) -> [(&str, &'static str); 4] {
        [
            (&self.secret, "apps.shop.client_secret"),
            (&self.authority, "apps.shop.upstream_tls.ca"),
            (&self.certificate, "server.tls.certificates[0].certificate"),
            (&self.key, "server.tls.certificates[0].key"),
        ]
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Returns the complaint about a configuration that names this file.
    fn complaint(&self, config: &str, file: &str) -> String {
        complaint(self.directory.path(), config.replace("FILE", file).as_bytes())
    }

    /// Returns the complaint about a configuration that names a file with this content.
    fn complaint_about(&self, config: &str, content: impl AsRef<[u8]>) -> String {
        std::fs::write(self.path("file"), content).unwrap();
        self.complaint(config, "file")
    }
}

#[test]
fn files_of_secrets_and_certificates_say_why_they_are_unusable() {
    let naming = NamingFiles::new();
    std::fs::create_dir(naming.path("folder")).unwrap();
    std::os::unix::fs::symlink(naming.path("gone"), naming.path("dangling")).unwrap();
    for (config, name) in naming.kinds() {
        let assert_says = |text: &str, file: &str, words: &[&str]| {
            assert!(text.contains(&format!("`{name}`")) && text.contains(file), "{text}");
            assert!(words.iter().all(|word| text.contains(word)), "{words:?} in {text}");
        };
        for (file, words) in [
            ("missing", &["there is no such file"][..]),
            ("nowhere/file", &["its directory", "does not exist"]),
            ("folder", &["it is a directory"]),
            ("dangling", &["it is a link to", "does not exist"]),
        ] {
            assert_says(&naming.complaint(config, file), file, words);
        }
        for (bytes, words) in foreign("AAAA\n") {
            let text = naming.complaint_about(config, bytes);
            assert_says(&text, "file", words);
            assert!(!text.contains("AAAA"), "{text}");
        }
        for empty in ["", "\u{feff}", "\n"] {
            assert_says(&naming.complaint_about(config, empty), "file", &["is empty"]);
        }
    }
}

#[test]
fn a_byte_order_mark_is_no_part_of_a_pem_file() {
    let naming = NamingFiles::new();
    std::fs::write(naming.path("file"), format!("\u{feff}{}", naming.own.cert.pem())).unwrap();
    for config in [&naming.authority, &naming.certificate] {
        let file = write(naming.directory.path(), &config.replace("FILE", "file"));
        assert_eq!(portcullis(&["check", "--config", &file]).status.code(), Some(0), "{config}");
    }
}

#[test]
fn a_certificate_or_key_in_another_form_is_told_how_to_convert_it() {
    let naming = NamingFiles::new();
    let NamingFiles { authority, certificate, key, .. } = &naming;
    let (own_certificate, own_key) = (&naming.own.cert, &naming.own.signing_key);
    let encrypted = b"-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    for (config, content, words) in [
        (authority, own_certificate.der().to_vec(), "openssl x509 -inform der"),
        (certificate, own_certificate.der().to_vec(), "openssl x509 -inform der"),
        (authority, own_key.serialize_pem().into_bytes(), "a private key, and no certificate"),
        (certificate, own_key.serialize_pem().into_bytes(), "a private key, and no certificate"),
        (key, own_certificate.pem().into_bytes(), "a certificate, and no private key"),
        (key, own_key.serialize_der(), "openssl pkey -inform der"),
        (key, encrypted.to_vec(), "is encrypted"),
    ] {
        let text = naming.complaint_about(config, content);
        assert!(text.contains(words), "{words} in {text}");
    }
}
