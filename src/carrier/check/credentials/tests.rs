//! Rows of credentials, users and registrations that make sense, and those that do not.

use crate::carrier::rows::{
    CarrierCredentialsRow, CarrierRow, CustomerCredentialsRow, CustomerRow, GatewayRow,
    RegistrationRow,
};
use crate::carrier::{CarrierId, CustomerAuth, GatewayId, Rows, Tables};
use crate::digest::{Algorithm, Hidden, Secret};

#[test]
fn takes_hashes_a_password_users_and_a_registration() {
    let tables = Tables::check(rows(), 1).unwrap();
    let known = tables.credentials_of(CarrierId(1)).unwrap();
    assert_eq!((&*known.username, known.realm.as_deref()), ("trunk", Some("carrier")));
    let Secret::Ha1s(hashes) = &known.secret else { panic!("hashes") };
    assert!(Algorithm::ALL.iter().all(|algorithm| hashes.get(*algorithm).is_some()));
    assert!(tables.has_credentials());
    assert_eq!(&*tables.users.realm, "us");
    assert_eq!(tables.users.algorithms, [Algorithm::Sha256, Algorithm::Md5]);
    assert!(tables.users.get("bob").is_some() && tables.users.get("Bob").is_none());
    assert_eq!(tables.customers.values().next().unwrap().auth, CustomerAuth::Digest);
    let registration = tables.registration_of(GatewayId(1)).unwrap();
    assert_eq!(&*registration.contact_user, "4930123");
    assert_eq!(registration.domain(), "sip:carrier.example");
    assert_eq!((registration.expires.as_secs(), tables.warnings), (300, vec![]));
}

#[test]
fn says_of_each_senseless_row_which_column_it_is() {
    type Change = fn(&mut Rows);
    let changes: &[(Change, &str)] = &[
        (|rows| of(rows).carrier_id = 9, "carrier_credentials row 9, column carrier_id"),
        (|rows| of(rows).username.clear(), "carrier_credentials row 1, column username"),
        (|rows| of(rows).username = "a\r\nb".into(), "carrier_credentials row 1, column username"),
        (|rows| of(rows).realm = Some(String::new()), "carrier_credentials row 1, column realm"),
        (|rows| of(rows).realm = None, "carrier_credentials row 1, column realm"),
        (|rows| of(rows).ha1_md5 = hidden("12"), "carrier_credentials row 1, column ha1_md5"),
        (|rows| of(rows).ha1_sha256 = hash(32), "carrier_credentials row 1, column ha1_sha256"),
        (|rows| of(rows).ha1_sha512_256 = hidden("-"), "row 1, column ha1_sha512_256"),
        (|rows| of(rows).password = hidden("p"), "carrier_credentials row 1, column password"),
        (
            |rows| {
                let row = of(rows);
                (row.ha1_md5, row.ha1_sha256, row.ha1_sha512_256) = (None, None, None);
            },
            "carrier_credentials row 1, column password",
        ),
        (|rows| user(rows).customer_id = 9, "customer_credentials row bob, column customer_id"),
        (|rows| user(rows).username.clear(), "customer_credentials row , column username"),
        (|rows| user(rows).realm.clear(), "customer_credentials row bob, column realm"),
        (|rows| user(rows).ha1_md5 = hash(64), "customer_credentials row bob, column ha1_md5"),
        (
            |rows| (user(rows).ha1_md5, user(rows).ha1_sha256) = (None, None),
            "customer_credentials row bob, column ha1_sha256: there must be a hash",
        ),
        (
            |rows| add_user(rows, |it| it.realm = "them".into()),
            "customer_credentials row eve, column realm: 'them' is not 'us': all rows have one realm",
        ),
        (
            |rows| {
                user(rows).ha1_md5 = None;
                add_user(rows, |it| it.ha1_sha256 = None);
            },
            "customer_credentials row eve, column ha1_sha256: there is no algorithm that every row has",
        ),
        (|rows| rows.customers[0].auth = "maybe".into(), "customers row 1, column auth"),
        (|rows| place(rows).gateway_id = 9, "registrations row 9, column gateway_id"),
        (|rows| place(rows).aor = "carrier.example".into(), "registrations row 1, column aor"),
        (|rows| place(rows).aor = "sip:carrier.example".into(), "registrations row 1, column aor"),
        (|rows| place(rows).aor = "tel:+49".into(), "registrations row 1, column aor"),
        (|rows| place(rows).aor = "sip:a@b;x=y".into(), "registrations row 1, column aor"),
        (|rows| place(rows).contact_user = Some("a@b".into()), "row 1, column contact_user"),
        (|rows| place(rows).contact_user = Some(String::new()), "row 1, column contact_user"),
        (|rows| place(rows).expires_s = 59, "registrations row 1, column expires_s"),
        (|rows| place(rows).expires_s = 86_401, "registrations row 1, column expires_s"),
    ];
    for (change, says) in changes {
        let mut rows = rows();
        change(&mut rows);
        let refusals = Tables::check(rows, 1).expect_err(says);
        let said: Vec<String> = refusals.iter().map(ToString::to_string).collect();
        assert!(said.iter().any(|line| line.contains(says)), "{says}: {said:?}");
    }
}

#[test]
fn never_says_what_a_secret_is() {
    let mut rows = rows();
    of(&mut rows).ha1_md5 = hidden("open sesame");
    user(&mut rows).ha1_sha256 = hidden("open sesame");
    let shown = format!("{rows:?}");
    let refusals = Tables::check(rows, 1).unwrap_err();
    assert_eq!(refusals.len(), 2);
    assert!(!format!("{refusals:?}{shown}").contains("sesame"));
}

#[test]
fn warns_of_passwords_in_plain_text_and_of_customers_that_nobody_can_be() {
    let mut rows = rows();
    let row = of(&mut rows);
    (row.ha1_md5, row.ha1_sha256, row.ha1_sha512_256) = (None, None, None);
    row.password = hidden("p");
    rows.customer_credentials.clear();
    let warned = |rows: &Rows| -> Vec<String> {
        let tables = Tables::check(rows.clone(), 1).unwrap();
        tables.warnings.iter().map(ToString::to_string).collect()
    };
    let said = warned(&rows);
    assert_eq!(said.len(), 2, "{said:?}");
    assert!(said[0].starts_with("carrier_credentials row 1, column password"), "{said:?}");
    assert!(!said[0].contains("any realm"));
    assert!(said[1].starts_with("customers row 1, column auth"), "{said:?}");
    of(&mut rows).realm = None;
    assert!(warned(&rows)[0].contains("any realm's challenge is answered"));
    rows.customers[0].auth = "address".to_owned();
    assert_eq!(warned(&rows).len(), 1);
}

fn of(rows: &mut Rows) -> &mut CarrierCredentialsRow {
    &mut rows.carrier_credentials[0]
}

fn user(rows: &mut Rows) -> &mut CustomerCredentialsRow {
    &mut rows.customer_credentials[0]
}

fn add_user(rows: &mut Rows, change: impl FnOnce(&mut CustomerCredentialsRow)) {
    let mut row = CustomerCredentialsRow {
        username: "eve".to_owned(),
        customer_id: 1,
        realm: "us".to_owned(),
        ha1_md5: hash(32),
        ha1_sha256: hash(64),
    };
    change(&mut row);
    rows.customer_credentials.push(row);
}

fn place(rows: &mut Rows) -> &mut RegistrationRow {
    &mut rows.registrations[0]
}

fn rows() -> Rows {
    Rows {
        carriers: vec![CarrierRow { carrier_id: 1, name: "one".into(), ..CarrierRow::default() }],
        gateways: vec![GatewayRow {
            gateway_id: 1,
            carrier_id: 1,
            name: "gw".into(),
            host: "192.0.2.1".into(),
            ..GatewayRow::default()
        }],
        customers: vec![CustomerRow {
            customer_id: 1,
            name: "acme".into(),
            auth: "digest".into(),
            ..CustomerRow::default()
        }],
        carrier_credentials: vec![CarrierCredentialsRow {
            carrier_id: 1,
            username: "trunk".into(),
            realm: Some("carrier".into()),
            ha1_md5: hash(32),
            ha1_sha256: hash(64),
            ha1_sha512_256: hash(64),
            password: None,
        }],
        customer_credentials: vec![CustomerCredentialsRow {
            username: "bob".into(),
            customer_id: 1,
            realm: "us".into(),
            ha1_md5: hash(32),
            ha1_sha256: hash(64),
        }],
        registrations: vec![RegistrationRow {
            gateway_id: 1,
            aor: "sip:4930123@carrier.example".into(),
            ..RegistrationRow::default()
        }],
        ..Rows::default()
    }
}

fn hash(digits: usize) -> Option<Hidden> {
    hidden(&"aB".repeat(digits / 2))
}

fn hidden(text: &str) -> Option<Hidden> {
    Some(Hidden::new(text.to_owned()))
}
