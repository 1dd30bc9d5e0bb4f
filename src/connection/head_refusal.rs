//! The refusals of request heads, over HTTP/1.x and HTTP/2, and the answers that clients get.

use crate::answer::code::Code;
use crate::answer::problem::Problem;
use crate::answer::reason::ReasonCode;

/// The methods named in `Allow` when TRACE or CONNECT is refused.
const ALLOWED_METHODS: &str = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";

/// The reason why a head was refused. Over HTTP/1.x every refusal ends the connection, since the end of the message is
/// not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.detail())]
pub(crate) enum HeadRefusal {
    /// A line ends in LF alone, or the head does not end in an empty line.
    BareLineFeed,
    /// The request line is not `method SP target SP version`.
    RequestLine,
    /// The version is neither HTTP/1.1 nor HTTP/1.0.
    Version,
    /// TRACE or CONNECT.
    Method,
    /// A control, space or non-ASCII byte, or `#`, in the target.
    TargetByte,
    /// `<`, `>` or a backtick in the path, which the `http` crate does not accept. Other bytes that a path may not have
    /// are refused later, once the app is known.
    PathByte,
    /// `"`, `<` or `>` in the query, which the `http` crate does not accept.
    QueryByte,
    /// The target is neither in origin-form nor in an absolute-form that agrees with Host.
    TargetForm,
    /// A line that begins with white space (RFC 9112 section 5.2).
    FoldedField,
    /// A field name that is empty, is not a token, or is followed by white space (RFC 9112 section 5.1).
    FieldName,
    /// CR, NUL or another control byte in a field value.
    FieldValue,
    /// More than 100 fields.
    TooManyFields,
    /// No Host field, or several.
    HostCount,
    /// A Host that is not a host with an optional port.
    HostValue,
    /// Content-Length that is repeated, is a list, is not digits, or exceeds 63 bits.
    ContentLength,
    /// Transfer-Encoding that is not exactly one `chunked`, on HTTP/1.1.
    TransferEncoding,
    /// Both Content-Length and Transfer-Encoding (RFC 9112 section 6.1).
    TwoFramings,
    /// `Connection` names a field that frames or routes the message.
    ConnectionOption,
    /// Several Upgrade fields, or a WebSocket handshake with a body.
    UpgradeRequest,
    /// HTTP on a port for TLS.
    HttpAtTlsPort,
    /// TLS on a port for HTTP without TLS.
    TlsAtHttpPort,
    /// The preamble that a load balancer may put in front of a connection.
    ProxyProtocol,
    /// The head exceeds `server.limits.max_header_size`, or its target or a field name is too long to be passed on.
    TooLarge,
}

impl HeadRefusal {
    /// Returns the text for the client. It never repeats what the client sent.
    const fn detail(self) -> &'static str {
        match self {
            Self::BareLineFeed => "Lines of a request head end in CR LF.",
            Self::RequestLine => "The request line is malformed.",
            Self::Version => "Only HTTP/1.1 and HTTP/1.0 are spoken here.",
            Self::Method => "TRACE and CONNECT are not served.",
            Self::TargetByte | Self::PathByte | Self::QueryByte => {
                "The request target holds a byte that must be percent-encoded."
            }
            Self::TargetForm => {
                "The request target must be a path, or an absolute URI that agrees with Host."
            }
            Self::FoldedField => "Header fields must not be folded over several lines.",
            Self::FieldName => "A header field name is malformed.",
            Self::FieldValue => "A header field value holds a control byte.",
            // The number is `MAX_FIELDS`.
            Self::TooManyFields => "The request has more than 100 header fields.",
            Self::HostCount => "Exactly one Host field is needed.",
            Self::HostValue => "The Host field is malformed.",
            Self::ContentLength => "Content-Length is malformed or repeated.",
            Self::TransferEncoding => "The only transfer coding is one `chunked`, on HTTP/1.1.",
            Self::TwoFramings => "Content-Length and Transfer-Encoding exclude each other.",
            Self::ConnectionOption => "Connection must not name a field that frames or routes the request.",
            Self::UpgradeRequest => "The upgrade request is malformed.",
            Self::HttpAtTlsPort => "A plain HTTP request came to a port that speaks TLS: use https://.",
            Self::TlsAtHttpPort => {
                "TLS came to a port that speaks plain HTTP: use http://, or `server.listen_tls`."
            }
            Self::ProxyProtocol => {
                "The PROXY protocol is not spoken here: let the load balancer send X-Forwarded-For."
            }
            Self::TooLarge => {
                "The request head is larger than `server.limits.max_header_size`, or its target or a field name too long."
            }
        }
    }

    /// Returns the answer for this refusal: 400, 405 or 431.
    pub(crate) fn problem(self) -> Problem {
        match self {
            Self::Method => Problem::new(Code::MethodNotAllowed, self.detail()).allow(ALLOWED_METHODS),
            Self::TooManyFields | Self::TooLarge => Problem::new(Code::HeaderTooLarge, self.detail()),
            Self::HttpAtTlsPort => {
                Problem::new(Code::BadRequest, self.detail()).because(ReasonCode::HttpOnTlsPort)
            }
            Self::TlsAtHttpPort => {
                Problem::new(Code::BadRequest, self.detail()).because(ReasonCode::TlsOnHttpPort)
            }
            Self::ProxyProtocol => {
                Problem::new(Code::BadRequest, self.detail()).because(ReasonCode::ProxyProtocol)
            }
            Self::PathByte => {
                Problem::new(Code::BadRequest, self.detail()).because(ReasonCode::PathCharacter)
            }
            _ => Problem::new(Code::BadRequest, self.detail()),
        }
    }
}
