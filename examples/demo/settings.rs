//! The demo's addresses, taken from `gateway.toml`, or put into it where free ports are wanted.

use std::net::{Ipv4Addr, SocketAddr};

use toml::{Table, Value};

use crate::DemoError;

/// The two apps, by their names in `gateway.toml`.
pub(crate) const APPS: [&str; 2] = ["store", "forums"];

/// `gateway.toml` as it is written, before the gateway reads it.
#[derive(Debug)]
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
        server.insert("admin_listen".into(), Value::Boolean(false));
        Ok(())
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

    /// The text for the gateway.
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

fn missing(key: &str) -> DemoError {
    DemoError::Config(format!("the demo needs `{key}` on 127.0.0.1"))
}
