//! The identity provider, as far as the hot path needs one.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::thread;

use serde_json::{Value, json};

use crate::issuer::Error;

/// Starts it: discovery and JWKS.
pub(crate) fn start(jwks: &Value) -> Result<SocketAddr, Error> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let url = format!("http://{address}");
    let jwks = jwks.to_string();
    let metadata = json!({
        "issuer": url,
        "token_endpoint": format!("{url}/token"),
        "revocation_endpoint": format!("{url}/revoke"),
        "jwks_uri": format!("{url}/jwks"),
    })
    .to_string();
    thread::Builder::new().name("provider".into()).spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut request = [0; 4096];
            let length = stream.read(&mut request).unwrap_or_default();
            let wants_keys = request.get(..length).is_some_and(|request| request.starts_with(b"GET /jwks"));
            let body = if wants_keys { &jwks } else { &metadata };
            let _gone_already = write!(
                stream,
                "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                body.len()
            );
        }
    })?;
    Ok(address)
}
