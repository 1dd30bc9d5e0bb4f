//! The decision: who passes.
//!
//! An input is a row of requests at two apps of one provider, while time goes on, keys come and go, and verified tokens
//! are remembered. Their cookies hold tokens that are good, expired, of another client, forged, cut or doubled. Each
//! token has a subject of its own, so an identity tells which one it was made of.
//!
//! Whoever gets an identity, or past a route that is not open to all, brought exactly one token, signed by a key of
//! that moment, made for that app, not expired and not revoked then. A good token passes.

#![no_main]

use std::collections::{HashMap, HashSet};
use std::sync::LazyLock;

use arbitrary::Arbitrary;
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use jsonwebtoken::Algorithm;
use libfuzzer_sys::fuzz_target;
use portcullis::access::cookie_codec;
use portcullis::access::decision::{AppRules, Decision, Knowledge, Permit, Reason, RequestHead, decide};
use portcullis::access::endpoint::Call;
use portcullis::access::key_set::KeySet;
use portcullis::access::revocations::{EndedBy, Mark};
use portcullis::access::session_tables::SessionTables;
use portcullis::access::token::MAX_TOKEN_LENGTH;
use portcullis::answer::reason::ReasonCode;
use portcullis_fuzz::tokens::{ISSUER, LEEWAY, Signer, claims, jwks, mint, read_signed};
use portcullis_fuzz::{NOW, percent_decode};
use serde_json::{Value, json};

const ACCESS: &str = "__Host-access_token";
const REFRESH: &str = "__Host-refresh_token";
const CLIENTS: [&str; 2] = ["store", "forums"];

static APPS: LazyLock<[AppRules; 2]> = LazyLock::new(|| {
    let mut text = format!(
        "[identity_providers.main]\nissuer = '{ISSUER}'\nalgorithms = ['EdDSA', 'ES256']\nleeway = '{LEEWAY}s'\n"
    );
    for client in CLIENTS {
        text.push_str(&format!(
            "[apps.{client}]\nhosts = ['{client}.example.com']\nupstreams = ['http://127.0.0.1:3000']\n\
             client_id = '{client}'\nclient_secret = 's'\n[apps.{client}.identity_headers]\nX-Auth-User = 'sub'\n\
             X-Auth-Email = 'email'\n"
        ));
        for route in [
            "path = '/'\naccess = 'public'",
            "path = '/assets/*'\naccess = 'public'",
            "path = '/optional/*'\naccess = 'optional'",
            "path = '/api/admin/*'\naccess = 'required'\nroles = ['admin']",
        ] {
            text.push_str(&format!("[[apps.{client}.routes]]\n{route}\n"));
        }
    }
    let config = portcullis::config::parse(&text).expect("a configuration").config;
    [0, 1].map(|index| AppRules::new(&config.apps[index], &config.identity_providers[0], &config.session))
});

#[derive(Debug, Arbitrary)]
struct Step<'a> {
    /// Seconds since the last step.
    pause: u8,
    /// Keys that the provider has from now on, if they change: as bits.
    new_keys: Option<u8>,
    keys_are_fresh: bool,
    refresh_ahead: u8,
    to_forums: bool,
    method: u8,
    path: Path<'a>,
    websocket: bool,
    is_preflight: bool,
    origin: Option<Origin>,
    cookies: Vec<Cookie<'a>>,
    revoke: Option<Revoke>,
}

/// The token that is revoked, by its number, and the way in which it is revoked.
#[derive(Debug, Arbitrary)]
struct Revoke {
    number: u8,
    by_session: bool,
    /// For subjects: seconds after `NOW`, divided by 4.
    issued_until: i8,
}

#[derive(Debug, Arbitrary)]
enum Path<'a> {
    Usual(u8),
    Any(&'a str),
    Below(u8, &'a str),
}

#[derive(Debug, Arbitrary)]
enum Origin {
    Own,
    Other,
    OtherByFetchMetadata,
    Two,
}

#[derive(Debug, Arbitrary)]
enum Cookie<'a> {
    New(Token),
    /// A token of an earlier cookie or step again.
    Again(u8),
    RefreshToken(u8),
    /// Any value under one of our names.
    Raw(u8, &'a str),
    Other(&'a str),
}

#[derive(Debug, Arbitrary)]
struct Token {
    signer: Signer,
    for_forums: bool,
    is_admin: bool,
    /// Seconds after `NOW`, divided by 4.
    expires: i8,
    issued: i8,
    flaw: Option<Flaw>,
    /// Bytes of another claim, times 64: what makes a cookie split.
    padding: u8,
}

#[derive(Debug, Arbitrary)]
enum Flaw {
    OtherIssuer,
    IdToken,
    CriticalExtension,
    NotBefore,
    TwoAudiences,
    OtherParty,
    Changed,
    NoExpiry,
    HeaderBreak,
}

/// The state that earlier steps have left.
struct World {
    now: u64,
    key_bits: u8,
    keys: KeySet,
    key_generation: u64,
    memory: SessionTables,
    minted: Vec<String>,
    /// `sid`s, and subjects with the time until which they are meant.
    revoked_sessions: HashSet<String>,
    revoked_subjects: HashMap<String, u64>,
}

fuzz_target!(|steps: Vec<Step<'_>>| {
    let mut world = World {
        now: NOW,
        key_bits: 3,
        keys: key_set(3),
        key_generation: 1,
        memory: SessionTables::new(8, NOW),
        minted: Vec::new(),
        revoked_sessions: HashSet::new(),
        revoked_subjects: HashMap::new(),
    };
    for step in steps.iter().take(6) {
        world.step(step);
    }
});

fn key_set(bits: u8) -> KeySet {
    let signers: Vec<_> = [(1, Signer::Ed25519), (2, Signer::P256)]
        .into_iter()
        .filter_map(|(bit, signer)| (bits & bit != 0).then_some(signer))
        .collect();
    if signers.is_empty() {
        return KeySet::default();
    }
    KeySet::from_jwks(&jwks(&signers), &[Algorithm::EdDSA, Algorithm::ES256]).expect("keys")
}

/// The request of a step, in our own words.
struct Request {
    method: Method,
    path: String,
    headers: HeaderMap,
    access_tokens: Vec<String>,
    refresh_tokens: Vec<String>,
    /// Raw values under our names, about which nothing is known.
    raw: bool,
}

/// A genuine token.
#[derive(Debug)]
struct Signed {
    /// It was revoked.
    is_over: bool,
    is_valid_yet: bool,
    expires_at: u64,
}

impl World {
    fn step(&mut self, step: &Step<'_>) {
        self.now += u64::from(step.pause);
        if let Some(bits) = step.new_keys {
            self.key_bits = bits & 3;
            self.keys = key_set(self.key_bits);
            self.key_generation += 1;
        }
        if let Some(revoke) = &step.revoke {
            self.revoke(revoke);
        }
        let Some(request) = self.request(step) else { return };
        let app = usize::from(step.to_forums);
        let host = format!("{}.example.com", CLIENTS[app]);
        let head = RequestHead {
            method: &request.method,
            path: &request.path,
            host: &host,
            headers: &request.headers,
            websocket: step.websocket,
        };
        let known = Knowledge {
            keys: &self.keys,
            key_generation: self.key_generation,
            memory: &self.memory,
            now: self.now,
            refresh_ahead: u64::from(step.refresh_ahead),
            keys_are_fresh: step.keys_are_fresh,
        };
        let decision = decide(&APPS[app], &head, &known);
        self.check(step, &request, app, &decision);
    }

    fn revoke(&mut self, revoke: &Revoke) {
        let (sid, subject) =
            (format!("session-{}", revoke.number % 8), format!("user-{}", revoke.number % 8));
        let (revocations, kept_until) = (&self.memory.revocations, self.now + 10_000);
        // Both apps have the same one.
        let provider = APPS[0].token.provider;
        if revoke.by_session {
            revocations.revoke(Mark::session(provider, &sid), EndedBy::Revocation, kept_until, self.now);
            self.revoked_sessions.insert(sid);
        } else {
            let until = NOW.saturating_add_signed(i64::from(revoke.issued_until) * 4);
            revocations.revoke_until(Mark::subject(provider, &subject), until, kept_until, self.now);
            let known = self.revoked_subjects.entry(subject).or_default();
            *known = until.max(*known);
        }
    }

    fn is_revoked(&self, claims: &Value) -> bool {
        let text = |name: &str| claims[name].as_str().unwrap_or_default();
        self.revoked_sessions.contains(text("sid"))
            || self
                .revoked_subjects
                .get(text("sub"))
                .is_some_and(|until| claims["iat"].as_u64().is_none_or(|at| at <= *until))
    }

    fn check(&self, step: &Step<'_>, request: &Request, app: usize, decision: &Decision<'_>) {
        let is_read = [Method::GET, Method::HEAD, Method::OPTIONS].contains(&request.method);
        let is_foreign = !matches!(step.origin, None | Some(Origin::Own));
        let uses_session = match decision {
            Decision::Forward(permit) => {
                self.check_permit(step, request, app, permit);
                permit.identity().is_some()
            }
            Decision::Serve(Call::User(identity)) => {
                self.check_identity(request, app, identity.subject());
                assert_eq!(request.path, "/api/user");
                true
            }
            Decision::Nobody(_) => {
                assert_eq!(request.path, "/api/user");
                assert!(request.raw || request.access_tokens.is_empty() && request.refresh_tokens.is_empty());
                false
            }
            Decision::Serve(call @ (Call::Login | Call::Logout)) => {
                assert_eq!(request.method, Method::POST);
                let expected = if matches!(call, Call::Login) { "/api/login" } else { "/api/logout" };
                assert_eq!(request.path, expected);
                assert!(!is_foreign);
                false
            }
            Decision::Refresh(_) | Decision::End(_) => {
                self.check_refresh_or_end(request, app, decision);
                true
            }
            Decision::Serve(Call::BackchannelLogout | Call::Webhook) => {
                unreachable!("neither is configured")
            }
            Decision::FetchKeys => {
                assert!(!step.keys_are_fresh);
                false
            }
            Decision::Reject(problem, _) => {
                assert!(problem.status.as_u16() >= 400);
                false
            }
        };
        assert!(!(uses_session && is_foreign && (!is_read || step.websocket)), "from another origin");
        self.check_that_good_tokens_pass(step, request, app, decision);
    }

    fn check_refresh_or_end(&self, request: &Request, app: usize, decision: &Decision<'_>) {
        match decision {
            Decision::Refresh(pending) => {
                assert!(request.raw || *request.refresh_tokens == [pending.grant.refresh_token.to_string()]);
                if let Some(previous) = &pending.previous {
                    let signed = self.check_signed(request, app, previous.identity.subject());
                    assert!(previous.over.is_none() || signed.is_over, "{:?}", previous.over);
                    assert_eq!(previous.still_valid, self.is_usable(&signed));
                }
            }
            Decision::End(ending) => {
                let is_revoked =
                    |token: &String| read_signed(token).is_some_and(|read| self.is_revoked(&read.claims));
                let is_due = match ending.reason {
                    Reason::DuplicateCookie => {
                        request.access_tokens.len() > 1 || request.refresh_tokens.len() > 1
                    }
                    _ => request.access_tokens.iter().any(is_revoked),
                };
                assert!(request.raw || is_due, "{:?}", ending.reason);
            }
            _ => unreachable!("neither a refresh nor an end"),
        }
    }

    /// Checks that who goes to the app may go there, and as whom.
    fn check_permit(&self, step: &Step<'_>, request: &Request, app: usize, permit: &Permit) {
        let decoded = percent_decode(request.path.as_bytes());
        let below = |prefix: &str| {
            decoded.strip_prefix(prefix.as_bytes()).is_some_and(|rest| rest.is_empty() || rest[0] == b'/')
        };
        assert!(!decoded.windows(3).any(|bytes| bytes == b"/.."), "{}", request.path);
        if let Some(identity) = permit.identity() {
            self.check_identity(request, app, identity.subject());
            assert!(!below("/api/admin") || identity.roles().iter().any(|role| role == "admin"));
            assert!(!below("/assets") && decoded != b"/", "the session is not looked at");
        } else if permit.reason() == ReasonCode::Preflight {
            assert_eq!(request.method, Method::OPTIONS);
            assert!(step.is_preflight && matches!(step.origin, Some(Origin::Own | Origin::Other)));
        } else {
            let is_open = decoded == b"/" || below("/assets") || below("/optional");
            assert!(is_open, "{}", request.path);
        }
    }

    /// Whoever has an identity brought one token that says so, and it has not expired.
    fn check_identity(&self, request: &Request, app: usize, subject: &str) {
        let signed = self.check_signed(request, app, subject);
        assert!(self.is_usable(&signed), "{signed:?}");
    }

    fn is_usable(&self, signed: &Signed) -> bool {
        let Signed { is_over, is_valid_yet, expires_at } = *signed;
        !is_over && is_valid_yet && self.now < expires_at + LEEWAY
    }

    /// The same for one that need not be usable now.
    fn check_signed(&self, request: &Request, app: usize, subject: &str) -> Signed {
        let brought: Vec<_> = request.access_tokens.iter().filter_map(|token| read_signed(token)).collect();
        let read = brought.iter().find(|read| read.claims["sub"] == subject).expect("a token that says so");
        assert!(request.raw || request.access_tokens.len() == 1, "one of several tokens");
        let objection = read.objection(CLIENTS[app], &[], self.now);
        let is_valid_yet = objection != Some("it is not valid yet");
        assert!(objection.is_none() || !is_valid_yet, "{objection:?}: {:?}", read.claims);
        let bit = if read.header["alg"] == "EdDSA" { 1 } else { 2 };
        assert!(self.key_bits & bit != 0, "signed by a key that is gone");
        let expires_at = read.expires_at().expect("a date");
        Signed { is_over: self.is_revoked(&read.claims), is_valid_yet, expires_at }
    }

    fn check_that_good_tokens_pass(
        &self,
        step: &Step<'_>,
        request: &Request,
        app: usize,
        decision: &Decision<'_>,
    ) {
        let [token] = request.access_tokens.as_slice() else { return };
        let Some(read) = read_signed(token) else { return };
        let bit = if read.header["alg"] == "EdDSA" { 1 } else { 2 };
        let is_good = read.objection(CLIENTS[app], &[], self.now).is_none()
            && self.key_bits & bit != 0
            && !self.is_revoked(&read.claims)
            && read.expires_at().is_some_and(|at| self.now < at)
            && token.len() <= MAX_TOKEN_LENGTH
            && read.claims.get("email").is_none();
        let is_plain = !request.raw && request.method == Method::GET && step.origin.is_none();
        let needs_no_refresh = step.refresh_ahead == 0 || request.refresh_tokens.is_empty();
        if is_good
            && is_plain
            && needs_no_refresh
            && request.refresh_tokens.len() < 2
            && request.path == "/api/cart"
        {
            assert!(
                matches!(decision, Decision::Forward(permit) if permit.identity().is_some()),
                "a good token: {decision:?}"
            );
        }
    }

    fn request(&mut self, step: &Step<'_>) -> Option<Request> {
        let methods = [Method::GET, Method::POST, Method::HEAD, Method::OPTIONS, Method::DELETE];
        let mut request = Request {
            method: methods[usize::from(step.method) % methods.len()].clone(),
            path: path(&step.path),
            headers: HeaderMap::new(),
            access_tokens: Vec::new(),
            refresh_tokens: Vec::new(),
            raw: false,
        };
        let own = format!("https://{}.example.com", CLIENTS[usize::from(step.to_forums)]);
        let other = format!("https://{}.example.com", CLIENTS[usize::from(!step.to_forums)]);
        let mut insert = |name: HeaderName, value: &str| {
            request.headers.append(name, HeaderValue::from_str(value).expect("a header value"));
        };
        match step.origin {
            None => {}
            Some(Origin::Own) => insert(header::ORIGIN, &own),
            Some(Origin::Other) => insert(header::ORIGIN, &other),
            Some(Origin::OtherByFetchMetadata) => {
                insert(HeaderName::from_static("sec-fetch-site"), "same-site")
            }
            Some(Origin::Two) => (0..2).for_each(|_| insert(header::ORIGIN, &own)),
        }
        if step.is_preflight {
            insert(header::ACCESS_CONTROL_REQUEST_METHOD, "POST");
        }
        if step.websocket {
            insert(header::SEC_WEBSOCKET_VERSION, "13");
            insert(header::SEC_WEBSOCKET_KEY, "dGhlIHNhbXBsZSBub25jZQ==");
        }
        for cookie in step.cookies.iter().take(4) {
            let text = self.cookie(cookie, &mut request)?;
            request.headers.append(header::COOKIE, HeaderValue::from_str(&text).ok()?);
        }
        Some(request)
    }

    /// The `Cookie` header of one token or value.
    fn cookie(&mut self, cookie: &Cookie<'_>, request: &mut Request) -> Option<String> {
        let token = match cookie {
            Cookie::RefreshToken(number) => {
                let token = format!("refresh-{number}");
                request.refresh_tokens.push(token.clone());
                return Some(format!("{REFRESH}={token}"));
            }
            Cookie::Raw(part, value) => {
                request.raw = true;
                let name = if part & 8 == 0 { ACCESS } else { REFRESH };
                return Some(format!("{}={value}", cookie_codec::part_name(name, usize::from(part & 7))));
            }
            Cookie::Other(text) => {
                request.raw |= text.contains("_token");
                return Some((*text).to_owned());
            }
            Cookie::Again(number) => {
                let index = usize::from(*number).checked_rem(self.minted.len())?;
                self.minted[index].clone()
            }
            Cookie::New(token) => {
                let token = token.mint(self.minted.len());
                self.minted.push(token.clone());
                token
            }
        };
        let values = cookie_codec::encode(&token, 100).ok()?;
        let parts = values.iter().enumerate();
        let parts = parts.map(|(part, value)| format!("{}={value}", cookie_codec::part_name(ACCESS, part)));
        request.access_tokens.push(token);
        Some(parts.collect::<Vec<_>>().join("; "))
    }
}

fn path(path: &Path<'_>) -> String {
    const USUAL: [&str; 16] = [
        "/api/cart",
        "/",
        "/assets/x.js",
        "/optional/x",
        "/api/admin/x",
        "/API/ADMIN/x",
        "/api/user",
        "/api/login",
        "/api/logout",
        "/API/login/",
        "/%61ssets/x",
        "/assets/../api/cart",
        "/assets/%2e%2e/x",
        "/assetsx",
        "//api/cart",
        "/api/admin;x",
    ];
    match path {
        Path::Usual(number) => USUAL[usize::from(*number) % USUAL.len()].to_owned(),
        Path::Any(text) => (*text).to_owned(),
        Path::Below(number, text) => format!("{}{text}", USUAL[usize::from(*number) % USUAL.len()]),
    }
}

impl Token {
    fn mint(&self, number: usize) -> String {
        let at = |quarter: i8| NOW.saturating_add_signed(i64::from(quarter) * 4);
        let client = CLIENTS[usize::from(self.for_forums)];
        let mut claims = claims(client, &format!("user-{number}"), at(self.issued), at(self.expires));
        claims["sid"] = json!(format!("session-{}", number % 8));
        if self.is_admin {
            claims["roles"] = json!(["admin"]);
        }
        if self.padding > 0 {
            claims["padding"] = Value::from("x".repeat(usize::from(self.padding) * 64));
        }
        let mut header = self.signer.header().to_owned();
        match self.flaw {
            Some(Flaw::OtherIssuer) => claims["iss"] = json!("https://id.example.com/"),
            Some(Flaw::IdToken) => claims["at_hash"] = json!("x"),
            Some(Flaw::NotBefore) => claims["nbf"] = json!(at(self.issued) + 60),
            Some(Flaw::TwoAudiences) => claims["aud"] = json!(CLIENTS),
            Some(Flaw::OtherParty) => claims["azp"] = json!(CLIENTS[usize::from(!self.for_forums)]),
            Some(Flaw::NoExpiry) => claims["exp"] = Value::Null,
            Some(Flaw::HeaderBreak) => claims["email"] = json!("a\r\nX-Auth-User: admin"),
            Some(Flaw::CriticalExtension) => header = header.replace('{', r#"{"crit":["exp"],"#),
            Some(Flaw::Changed) | None => {}
        }
        let mut token = mint(self.signer, header.as_bytes(), claims.to_string().as_bytes());
        if matches!(self.flaw, Some(Flaw::Changed)) {
            let end = token.rfind('.').unwrap_or(0);
            token.insert(end / 2, 'A');
        }
        token
    }
}
