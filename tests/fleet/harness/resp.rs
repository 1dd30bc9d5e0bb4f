//! The engine's protocol, as far as a test needs it: one command, one answer.

use std::net::SocketAddr;

use tokio::net::TcpStream;

use crate::support::patiently;
use crate::support::wire::Wire;

/// Sends a command, after AUTH if there are credentials. Returns every text and number of the answer in turn, without
/// their nesting.
pub(crate) async fn ask(
    address: SocketAddr,
    credentials: Option<(&str, &str)>,
    words: &[&str],
) -> Result<Vec<String>, String> {
    let exchange = async {
        let stream = TcpStream::connect(address).await.map_err(|error| error.to_string())?;
        let mut wire = Wire::new(stream);
        if let Some((username, password)) = credentials {
            send(&mut wire, &["AUTH", username, password]).await?;
            answer(&mut wire).await?;
        }
        send(&mut wire, words).await?;
        answer(&mut wire).await
    };
    patiently(words[0], exchange).await
}

/// Sends a command.
pub(crate) async fn send(wire: &mut Wire, words: &[&str]) -> Result<(), String> {
    let words: Vec<_> = words.iter().map(|word| format!("${}\r\n{word}\r\n", word.len())).collect();
    wire.send(format!("*{}\r\n{}", words.len(), words.concat())).await.map_err(|error| error.to_string())
}

/// Reads one answer.
async fn answer(wire: &mut Wire) -> Result<Vec<String>, String> {
    let (mut found, mut left) = (Vec::new(), 1_usize);
    while left > 0 {
        left -= 1;
        let line = line(wire).await?;
        let (kind, rest) = line.split_at(1);
        match kind {
            "+" | ":" => found.push(rest.to_owned()),
            "-" => return Err(rest.to_owned()),
            "$" | "*" if rest.starts_with('-') => {}
            "$" => found.push(text(wire, rest.parse().expect("a length")).await?),
            "*" => left += rest.parse::<usize>().expect("a length"),
            _ => return Err(format!("not understood: {line}")),
        }
    }
    Ok(found)
}

async fn line(wire: &mut Wire) -> Result<String, String> {
    loop {
        if let Some(end) = wire.buffer.windows(2).position(|window| window == b"\r\n") {
            let line: Vec<u8> = wire.buffer.drain(..end + 2).collect();
            return Ok(String::from_utf8_lossy(&line[..end]).into_owned());
        }
        more(wire).await?;
    }
}

async fn text(wire: &mut Wire, length: usize) -> Result<String, String> {
    while wire.buffer.len() < length + 2 {
        more(wire).await?;
    }
    let text: Vec<u8> = wire.buffer.drain(..length + 2).collect();
    Ok(String::from_utf8_lossy(&text[..length]).into_owned())
}

async fn more(wire: &mut Wire) -> Result<(), String> {
    match wire.fill().await {
        Ok(true) => Ok(()),
        Ok(false) => Err("the connection ended".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}
