//! HTTP/1.1 requests in a stream of bytes, read as another server would: leniently, by `httparse`.

/// A request as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// `method SP target`.
    pub line: String,
    /// HTTP/1.1, from its first byte on, and every line ends in CR LF.
    pub is_canonical: bool,
    /// Names in lower case, in the order of the head.
    pub fields: Vec<(String, Vec<u8>)>,
    /// Without its coding.
    pub body: Vec<u8>,
}

impl Request {
    /// All values of a field.
    pub fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        self.fields.iter().filter(move |(field, _)| field == name).map(|(_, value)| value.as_slice())
    }
}

/// Reads a head, without its body, that begins with these bytes; and its length.
pub fn read_head(bytes: &[u8]) -> Option<(Request, usize)> {
    let mut fields = [httparse::EMPTY_HEADER; 128];
    let mut head = httparse::Request::new(&mut fields);
    let httparse::Status::Complete(length) = head.parse(bytes).ok()? else { return None };
    let line = format!("{} {}", head.method?, head.path?);
    let fields =
        head.headers.iter().map(|field| (field.name.to_ascii_lowercase(), field.value.to_vec())).collect();
    let raw = &bytes[..length];
    let is_bare = |at: usize| raw[at] == b'\n' && (at == 0 || raw[at - 1] != b'\r');
    let is_canonical = head.version == Some(1) && raw[0] != b'\r' && !(0..length).any(is_bare);
    Some((Request { line, is_canonical, fields, body: Vec::new() }, length))
}

/// Every whole request of a stream, up to the first that makes no sense.
pub fn read_requests(stream: &[u8]) -> Vec<Request> {
    let mut requests = Vec::new();
    let mut rest = stream;
    while let Some((mut request, head_length)) = read_head(rest) {
        rest = &rest[head_length..];
        let body = if request.values("transfer-encoding").next().is_some() {
            read_chunked(rest)
        } else {
            let length = request.values("content-length").next().map(|value| {
                std::str::from_utf8(value).ok().and_then(|digits| digits.trim().parse::<usize>().ok())
            });
            length.unwrap_or(Some(0)).and_then(|length| Some((rest.get(..length)?.to_vec(), length)))
        };
        let Some((body, length)) = body else { break };
        request.body = body;
        rest = &rest[length..];
        requests.push(request);
    }
    requests
}

/// The data of a chunked body that begins with these bytes, and the length of its coding.
pub fn read_chunked(coded: &[u8]) -> Option<(Vec<u8>, usize)> {
    let (mut data, mut at) = (Vec::new(), 0);
    loop {
        let line = take_line(coded, &mut at)?;
        let digits = line.split(|&byte| byte == b';').next()?;
        let size = usize::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
        if size == 0 {
            while !take_line(coded, &mut at)?.is_empty() {}
            return Some((data, at));
        }
        data.extend_from_slice(coded.get(at..at.checked_add(size)?)?);
        at += size;
        if !take_line(coded, &mut at)?.is_empty() {
            return None;
        }
    }
}

fn take_line<'a>(bytes: &'a [u8], at: &mut usize) -> Option<&'a [u8]> {
    let rest = bytes.get(*at..)?;
    let end = rest.windows(2).position(|pair| pair == b"\r\n")?;
    *at += end + 2;
    Some(&rest[..end])
}
