//! The answers of a strict app, byte by byte.

use super::{POISON, TINY};

pub(super) enum After {
    Open,
    /// The answer said that nothing may follow; the app leaves the connection open all the same.
    Over,
}

pub(super) const CHUNKED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n";

pub(super) fn chunk(text: &str) -> String {
    format!("{:x}\r\n{text}\r\n", text.len())
}

/// The whole answer, with this text where it has a body, and what becomes of the connection.
pub(super) fn answer(id: &str, play: &str, is_to_head: bool, text: &str) -> (String, Option<After>) {
    let shown = if is_to_head { "" } else { text };
    let length = format!("Content-Length: {}\r\n", text.len());
    let whole =
        |first: &str, more: &str, body: &str| format!("HTTP/1.1 {first}\r\nX-Id: {id}\r\n{more}\r\n{body}");
    let poison = format!("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n{POISON}");
    let coding = "Transfer-Encoding: chunked\r\n";
    let (open, over) = (Some(After::Open), Some(After::Over));
    match play {
        "chunked" if !is_to_head => {
            let (one, two) = text.split_at(text.len() / 2);
            let one = format!("{:X};ext=1\r\n{one}\r\n", one.len());
            (whole("200 OK", coding, &format!("{one}{}0\r\nX-T: 1\r\n\r\n", chunk(two))), open)
        }
        "tiny-chunks" if !is_to_head => {
            (whole("200 OK", coding, &("1\r\nx\r\n".repeat(TINY) + "0\r\n\r\n")), open)
        }
        "close" => (whole("200 OK", &format!("{length}Connection: close\r\n"), shown), over),
        "close-listed" => {
            let lines = format!("{length}Connection: x-a\r\nConnection: keep-alive, Close\r\n");
            (whole("200 OK", &lines, shown), over)
        }
        "http-1.0" => {
            let answer = whole("200 OK", &format!("{length}Connection: keep-alive\r\n"), shown);
            (answer.replacen("HTTP/1.1", "HTTP/1.0", 1), over)
        }
        "short-lived" => (whole("200 OK", &format!("{length}Keep-Alive: timeout=1\r\n"), shown), over),
        "until-close" => (whole("200 OK", "", shown), None),
        "cut" => (whole("200 OK", "Content-Length: 1000\r\n", shown), None),
        "no-content" => (whole("204 No Content", "", ""), open),
        "not-modified" => (whole("304 Not Modified", "ETag: \"a\"\r\n", ""), open),
        // A body where none may be; a connection after that is good for nothing.
        "no-content-body" => (whole("204 No Content", "", &poison), over),
        "not-modified-body" => (whole("304 Not Modified", &length, &poison), over),
        "head-body" if is_to_head => (whole("200 OK", &length, &format!("{text}{poison}")), over),
        "surplus" if !is_to_head => (whole("200 OK", &length, &format!("{shown}{poison}")), over),
        "surplus-chunked" if !is_to_head => {
            (whole("200 OK", coding, &format!("{}0\r\n\r\n{poison}", chunk(text))), over)
        }
        _ => (whole("200 OK", &length, shown), open),
    }
}
