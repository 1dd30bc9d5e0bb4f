//! The demo's addresses, taken from `gateway.toml`, or put into it where free ports are wanted.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use toml::{Table, Value};

use crate::DemoError;

/// The two apps, by their names in `gateway.toml`.
pub(crate) const APPS: [&str; 2] = ["store", "forums"];

/// The defaults of what [`Settings::name_tokens`] adds to.
const IDENTITY_HEADERS: [(&str, &str); 3] =
    [("X-Auth-User", "sub"), ("X-Auth-Email", "email"), ("X-Auth-Roles", "roles")];
const CLAIMS: [&str; 5] = ["sub", "email", "name", "preferred_username", "roles"];

/// The engine that replicas share.
#[derive(Debug)]
pub(crate) struct SharedState {
    pub(crate) url: String,
    pub(crate) password: String,
    /// In base64.
    pub(crate) key: String,
}

/// `gateway.toml` as it is written, before the gateway reads it.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    table: Table,
}

impl Settings {
    pub(crate) fn parse(text: &str) -> Result<Self, DemoError> {
        let table = text.parse().map_err(|error: toml::de::Error| DemoError::Config(error.to_string()))?;
        Ok(Self { table })
    }

    /// Lets everything be bound to a free port.
    pub(crate) fn free_all_ports(&mut self) -> Result<(), DemoError> {
        let server = self.table_at(&["server"])?;
        server.insert("listen".into(), Value::Array(vec!["127.0.0.1:0".into()]));
        if server.get("admin_listen").is_none_or(Value::is_str) {
            server.insert("admin_listen".into(), "127.0.0.1:0".into());
        }
        Ok(())
    }

    /// Has the gateway name the JWT of each request to the app and to the page, so that the side panel knows which
    /// tokens are this browser's: no script can read them.
    pub(crate) fn name_tokens(&mut self, app: &str) -> Result<(), DemoError> {
        let app = self.table_at(&["apps", app])?;
        let headers = app.entry("identity_headers").or_insert_with(|| {
            Table::from_iter(IDENTITY_HEADERS.map(|(name, claim)| (name.to_owned(), claim.into()))).into()
        });
        if let Some(headers) = headers.as_table_mut() {
            headers.insert("X-Demo-Jti".into(), "jti".into());
        }
        let user = app.entry("user").or_insert_with(|| Table::new().into());
        let claims = user.as_table_mut().map(|user| user.entry("claims").or_insert_with(|| list(&CLAIMS)));
        if let Some(claims) =
            claims.and_then(Value::as_array_mut).filter(|claims| !claims.contains(&"jti".into()))
        {
            claims.push("jti".into());
        }
        Ok(())
    }

    /// The text for the gateway with sealed cookies; the keys are the file's, if it has any.
    pub(crate) fn sealed(&self) -> Result<String, DemoError> {
        let mut settings = self.clone();
        let session = settings.session()?;
        let keys = session.get("seal_keys").and_then(Value::as_array);
        if keys.is_none_or(Vec::is_empty) {
            let mut key = [0; 32];
            aws_lc_rs::rand::fill(&mut key).map_err(|_| DemoError::Key)?;
            session.insert("seal_keys".into(), list(&[&STANDARD.encode(key)]));
        }
        settings.to_text()
    }

    /// The same without what makes or needs them, so that everything about sessions is at its default.
    pub(crate) fn unsealed(&self) -> Result<String, DemoError> {
        let mut settings = self.clone();
        let session = settings.session()?;
        for key in ["seal_keys", "bind_refresh", "absolute_lifetime", "idle_lifetime"] {
            session.remove(key);
        }
        settings.to_text()
    }

    fn session(&mut self) -> Result<&mut Table, DemoError> {
        let session = self.table.entry("session").or_insert_with(|| Table::new().into());
        session.as_table_mut().ok_or_else(|| missing("session"))
    }

    /// Every address that the gateway will listen on.
    pub(crate) fn gateway_addresses(&mut self) -> Result<Vec<SocketAddr>, DemoError> {
        let server = self.table_at(&["server"])?;
        let listen = server.get("listen").and_then(Value::as_array).into_iter().flatten();
        let texts = listen.chain(server.get("admin_listen")).filter_map(Value::as_str);
        texts.map(|text| text.parse().map_err(|_| missing("server.listen"))).collect()
    }

    /// The provider's port, from the issuer.
    pub(crate) fn provider_port(&mut self) -> Result<u16, DemoError> {
        let (_, provider) = self.provider()?;
        port_of(provider.get("issuer"), "issuer")
    }

    /// Makes `address` the provider's.
    pub(crate) fn set_issuer(&mut self, issuer: &str) -> Result<(), DemoError> {
        self.provider()?.1.insert("issuer".into(), issuer.into());
        Ok(())
    }

    /// The port where the gateway looks for an app.
    pub(crate) fn app_port(&mut self, app: &str) -> Result<u16, DemoError> {
        let upstreams = self.table_at(&["apps", app])?.get("upstreams").and_then(Value::as_array);
        port_of(upstreams.and_then(|upstreams| upstreams.first()), "upstreams")
    }

    /// Makes `address` the app's only upstream.
    pub(crate) fn set_upstream(&mut self, app: &str, address: SocketAddr) -> Result<(), DemoError> {
        let upstreams = Value::Array(vec![format!("http://{address}").into()]);
        self.table_at(&["apps", app])?.insert("upstreams".into(), upstreams);
        Ok(())
    }

    /// The address of the gateway for browsers: the balancer's, if there is one.
    pub(crate) fn listen_address(&mut self) -> Result<SocketAddr, DemoError> {
        self.gateway_addresses()?.first().copied().ok_or_else(|| missing("server.listen"))
    }

    /// Lets a replica listen on a free port, and believe what the balancer says of the client. Only the first replica
    /// has its admin listener at the configured address.
    pub(crate) fn listen_behind(&mut self, balancer: IpAddr, is_first: bool) -> Result<(), DemoError> {
        let server = self.table_at(&["server"])?;
        server.insert("listen".into(), list(&["127.0.0.1:0"]));
        server.insert("trusted_proxies".into(), list(&[&balancer.to_string()]));
        if !is_first && server.get("admin_listen").is_none_or(Value::is_str) {
            server.insert("admin_listen".into(), "127.0.0.1:0".into());
        }
        Ok(())
    }

    /// Has a replica tell the provider its number with each grant.
    pub(crate) fn name_replica(&mut self, parameter: &str, number: usize) -> Result<(), DemoError> {
        let parameters = self.provider()?.1.entry("token_parameters").or_insert_with(|| Table::new().into());
        let parameters = parameters.as_table_mut().ok_or_else(|| missing("token_parameters"))?;
        parameters.insert(parameter.into(), number.to_string().into());
        Ok(())
    }

    /// Lets replicas share their state.
    pub(crate) fn share_state(&mut self, shared: &SharedState) -> Result<(), DemoError> {
        let table = self.table.entry("shared_state").or_insert_with(|| Table::new().into());
        let table = table.as_table_mut().ok_or_else(|| missing("shared_state"))?;
        table.insert("url".into(), shared.url.as_str().into());
        table.insert("password".into(), shared.password.as_str().into());
        table.insert("keys".into(), list(&[&shared.key]));
        Ok(())
    }

    pub(crate) fn to_text(&self) -> Result<String, DemoError> {
        toml::to_string(&self.table).map_err(|error| DemoError::Config(error.to_string()))
    }

    /// The provider on this machine; other ones are of no use to the demo.
    fn provider(&mut self) -> Result<(&str, &mut Table), DemoError> {
        let providers = self.table_at(&["identity_providers"])?.iter_mut();
        let mut tables = providers.filter_map(|(name, value)| Some((name.as_str(), value.as_table_mut()?)));
        let local = tables.find(|(_, table)| port_of(table.get("issuer"), "issuer").is_ok());
        local.ok_or_else(|| missing("identity_providers.*.issuer = \"http://127.0.0.1:PORT\""))
    }

    fn table_at(&mut self, path: &[&str]) -> Result<&mut Table, DemoError> {
        let mut table = &mut self.table;
        for name in path {
            let found = table.get_mut(*name).and_then(Value::as_table_mut);
            table = found.ok_or_else(|| missing(&path.join(".")))?;
        }
        Ok(table)
    }
}

/// The port of `http://127.0.0.1:PORT`.
fn port_of(address: Option<&Value>, key: &str) -> Result<u16, DemoError> {
    let text = address.and_then(Value::as_str).and_then(|text| text.strip_prefix("http://"));
    let address: Option<SocketAddr> = text.and_then(|text| text.trim_end_matches('/').parse().ok());
    let local = address.filter(|address| address.ip() == Ipv4Addr::LOCALHOST);
    local.map(|address| address.port()).ok_or_else(|| missing(key))
}

fn list(texts: &[&str]) -> Value {
    texts.iter().copied().map(Value::from).collect::<Vec<_>>().into()
}

fn missing(key: &str) -> DemoError {
    DemoError::Config(format!("the demo needs `{key}` on 127.0.0.1"))
}
