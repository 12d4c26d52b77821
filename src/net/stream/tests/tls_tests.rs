//! Who is let in, and who is believed (RFC 5922).

use std::path::Path;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, SanType, string::Ia5String,
};
use rustls::pki_types::ServerName;

use super::*;

/// An authority, and what it signs.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    dir: tempfile::TempDir,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let issuer = CertifiedIssuer::self_signed(params, key).expect("signed");
        let dir = tempfile::tempdir().expect("a folder");
        std::fs::write(dir.path().join("ca.pem"), issuer.pem()).expect("written");
        Self { issuer, dir }
    }

    /// Files of a node whose certificate has these names, and that believes this authority.
    fn files(&self, names: &[&str]) -> TlsFiles {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.subject_alt_names = names
            .iter()
            .map(|name| match name.strip_prefix("uri:") {
                Some(uri) => SanType::URI(Ia5String::try_from(uri).expect("ASCII")),
                None => SanType::DnsName(Ia5String::try_from(*name).expect("ASCII")),
            })
            .collect();
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("signed");
        let stem = names.join("+").replace([':', '*', '/'], "_");
        let path = |kind: &str| self.dir.path().join(format!("{stem}.{kind}"));
        std::fs::write(path("pem"), certificate.pem()).expect("written");
        std::fs::write(path("key"), key.serialize_pem()).expect("written");
        TlsFiles {
            own: Some((path("pem"), path("key"))),
            ca: Some(self.ca()),
            client_ca: Some(self.ca()),
            key_log: None,
        }
    }

    fn ca(&self) -> std::path::PathBuf {
        self.dir.path().join("ca.pem")
    }
}

/// Whether one node believes another that shows these names to be `host`.
fn believes(names: &[&str], host: &str, allows_wildcard: bool) -> bool {
    let authority = Authority::new();
    let carrier = World::tls(false, &authority.files(names));
    let world = World::tls(false, &authority.files(&["holdfast.example"]));
    world.is_called(host, allows_wildcard);
    let flow = gateway(carrier.address);
    world.send(flow, &options("1", ""));
    let limit = Instant::now() + Duration::from_secs(5);
    loop {
        assert!(Instant::now() < limit, "neither believed nor refused");
        if carrier.received.recv_timeout(Duration::from_millis(10)).is_ok() {
            return true;
        }
        if world.unreachable.try_recv().is_ok() {
            assert_eq!(world.counts().closed_for(CloseReason::Tls), 1);
            return false;
        }
    }
}

#[test]
fn believes_a_carrier_by_its_sip_uri_first_then_by_its_whole_dns_name() {
    for (names, is_believed) in [
        (&["sip.carrier.example"][..], true),
        (&["SIP.Carrier.example"], true),
        (&["uri:sip:sip.carrier.example"], true),
        (&["other.example", "uri:sip:sip.carrier.example"], true),
        // RFC 5922 §7.1: with a SIP URI, DNS names count for nothing.
        (&["sip.carrier.example", "uri:sip:other.example"], false),
        (&["sip.carrier.example", "uri:https://other.example"], true),
        (&["uri:sip:user@sip.carrier.example"], false),
        (&["carrier.example"], false),
        (&["*.carrier.example"], false),
    ] {
        assert_eq!(believes(names, "sip.carrier.example", false), is_believed, "{names:?}");
    }
}

#[test]
fn lets_a_wildcard_stand_for_a_name_only_where_the_carrier_is_allowed_it() {
    assert!(believes(&["*.carrier.example"], "sip.carrier.example", true));
    assert!(!believes(&["*.carrier.example"], "sip.other.example", true));
}

#[test]
fn believes_no_address_that_is_not_in_the_certificate_nor_a_stranger_s_authority() {
    assert!(!believes(&["sip.carrier.example"], "127.0.0.1", false));
    let (authority, stranger) = (Authority::new(), Authority::new());
    let carrier = World::tls(false, &stranger.files(&["sip.carrier.example"]));
    let world = World::tls(false, &authority.files(&["holdfast.example"]));
    world.is_called("sip.carrier.example", false);
    world.send(gateway(carrier.address), &options("1", ""));
    assert_eq!(world.next_unreachable(), gateway(carrier.address));
}

#[test]
fn shows_its_certificate_where_it_is_asked_and_lets_nobody_in_without_one() {
    let authority = Authority::new();
    let door = World::tls(true, &authority.files(&["sip.example"]));
    let nobody = TlsFiles { ca: Some(authority.ca()), ..TlsFiles::default() };
    let world = World::tls(false, &authority.files(&["caller.example"]));
    world.is_called("sip.example", false);
    world.send(gateway(door.address), &options("known", ""));
    let received = door.next();
    assert_eq!(received.bytes, options("known", ""));
    door.send(received.flow, OK);
    assert_eq!(world.next().bytes, OK);
    let world = World::tls(false, &nobody);
    world.is_called("sip.example", false);
    world.send(gateway(door.address), &options("unknown", ""));
    assert_eq!(world.next_unreachable(), gateway(door.address));
    assert!(door.received.try_recv().is_err());
}

#[test]
fn asks_two_gateways_at_one_address_for_their_own_names() {
    let authority = Authority::new();
    let carrier = World::tls(false, &authority.files(&["one.example"]));
    let world = World::tls(false, &authority.files(&["holdfast.example"]));
    world.is_called("one.example", false);
    world.send(gateway(carrier.address), &options("1", ""));
    carrier.next();
    world.is_called("two.example", false);
    world.send(gateway(carrier.address), &options("2", ""));
    assert_eq!(world.next_unreachable(), gateway(carrier.address));
    assert!(carrier.received.try_recv().is_err());
}

#[test]
fn shows_the_certificate_that_is_in_force_when_a_connection_begins() {
    let authority = Authority::new();
    let carrier = World::tls(false, &authority.files(&["old.example"]));
    let world = World::tls(false, &authority.files(&["holdfast.example"]));
    world.is_called("new.example", false);
    world.send(gateway(carrier.address), &options("1", ""));
    assert_eq!(world.next_unreachable(), gateway(carrier.address));
    let configs = authority.files(&["new.example"]).load().expect("good files");
    carrier.tls.store(Some(Arc::new(configs)));
    world.send(gateway(carrier.address), &options("2", ""));
    assert_eq!(carrier.next().bytes, options("2", ""));
}

#[test]
fn speaks_tls_1_2_and_1_3_and_sends_the_name_it_wants() {
    let authority = Authority::new();
    let world = World::tls(false, &authority.files(&["sip.example"]));
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let roots = authority.files(&["x.example"]).ca.expect("set");
        let mut client = client_of(&roots, version);
        let mut socket = connect(&world);
        let mut stream = rustls::Stream::new(&mut client, &mut socket);
        stream.write_all(options("1", "").as_bytes()).expect("sent");
        assert_eq!(world.next().bytes, options("1", ""), "{version:?}");
    }
    let (peer, address) = peer();
    world.is_called("sip.carrier.example", false);
    world.send(gateway(address), &options("2", ""));
    let mut hello = [0; 2_048];
    let len = accept(&peer).read(&mut hello).expect("a hello comes");
    let name = b"sip.carrier.example";
    assert!(hello[..len].windows(name.len()).any(|window| window == name), "no SNI");
}

#[test]
fn writes_the_secrets_of_its_connections_only_where_it_is_told_to() {
    let authority = Authority::new();
    let path = authority.dir.path().join("secrets");
    let files = TlsFiles { key_log: Some(path.clone()), ..authority.files(&["one.example"]) };
    let carrier = World::tls(false, &authority.files(&["one.example"]));
    for (files, labels) in [
        (authority.files(&["two.example"]), &[][..]),
        (files, &["CLIENT_TRAFFIC_SECRET_0", "SERVER_TRAFFIC_SECRET_0"]),
    ] {
        let world = World::tls(false, &files);
        world.is_called("one.example", false);
        world.send(gateway(carrier.address), &options("1", ""));
        carrier.next();
        let written = std::fs::read_to_string(&path).unwrap_or_default();
        assert_eq!(written.is_empty(), labels.is_empty());
        for label in labels {
            let line = written.lines().find(|line| line.starts_with(label)).expect("a line");
            let [_, random, secret] = line.split(' ').collect::<Vec<_>>()[..] else {
                panic!("{line}")
            };
            assert!(random.len() == 64 && secret.len() >= 64, "{line}");
        }
    }
    use std::os::unix::fs::PermissionsExt;
    let mode = std::fs::metadata(&path).expect("written").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let nowhere = TlsFiles { key_log: Some("/nowhere/x".into()), ..TlsFiles::default() };
    assert!(nowhere.load().expect_err("no folder").to_string().contains("/nowhere/x"));
}

#[test]
fn reads_certificates_again_and_refuses_files_that_hold_none() {
    let authority = Authority::new();
    let files = authority.files(&["one.example"]);
    let before = files.written_at();
    assert_eq!(before, files.written_at());
    let (chain, _) = files.own.clone().expect("set");
    let later = std::time::SystemTime::now() + Duration::from_secs(10);
    let file = std::fs::File::options().append(true).open(&chain).expect("it is there");
    file.set_modified(later).expect("set");
    assert_ne!(before, files.written_at());
    std::fs::write(&chain, "nothing").expect("written");
    let told = files.load().expect_err("no certificate").to_string();
    assert!(told.contains("one.example.pem: it holds no certificate"), "{told}");
    std::fs::remove_file(&chain).expect("removed");
    assert!(files.load().expect_err("no file").to_string().contains("one.example.pem"));
}

fn client_of(
    ca: &Path,
    version: &'static rustls::SupportedProtocolVersion,
) -> rustls::ClientConnection {
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject;
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(ca).expect("a certificate")).expect("an authority");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])
        .expect("it is known")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("sip.example").expect("a name");
    rustls::ClientConnection::new(Arc::new(config), name).expect("a client")
}
