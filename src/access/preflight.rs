//! CORS preflights (Fetch, "CORS-preflight fetch"). A browser sends them before a script may send a request to another
//! origin.
//!
//! Preflights never have cookies, nor a body that could hold a password. The app decides about the real request first,
//! and then Portcullis does. An `OPTIONS` request that is not a preflight is treated like any other request.

use http::{HeaderMap, HeaderName, Method, header};

/// Tells whether a request is a preflight: `OPTIONS` with one `Origin`, one `Access-Control-Request-Method`, and no
/// body.
pub fn is_preflight(method: &Method, headers: &HeaderMap) -> bool {
    method == Method::OPTIONS
        && has_one(headers, &header::ORIGIN)
        && has_one(headers, &header::ACCESS_CONTROL_REQUEST_METHOD)
        && !has_body(headers)
}

/// Tells whether the headers announce a body.
pub fn has_body(headers: &HeaderMap) -> bool {
    headers.contains_key(header::TRANSFER_ENCODING)
        || headers.get(header::CONTENT_LENGTH).is_some_and(|length| length.as_bytes() != b"0")
}

fn has_one(headers: &HeaderMap, name: &HeaderName) -> bool {
    let mut values = headers.get_all(name).iter();
    values.next().is_some_and(|value| !value.is_empty()) && values.next().is_none()
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn both_fields_once_and_no_body() {
        const ORIGIN: (HeaderName, &str) = (header::ORIGIN, "https://www.example.com");
        const METHOD: (HeaderName, &str) = (header::ACCESS_CONTROL_REQUEST_METHOD, "PUT");
        for (method, fields, expected) in [
            (Method::OPTIONS, &[ORIGIN, METHOD][..], true),
            (Method::OPTIONS, &[(header::ORIGIN, "null"), METHOD, (header::CONTENT_LENGTH, "0")], true),
            (Method::OPTIONS, &[], false),
            (Method::OPTIONS, &[ORIGIN], false),
            (Method::OPTIONS, &[METHOD], false),
            (Method::OPTIONS, &[ORIGIN, ORIGIN, METHOD], false),
            (Method::OPTIONS, &[ORIGIN, METHOD, METHOD], false),
            (Method::OPTIONS, &[(header::ORIGIN, ""), METHOD], false),
            (Method::OPTIONS, &[ORIGIN, (header::ACCESS_CONTROL_REQUEST_METHOD, "")], false),
            (Method::OPTIONS, &[ORIGIN, METHOD, (header::CONTENT_LENGTH, "1")], false),
            (Method::OPTIONS, &[ORIGIN, METHOD, (header::TRANSFER_ENCODING, "chunked")], false),
            (Method::GET, &[ORIGIN, METHOD], false),
            (Method::POST, &[ORIGIN, METHOD], false),
        ] {
            let mut headers = HeaderMap::new();
            for (name, value) in fields {
                headers.append(name, HeaderValue::from_static(value));
            }
            assert_eq!(is_preflight(&method, &headers), expected, "{method} {fields:?}");
        }
    }
}
