//! `portcullis healthcheck` asks a running gateway's admin listener. It serves images without a shell.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::Duration;

/// The longest time for each step of the check.
const TIMEOUT: Duration = Duration::from_secs(3);

/// The reason why the gateway is not healthy.
#[derive(Debug, thiserror::Error)]
pub enum Unhealthy {
    /// The configuration has no admin listener.
    #[error("`server.admin_listen` is off, so there is nothing to ask")]
    NoAdminListener,
    /// The system chose the port of the admin listener, so only the gateway knows it.
    #[error("`server.admin_listen` leaves the port to the system (`:0`), so nobody else can know it")]
    UnknownPort,
    /// The admin listener cannot be asked.
    #[error(
        "cannot ask `{address}` (`server.admin_listen`): {source}; does the gateway run, with this configuration?"
    )]
    Unreachable {
        /// The address of the admin listener in the configuration.
        address: SocketAddr,
        /// The system's error.
        source: std::io::Error,
    },
    /// The answer has another status than 200.
    #[error("`{address}{path}` answered: {status}")]
    Status {
        /// The address of the admin listener.
        address: SocketAddr,
        /// The path of the request.
        path: &'static str,
        /// The status line.
        status: String,
    },
}

/// Asks for `/readyz` if `ready` is true, else for `/livez`.
pub fn check(admin: Option<SocketAddr>, ready: bool) -> Result<(), Unhealthy> {
    let address = reachable(admin.ok_or(Unhealthy::NoAdminListener)?);
    if address.port() == 0 {
        return Err(Unhealthy::UnknownPort);
    }
    let path = if ready { "/readyz" } else { "/livez" };
    let status = ask(address, path).map_err(|source| Unhealthy::Unreachable { address, source })?;
    if status.split(' ').nth(1) == Some("200") {
        Ok(())
    } else {
        Err(Unhealthy::Status { address, path, status })
    }
}

/// Returns the address to connect to. For a listener on all addresses, this is the loopback address.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

fn ask(address: SocketAddr, path: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.take(64 * 1024).read_to_end(&mut answer)?;
    let text = String::from_utf8_lossy(&answer);
    Ok(text.lines().next().unwrap_or_default().to_owned())
}
