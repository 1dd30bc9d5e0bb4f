//! `[server.tls]`: the certificates and the other settings of TLS listeners. The files are read here, so that `check`
//! finds the same errors as a start.

use std::path::PathBuf;
use std::time::Duration;

use crate::config::quoting::quote;
use crate::config::reader::{Item, Section};
use crate::config::toml_tree::Value;
use crate::config::values::duration::duration;
use crate::config::values::word;
use crate::system::clock::{Clock, SystemClock};
use crate::tls::{Certificate, CertificateFiles};

/// `[server.tls]`: the settings of `listen_tls`.
#[derive(Debug, Clone)]
pub struct Tls {
    /// The certificates. There is at least one. A client asks for a name, and gets the first certificate that is for
    /// this name.
    pub certificates: Vec<CertificateFiles>,
    /// The oldest version that clients may use.
    pub min_version: TlsVersion,
    /// Requests without TLS are redirected to `https` at this port. With `None`, they are served.
    pub redirect_port: Option<u16>,
    /// `max-age` of `Strict-Transport-Security` (RFC 6797). With `None`, there is no such header.
    pub hsts: Option<Duration>,
}

/// A version of TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsVersion {
    /// TLS 1.2 (RFC 5246).
    Tls12,
    /// TLS 1.3 (RFC 8446).
    Tls13,
}

/// The table for the checks that look at the whole file.
pub(crate) struct ReadTls<'a> {
    section: Section<'a>,
    /// The settings. `None` means that something is wrong and reported.
    pub(crate) tls: Option<Tls>,
    certificates: Vec<Certificate>,
}

/// Reads `[server.tls]`. Returns `None` if there are no listeners for it.
pub(crate) fn tls<'a>(server: &Section<'a>, has_listener: bool) -> Option<ReadTls<'a>> {
    let is_written = server.has("tls");
    let section = server.section("tls");
    section.record("certificates", "required with listen_tls");
    let elements = section.sections("certificates");
    let read: Vec<_> = elements.iter().map(certificate).collect();
    let is_sound = read.iter().all(Option::is_some);
    let (files, certificates): (Vec<_>, Vec<_>) = read.into_iter().flatten().unzip();
    let min_version = section.defaulted("min_version", "\"1.2\"", |item| {
        word(item, &[("1.2", TlsVersion::Tls12), ("1.3", TlsVersion::Tls13)])
    });
    let redirect_port = section.optional("redirect_port", "requests without TLS are served", |item| {
        u16::try_from(item.integer(1, 65_535)?).ok()
    });
    let hsts = section.optional("hsts", "no such header", |item| duration(item, "1s", "3650d"));
    if !has_listener {
        if is_written && !section.is_empty() {
            let hint = "set `server.listen_tls`, such as `[\"0.0.0.0:443\"]`, or remove the table";
            section.warn_here("no listener speaks TLS, so this is not used", hint);
        }
        return None;
    }
    let hint = "write `certificates = [{ certificate = \"fullchain.pem\", key = \"privkey.pem\" }]`";
    if elements.is_empty() {
        let _: Option<()> = section.fault_at("certificates", "`server.listen_tls` needs a certificate", hint);
    }
    drop(elements);
    let tls = (is_sound && !files.is_empty()).then_some(()).and_then(|()| {
        Some(Tls {
            certificates: files,
            min_version: min_version?,
            redirect_port: redirect_port?,
            hsts: hsts?,
        })
    });
    Some(ReadTls { section, tls, certificates })
}

fn certificate(section: &Section<'_>) -> Option<(CertificateFiles, Certificate)> {
    let certificate = section.required("certificate", "name a PEM file, such as `\"fullchain.pem\"`", path);
    let key = section.required("key", "name a PEM file, such as `\"privkey.pem\"`", path);
    let files = CertificateFiles { certificate: certificate?, key: key? };
    // The contents are not recorded for the comparison of configurations, because listeners load renewed certificates
    // by themselves.
    let loaded = match Certificate::load(&files, |path| section.report().read(path)) {
        Ok(loaded) => loaded,
        Err(error) => {
            let key = if error.is_about_key() { "key" } else { "certificate" };
            return section.fault_at(key, error.to_string(), error.hint());
        }
    };
    let now = SystemClock.now();
    if loaded.has_expired(now) {
        section.warn_at("certificate", "the certificate has expired: browsers will refuse it", "renew it");
    } else if loaded.is_early(now) {
        section.warn_at("certificate", "the certificate is not valid yet", "check this machine's clock");
    }
    Some((files, loaded))
}

/// Reads a path, which is relative to the configuration's directory. The form of a secret's file is also allowed.
fn path(item: &Item<'_>) -> Option<PathBuf> {
    let text = match item.value() {
        Value::Table(entries) => match entries.as_slice() {
            [entry] if entry.key == "file" => match &entry.node.value {
                Value::Text(path) => Some(path.as_str()),
                _ => None,
            },
            _ => None,
        },
        Value::Text(path) => Some(path.as_str()),
        _ => None,
    };
    match text {
        Some(text) if text.contains("-----BEGIN") => {
            item.fault("this is the content of a PEM file", "write it into a file and name that")
        }
        Some(text) if !text.is_empty() => Some(item.report.directory.join(text)),
        _ => item.wrong_type("a path", "write a path such as `\"tls/privkey.pem\"`"),
    }
}

impl ReadTls<'_> {
    /// Warns about hosts for which there is no certificate.
    pub(crate) fn check_hosts<'h>(&self, app: &Section<'_>, hosts: impl IntoIterator<Item = &'h String>) {
        if self.tls.is_none() {
            return;
        }
        for host in hosts {
            if !self.certificates.iter().any(|certificate| certificate.covers(host)) {
                let message = format!("no certificate of `{}` is for {}", self.section.path(), quote(host));
                app.warn_at("hosts", message, "browsers cannot reach it with https: add a certificate");
            }
        }
    }
}
