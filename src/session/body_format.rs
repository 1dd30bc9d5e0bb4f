//! The format of a request body that Portcullis reads itself. The request's headers name it.

use crate::answer::code::Code;
use crate::answer::problem::Problem;
use crate::answer::reason::ReasonCode;
use crate::syntax::media_type::{Parameterised, shown};
use crate::syntax::multipart;

/// A format, without its parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyKind {
    /// `application/json`.
    Json,
    /// `application/x-www-form-urlencoded`.
    Form,
    /// `multipart/form-data`.
    Multipart,
}

impl BodyKind {
    /// The kinds that a login may have.
    pub const OF_LOGINS: &'static [Self] = &[Self::Json, Self::Form, Self::Multipart];

    /// Returns its media type.
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Form => "application/x-www-form-urlencoded",
            Self::Multipart => "multipart/form-data",
        }
    }
}

/// Lists the media types of formats in words: `a`, `b` or `c`.
pub fn media_types(kinds: &[BodyKind]) -> String {
    let mut names = kinds.iter().map(|kind| format!("`{}`", kind.media_type())).collect::<Vec<_>>();
    match names.pop() {
        Some(last) if !names.is_empty() => format!("{} or {last}", names.join(", ")),
        only => only.unwrap_or_default(),
    }
}

/// The format of a body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BodyFormat {
    /// See [`BodyKind::Json`].
    Json,
    /// See [`BodyKind::Form`].
    Form,
    /// See [`BodyKind::Multipart`]. The text is the boundary between the parts.
    Multipart(String),
}

impl BodyFormat {
    /// Reads `Content-Type` and `Content-Encoding`. Refuses a compressed body, and a charset other than UTF-8.
    pub fn from_headers(
        content_type: Option<&[u8]>,
        content_encoding: Option<&[u8]>,
        accepted: &'static [BodyKind],
    ) -> Result<Self, Problem> {
        if let Some(coding) = content_encoding.map(|coding| String::from_utf8_lossy(coding.trim_ascii()))
            && !coding.eq_ignore_ascii_case("identity")
        {
            return Err(unsupported(accepted, &format!("`Content-Encoding` is `{}`", shown(&coding))));
        }
        let Some(content_type) = content_type else {
            return Err(unsupported(accepted, "`Content-Type` is missing"));
        };
        let is_called = || format!("`Content-Type` is `{}`", shown(&String::from_utf8_lossy(content_type)));
        let parsed = std::str::from_utf8(content_type).ok().and_then(media_type);
        let Some((kind, parameters)) = parsed.filter(|(kind, _)| accepted.contains(kind)) else {
            return Err(unsupported(accepted, &is_called()));
        };
        if let Some(charset) = parameters.as_ref().and_then(Parameterised::other_charset) {
            return Err(other_charset(charset));
        }
        match (kind, parameters) {
            (BodyKind::Json, Some(_)) => Ok(Self::Json),
            (BodyKind::Form, Some(_)) => Ok(Self::Form),
            (BodyKind::Multipart, parameters) => {
                let boundary = parameters.as_ref().and_then(|parameters| parameters.one("boundary"));
                let boundary = boundary.filter(|boundary| multipart::is_boundary(boundary));
                let needed = "`multipart/form-data` needs one `boundary`. Scripts leave `Content-Type` to the browser.";
                let problem = || Problem::new(Code::BadRequest, needed).because(ReasonCode::LoginBody);
                boundary.map(|boundary| Self::Multipart(boundary.to_owned())).ok_or_else(problem)
            }
            (_, None) => Err(unsupported(accepted, &is_called())),
        }
    }
}

/// Returns the format that a `Content-Type` names, and its parameters. The parameters are `None` if they are malformed.
fn media_type(text: &str) -> Option<(BodyKind, Option<Parameterised<'_>>)> {
    let name = text.split(';').next()?.trim();
    let kind = BodyKind::OF_LOGINS.iter().find(|kind| kind.media_type().eq_ignore_ascii_case(name))?;
    Some((*kind, Parameterised::parse(text)))
}

fn unsupported(accepted: &[BodyKind], found: &str) -> Problem {
    let send = format!("Send {} in UTF-8, not compressed: {found}.", media_types(accepted));
    Problem::new(Code::UnsupportedMediaType, send)
}

/// Refuses a text in another charset.
pub(super) fn other_charset(charset: &str) -> Problem {
    let detail = format!("The charset is `{}`. Send UTF-8.", shown(charset));
    Problem::new(Code::UnsupportedMediaType, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn media_types_charsets_and_codings() {
        use BodyFormat::{Form, Json, Multipart};
        let multipart = |boundary: &str| Ok(Multipart(boundary.to_owned()));
        for (content_type, encoding, expected) in [
            ("application/json", None, Ok(Json)),
            ("Application/JSON; charset=UTF-8", None, Ok(Json)),
            ("application/json;charset=\"utf-8\"", Some("identity"), Ok(Json)),
            ("application/json; charset=utf8", Some(" Identity "), Ok(Json)),
            ("application/json; charset = \"UTF8\" ; q", None, Ok(Json)),
            ("application/x-www-form-urlencoded", None, Ok(Form)),
            ("application/x-www-form-urlencoded; charset=us-ascii", None, Ok(Form)),
            ("multipart/form-data; boundary=x", None, multipart("x")),
            ("Multipart/Form-Data; charset=utf8; BOUNDARY=\"a b:c\"", None, multipart("a b:c")),
            ("multipart/form-data", None, Err(400)),
            ("multipart/form-data; boundary=", None, Err(400)),
            ("multipart/form-data; boundary=a; boundary=a", None, Err(400)),
            ("multipart/form-data; boundary=\"a", None, Err(400)),
            ("multipart/form-data; boundary=\"a;b\"", None, Err(400)),
            ("multipart/form-data; boundary=x; charset=latin1", None, Err(415)),
            ("multipart/mixed; boundary=x", None, Err(415)),
            ("application/json; charset=utf-16", None, Err(415)),
            ("application/json; charset=utf-8; charset=utf-16", None, Err(415)),
            ("application/json; charset=\"utf-8", None, Err(415)),
            ("application/json; charset=", None, Err(415)),
            ("application/json", Some("gzip"), Err(415)),
            ("application/json", Some(""), Err(415)),
            ("text/plain", None, Err(415)),
            ("application/jsonx", None, Err(415)),
            ("", None, Err(415)),
        ] {
            let (content, encoding_bytes) = (Some(content_type.as_bytes()), encoding.map(str::as_bytes));
            let format = BodyFormat::from_headers(content, encoding_bytes, BodyKind::OF_LOGINS);
            let format = format.map_err(|problem| problem.status.as_u16());
            assert_eq!(format, expected, "{content_type} {encoding:?}");
        }
        assert!(BodyFormat::from_headers(None, None, BodyKind::OF_LOGINS).is_err());
    }

    #[test]
    fn what_is_not_accepted_here_is_told_what_is() {
        let form = Some(b"application/x-www-form-urlencoded".as_slice());
        let problem = BodyFormat::from_headers(form, None, &[BodyKind::Json]).unwrap_err();
        assert_eq!(
            problem.detail,
            "Send `application/json` in UTF-8, not compressed: `Content-Type` is `application/x-www-form-urlencoded`."
        );
        let all = media_types(BodyKind::OF_LOGINS);
        assert_eq!(all, "`application/json`, `application/x-www-form-urlencoded` or `multipart/form-data`");
    }
}
