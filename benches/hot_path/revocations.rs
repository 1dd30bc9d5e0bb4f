//! Sessions that are revoked while others are measured.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};

use crate::cases::ADMIN_TOKEN;
use crate::issuer::Error;

/// Fills the revocation list, as logouts and providers would.
pub(crate) fn revoke(admin: SocketAddr, count: usize) -> Result<(), Error> {
    let mut connection = BufReader::new(TcpStream::connect(admin)?);
    for number in 0..count {
        let body = format!(r#"{{"sid":"revoked-{number:08}"}}"#);
        let head = format!(
            "POST /sessions/revoke HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
             Authorization: Bearer {ADMIN_TOKEN}\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        connection.get_mut().write_all((head + &body).as_bytes())?;
        let mut answer = String::new();
        while !answer.ends_with("\r\n\r\n") {
            if connection.read_line(&mut answer)? == 0 {
                return Err(format!("a revocation was answered with {answer:?}").into());
            }
        }
        if !answer.starts_with("HTTP/1.1 204") {
            return Err(format!("a revocation was answered with {answer:?}").into());
        }
    }
    Ok(())
}
