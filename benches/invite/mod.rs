//! An INVITE of 870 octets, as a desk phone sends it.

pub(crate) const INVITE: &str = "INVITE sip:+14155550123@198.51.100.7:5060;transport=udp;user=phone SIP/2.0\r\n\
    Via: SIP/2.0/UDP 203.0.113.20:5060;branch=z9hG4bK-524287-1---7d2b6c1f;rport\r\n\
    Max-Forwards: 70\r\n\
    Contact: <sip:+442071838750@203.0.113.20:5060;transport=udp>\r\n\
    To: <sip:+14155550123@198.51.100.7>\r\n\
    From: \"London Office\" <sip:+442071838750@pbx.example.com>;tag=5b1f9e0c\r\n\
    Call-ID: 81297NzQ0ZDk3YzE2YjQ3ZjY0OTk2YjY3@203.0.113.20\r\n\
    CSeq: 1 INVITE\r\n\
    Allow: INVITE, ACK, CANCEL, BYE, NOTIFY, REFER, MESSAGE, OPTIONS, INFO, UPDATE\r\n\
    Supported: replaces, timer, path\r\n\
    P-Asserted-Identity: <sip:+442071838750@pbx.example.com>\r\n\
    User-Agent: Desk Phone 7.2\r\n\
    Content-Type: application/sdp\r\n\
    Content-Length: 184\r\n\
    \r\n\
    v=0\r\no=- 8000 8000 IN IP4 203.0.113.20\r\ns=call\r\nc=IN IP4 203.0.113.20\r\nt=0 0\r\n\
    m=audio 40376 RTP/AVP 0 8 101\r\na=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-16\r\na=ptime:20\r\na=sendrecv\r\n";
