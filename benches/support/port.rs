//! A port for a program that cannot be handed a socket.

use std::net::{Ipv4Addr, SocketAddr};

use tokio::net::TcpSocket;

/// Reserves a free port for as long as the socket is kept: it is bound and never listens, so nobody else is given the
/// port, while the program that is told it can bind it.
pub(crate) fn reserve() -> std::io::Result<(TcpSocket, SocketAddr)> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind((Ipv4Addr::LOCALHOST, 0).into())?;
    let address = socket.local_addr()?;
    Ok((socket, address))
}
