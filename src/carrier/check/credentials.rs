//! Credentials, users and registrations. A refusal never says what a secret is.

use std::sync::Arc;
use std::time::Duration;

use hashbrown::{HashMap, HashSet};

use super::{Check, Row};
use crate::carrier::credentials::{CarrierCredentials, Registration, User, Users};
use crate::carrier::rows::{CarrierCredentialsRow, CustomerCredentialsRow, RegistrationRow};
use crate::carrier::{Carrier, CarrierId, Customer, CustomerId, Gateway, GatewayId, Refusal};
use crate::digest::{Algorithm, Ha1, Ha1s, Hidden, Secret};
use crate::sip::Uri;

/// Octets of a username, a realm or an address of record.
const MAX_TEXT_OCTETS: usize = 255;

impl Check {
    pub(super) fn carrier_credentials(
        &mut self,
        rows: &[CarrierCredentialsRow],
        carriers: &HashMap<CarrierId, Arc<Carrier>>,
    ) -> HashMap<CarrierId, Arc<CarrierCredentials>> {
        let mut credentials = HashMap::new();
        for row in rows {
            let mut check = self.row("carrier_credentials", row.carrier_id);
            let id = CarrierId(row.carrier_id);
            if !carriers.contains_key(&id) {
                check.refuse("carrier_id", format!("there is no carrier {}", row.carrier_id));
            }
            check.text("username", &row.username);
            if let Some(realm) = &row.realm {
                check.text("realm", realm);
            }
            let hashes = check.hashes(&row.ha1_md5, &row.ha1_sha256, &row.ha1_sha512_256);
            let secret = match (&row.password, hashes == Ha1s::default()) {
                (Some(password), true) => Secret::Password(password.clone()),
                (None, false) => Secret::Ha1s(hashes),
                (Some(_), false) | (None, true) => {
                    check.refuse(
                        "password",
                        "there must be a password or hashes, not both".to_owned(),
                    );
                    continue;
                }
            };
            if row.realm.is_none() && row.password.is_none() {
                let reason = "the hashes hold for one realm: it must be named".to_owned();
                check.refuse("realm", reason);
            }
            let known = CarrierCredentials {
                username: row.username.as_str().into(),
                realm: row.realm.as_deref().map(Into::into),
                secret,
            };
            credentials.insert(id, Arc::new(known));
        }
        credentials
    }

    pub(super) fn users(
        &mut self,
        rows: &[CustomerCredentialsRow],
        customers: &HashMap<CustomerId, Arc<Customer>>,
    ) -> Users {
        let mut users = Users::default();
        let mut algorithms = vec![Algorithm::Sha256, Algorithm::Md5];
        for row in rows {
            let mut check = self.row("customer_credentials", &row.username);
            let id = CustomerId(row.customer_id);
            if !customers.contains_key(&id) {
                check.refuse("customer_id", format!("there is no customer {}", row.customer_id));
            }
            check.text("username", &row.username);
            check.text("realm", &row.realm);
            if users.is_empty() {
                users.realm = row.realm.as_str().into();
            } else if *users.realm != *row.realm {
                let reason =
                    format!("'{}' is not '{}': all rows have one realm", row.realm, users.realm);
                check.refuse("realm", reason);
            }
            let hashes = check.hashes(&row.ha1_md5, &row.ha1_sha256, &None);
            if hashes == Ha1s::default() {
                check.refuse("ha1_sha256", "there must be a hash".to_owned());
                continue;
            }
            let was = algorithms.len();
            algorithms.retain(|algorithm| hashes.get(*algorithm).is_some());
            if algorithms.is_empty() && was > 0 {
                let reason = "there is no algorithm that every row has a hash for".to_owned();
                check.refuse("ha1_sha256", reason);
            }
            users.by_name.insert(row.username.as_str().into(), User { customer_id: id, hashes });
        }
        if !users.is_empty() {
            users.algorithms = algorithms;
        }
        users
    }

    pub(super) fn registrations(
        &mut self,
        rows: &[RegistrationRow],
        gateways: &HashMap<GatewayId, Arc<Gateway>>,
    ) -> HashMap<GatewayId, Arc<Registration>> {
        let mut registrations = HashMap::new();
        for row in rows {
            let mut check = self.row("registrations", row.gateway_id);
            let id = GatewayId(row.gateway_id);
            if !gateways.contains_key(&id) {
                check.refuse("gateway_id", format!("there is no gateway {}", row.gateway_id));
            }
            let aor = Uri::parse(row.aor.as_bytes()).filter(|uri| {
                let is_plain = uri.params.is_empty() && uri.headers.is_empty();
                uri.is_sip() && is_plain && row.aor.len() <= MAX_TEXT_OCTETS
            });
            let user = aor.and_then(|uri| std::str::from_utf8(uri.user?).ok());
            if user.is_none() {
                let reason = format!("'{}' must be such as sip:user@carrier.example", row.aor);
                check.refuse("aor", reason);
            }
            if let Some(user) = row.contact_user.as_deref().filter(|user| !is_user(user)) {
                let reason =
                    format!("'{user}' must be 1 to 64 letters, digits and marks of a URI's user");
                check.refuse("contact_user", reason);
            }
            let expires_s = check.within("expires_s", row.expires_s, 60, 86_400);
            let registration = Registration {
                aor: row.aor.as_str().into(),
                contact_user: row.contact_user.as_deref().or(user).unwrap_or_default().into(),
                expires: Duration::from_secs(expires_s.into()),
            };
            registrations.insert(id, Arc::new(registration));
        }
        registrations
    }
}

impl Row<'_> {
    fn text(&mut self, column: &'static str, text: &str) {
        let is_legal =
            (1..=MAX_TEXT_OCTETS).contains(&text.len()) && !text.chars().any(char::is_control);
        if !is_legal {
            self.refuse(column, format!("it must have 1 to {MAX_TEXT_OCTETS} characters, none of them control characters"));
        }
    }

    fn hashes(
        &mut self,
        md5: &Option<Hidden>,
        sha256: &Option<Hidden>,
        sha512_256: &Option<Hidden>,
    ) -> Ha1s {
        Ha1s {
            md5: self.hash("ha1_md5", Algorithm::Md5, md5),
            sha256: self.hash("ha1_sha256", Algorithm::Sha256, sha256),
            sha512_256: self.hash("ha1_sha512_256", Algorithm::Sha512_256, sha512_256),
        }
    }

    fn hash(
        &mut self,
        column: &'static str,
        algorithm: Algorithm,
        text: &Option<Hidden>,
    ) -> Option<Ha1> {
        let text = text.as_ref()?;
        let hash = Ha1::from_hex(algorithm, text.reveal());
        if hash.is_none() {
            let digits = algorithm.hex_len();
            self.refuse(
                column,
                format!("it must have {digits} hex digits, as `holdfast secret` prints them"),
            );
        }
        hash
    }
}

/// RFC 3261 §25.1, without escapes, and without what would end it.
fn is_user(user: &str) -> bool {
    let is_legal = |octet: u8| octet.is_ascii_alphanumeric() || b"-_.!~*()&=+$".contains(&octet);
    (1..=64).contains(&user.len()) && user.bytes().all(is_legal)
}

/// Secrets that lie open, and customers whom nothing can admit.
pub(super) fn warnings(
    credentials: &HashMap<CarrierId, Arc<CarrierCredentials>>,
    customers: &HashMap<CustomerId, Arc<Customer>>,
    users: &Users,
    addressed: &HashSet<CustomerId>,
) -> Vec<Refusal> {
    let mut warnings = Vec::new();
    for (id, known) in credentials {
        if matches!(known.secret, Secret::Password(_)) {
            let reason = match known.realm {
                Some(_) => {
                    "the password lies in plain text; `holdfast secret` makes hashes that do as well"
                }
                None => {
                    "the password lies in plain text, and any realm's challenge is answered; name the realm \
                     and use the hashes of `holdfast secret`"
                }
            };
            warnings.push(warning("carrier_credentials", id.0, "password", reason));
        }
    }
    let known: HashSet<CustomerId> = users.by_name.values().map(|user| user.customer_id).collect();
    for customer in customers.values().filter(|customer| customer.auth.takes_digest()) {
        let has_way = customer.has_certificate
            || customer.auth.is_content_with_address() && addressed.contains(&customer.id);
        if !known.contains(&customer.id) && !has_way {
            let reason = "no row of customer_credentials is this customer's: its calls are refused";
            warnings.push(warning("customers", customer.id.0, "auth", reason));
        }
    }
    warnings.sort_by(|a, b| (a.table, &a.row).cmp(&(b.table, &b.row)));
    warnings
}

fn warning(table: &'static str, row: i64, column: &'static str, reason: &str) -> Refusal {
    Refusal { table, row: row.to_string(), column, reason: reason.to_owned() }
}

#[cfg(test)]
mod tests;
