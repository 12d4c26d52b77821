//! SIP as the agents read and write it: lines of text. Shares nothing with the crate under test.

use bytes::Bytes;

/// One message, taken apart.
#[derive(Clone, Debug)]
pub struct Text {
    pub start: String,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Text {
    /// `None` for what is no message, or whose body is not as long as it says.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(bytes).ok()?;
        let (head, body) = text.split_once("\r\n\r\n")?;
        let mut lines = head.split("\r\n");
        let start = lines.next()?.to_owned();
        let headers = lines
            .map(|line| {
                let (name, value) = line.split_once(':')?;
                Some((name.trim().to_owned(), value.trim().to_owned()))
            })
            .collect::<Option<Vec<_>>>()?;
        let this = Self { start, headers, body: body.to_owned() };
        let length: usize = this.get("Content-Length")?.parse().ok()?;
        (length == this.body.len()).then_some(this)
    }

    pub fn print(&self) -> Bytes {
        let mut text = format!("{}\r\n", self.start);
        for (name, value) in &self.headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        if !self.body.is_empty() {
            text.push_str("Content-Type: application/sdp\r\n");
        }
        text.push_str(&format!("Content-Length: {}\r\n\r\n{}", self.body.len(), self.body));
        Bytes::from(text)
    }

    pub fn new(start: String) -> Self {
        Self { start, headers: Vec::new(), body: String::new() }
    }

    pub fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    /// The response to a request: its Vias, From, To, Call-ID and CSeq.
    pub fn response_to(&self, status_code: u16, phrase: &str, tag: &str) -> Self {
        let mut response = Self::new(format!("SIP/2.0 {status_code} {phrase}"));
        for (name, value) in &self.headers {
            match name.as_str() {
                "To" if status_code > 100 && !value.contains(";tag=") => {
                    response = response.with("To", format!("{value};tag={tag}"));
                }
                "Via" | "From" | "To" | "Call-ID" | "CSeq" | "Record-Route" => {
                    response = response.with(name, value.clone());
                }
                _ => {}
            }
        }
        response
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(found, _)| found.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// The call that a new INVITE is of: its header says so, or the number that a transfer is for.
    pub fn sim_call(&self) -> Option<usize> {
        let by_header = self.get("X-Sim-Call");
        let by_number = || self.request_uri().strip_prefix("sip:+1999")?.split('@').next();
        by_header.or_else(by_number)?.parse().ok()
    }

    pub fn is_request(&self) -> bool {
        !self.start.starts_with("SIP/2.0 ")
    }

    /// 0 for a request.
    pub fn status(&self) -> u16 {
        let code = self.start.strip_prefix("SIP/2.0 ").and_then(|rest| rest.get(..3));
        code.and_then(|code| code.parse().ok()).unwrap_or_default()
    }

    /// The request's method, or the one that a response is for.
    pub fn method(&self) -> &str {
        self.get("CSeq").and_then(|cseq| cseq.split_whitespace().nth(1)).unwrap_or_default()
    }

    pub fn seq(&self) -> u32 {
        let seq = self.get("CSeq").and_then(|cseq| cseq.split_whitespace().next());
        seq.and_then(|seq| seq.parse().ok()).unwrap_or_default()
    }

    pub fn request_uri(&self) -> &str {
        self.start.split(' ').nth(1).unwrap_or_default()
    }

    pub fn call_id(&self) -> &str {
        self.get("Call-ID").unwrap_or_default()
    }

    pub fn branch(&self) -> &str {
        self.get("Via").and_then(|via| param(via, "branch")).unwrap_or_default()
    }

    pub fn tag_of_from(&self) -> &str {
        self.get("From").and_then(|from| param(from, "tag")).unwrap_or_default()
    }

    pub fn tag_of_to(&self) -> &str {
        self.get("To").and_then(|to| param(to, "tag")).unwrap_or_default()
    }

    /// The URI of the Contact.
    pub fn contact(&self) -> Option<&str> {
        self.get("Contact")?.split_once('<')?.1.split_once('>').map(|(uri, _)| uri)
    }

    /// What comes before the body.
    pub fn head(bytes: &[u8]) -> &[u8] {
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n");
        &bytes[..end.unwrap_or(bytes.len())]
    }
}

/// A parameter behind the URI of a header's value.
fn param<'a>(value: &'a str, name: &str) -> Option<&'a str> {
    let params = value.rsplit_once('>').map_or(value, |(_, params)| params);
    params.split(';').skip(1).find_map(|param| {
        let (found, value) = param.split_once('=')?;
        found.trim().eq_ignore_ascii_case(name).then_some(value.trim())
    })
}
