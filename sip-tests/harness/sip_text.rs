//! Just enough reading of SIP messages to judge them, shared with nothing of the product.

/// The head and the body; the head is lossy text, since nothing here depends on odd bytes.
#[derive(Clone, Debug)]
pub(crate) struct SipText {
    pub(crate) start_line: String,
    headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl SipText {
    /// `None` for a datagram that is no SIP message (a keep-alive, RTP).
    pub(crate) fn read(bytes: &[u8]) -> Option<Self> {
        let text = String::from_utf8_lossy(bytes);
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        let unfolded = head.replace("\r\n ", " ").replace("\r\n\t", " ");
        let mut lines = unfolded.split("\r\n");
        let start_line = lines.next()?.to_owned();
        if !start_line.starts_with("SIP/2.0 ") && !start_line.ends_with(" SIP/2.0") {
            return None;
        }
        let headers = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (long_name(name.trim()), value.trim().to_owned()))
            .collect();
        Some(Self { start_line, headers, body: body.to_owned() })
    }

    pub(crate) fn status_code(&self) -> Option<u16> {
        let rest = self.start_line.strip_prefix("SIP/2.0 ")?;
        rest.get(..3)?.parse().ok()
    }

    /// The method of a request; of a response the one in its CSeq.
    pub(crate) fn method(&self) -> &str {
        if self.status_code().is_some() {
            let cseq = self.header("cseq").unwrap_or_default();
            return cseq.split_whitespace().nth(1).unwrap_or("?");
        }
        self.start_line.split(' ').next().unwrap_or("?")
    }

    /// `INVITE`, or `200 INVITE` for a response.
    pub(crate) fn label(&self) -> String {
        match self.status_code() {
            Some(code) => format!("{code} {}", self.method()),
            None => self.method().to_owned(),
        }
    }

    pub(crate) fn request_uri(&self) -> Option<&str> {
        if self.status_code().is_some() {
            return None;
        }
        self.start_line.split(' ').nth(1)
    }

    /// The first header of that name (any case, long form).
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.all(name).into_iter().next()
    }

    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        let named = self.headers.iter().filter(|(own, _)| own.eq_ignore_ascii_case(name));
        named.map(|(_, value)| value.as_str()).collect()
    }

    pub(crate) fn headers(&self) -> impl Iterator<Item = (&str, &str)> {
        self.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    pub(crate) fn call_id(&self) -> &str {
        self.header("call-id").unwrap_or_default()
    }

    /// The tag parameter of From or To.
    pub(crate) fn tag(&self, name: &str) -> Option<&str> {
        let value = self.header(name)?;
        let after = value.rsplit_once('>').map_or(value, |(_, after)| after);
        after.split(';').find_map(|parameter| parameter.trim().strip_prefix("tag="))
    }

    /// A probe of reachability, as opposed to an OPTIONS within a call.
    pub(crate) fn is_probe(&self) -> bool {
        let has_to_tag = self.status_code().is_none() && self.tag("to").is_some();
        self.method() == "OPTIONS" && !has_to_tag
    }
}

fn long_name(name: &str) -> String {
    let long = match name.to_ascii_lowercase().as_str() {
        "i" => "call-id",
        "m" => "contact",
        "l" => "content-length",
        "c" => "content-type",
        "f" => "from",
        "s" => "subject",
        "k" => "supported",
        "t" => "to",
        "v" => "via",
        _ => return name.to_owned(),
    };
    long.to_owned()
}
