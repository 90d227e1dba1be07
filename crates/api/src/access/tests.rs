//! What the gate decides, for every kind of request.

use axum::http::HeaderValue;

use super::*;

const READ: &str = "ponte_read";
const WRITE: &str = "ponte_write";
const BOTH: &str = "ponte_both";
const OLD: &str = "ponte_old";

fn entry(name: &str, scope: &str, token: &str, expiry: &str) -> String {
    let hash: String = tokens::digest(token).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{name}:{scope}:{hash}{expiry}")
}

fn gate(change: impl FnOnce(&mut AccessSettings)) -> Gate {
    let entries = [
        entry("reader", "read", READ, ""),
        entry("writer", "write", WRITE, ":9999-12-31"),
        entry("both", "read+write", BOTH, ""),
        entry("old", "read+write", OLD, ":2020-01-01"),
    ];
    let mut settings = AccessSettings { api_tokens: Some(entries.join(",").into()), ..AccessSettings::default() };
    change(&mut settings);
    Gate::new(&settings, settings.tokens().unwrap(), Hosts::Private)
}

fn ask(gate: &Gate, peer: &str, request: &str, authorization: &[&str]) -> Result<(), Refused> {
    let (method, path) = request.split_once(' ').unwrap();
    let mut headers = HeaderMap::new();
    for value in authorization {
        headers.append(AUTHORIZATION, HeaderValue::from_str(value).unwrap());
    }
    let peer = SocketAddr::new(peer.parse().unwrap(), 1);
    let (method, uri) = (method.parse().unwrap(), path.parse().unwrap());
    gate.admit(Asked { method: &method, uri: &uri, headers: &headers, peer }).map(drop)
}

#[test]
fn every_route_but_the_open_ones_needs_a_token_with_its_scope() {
    let bearer = |token: &str| format!("Bearer {token}");
    for (request, none, read, write) in [
        ("GET /", true, true, true),
        ("GET /healthz", true, true, true),
        ("GET /openapi.json", true, true, true),
        ("GET /dados", false, true, false),
        ("HEAD /metrics", false, true, false),
        ("GET /no/such/path", false, true, false),
        ("GET /docs/../metrics", true, true, true),
        ("GET http://localhost/metrics", false, true, false),
        ("GET http://localhost/healthz", true, true, true),
        ("GET /produtores", false, true, false),
        ("GET /produtores/x", false, true, true),
        ("POST /dados", false, false, true),
        ("PUT /produtores/x", false, false, true),
        ("DELETE /dados", false, false, true),
        ("POST /healthz", false, false, true),
    ] {
        let gate = gate(|_| {});
        let passes = |authorization: &[&str]| ask(&gate, "10.0.0.1", request, authorization).is_ok();
        assert_eq!(passes(&[]), none, "{request} without a token");
        assert_eq!(passes(&[&bearer(READ)]), read, "{request} with read");
        assert_eq!(passes(&[&bearer(WRITE)]), write, "{request} with write");
        assert!(passes(&[&bearer(BOTH)]), "{request} with both");
    }
}

#[test]
fn what_is_no_sound_token_is_none() {
    let gate = gate(|_| {});
    let get = |authorization: &[&str]| ask(&gate, "10.0.0.1", "GET /dados", authorization);
    let both = format!("Bearer {BOTH}");
    for authorization in [
        &[][..],
        &[""],
        &["Bearer"],
        &["Bearer "],
        &["Basic cG9udGU6eA=="],
        &[BOTH],
        &[&both, &both],
        &[&both, "Basic x"],
        &[&format!("Token {BOTH}")],
    ] {
        assert_eq!(get(authorization), Err(Refused::NoToken), "{authorization:?}");
    }
    for wrong in ["Bearer x", "Bearer ponte_both2", "Bearer ponte_old", "Bearer ponte_read ponte_read"] {
        assert_eq!(get(&[wrong]), Err(Refused::InvalidToken), "{wrong}");
    }
    for right in [&both, &format!("bearer {BOTH}"), &format!("BEARER  {BOTH}")] {
        assert_eq!(get(&[right]), Ok(()), "{right}");
    }
    let scope = ask(&gate, "10.0.0.1", "POST /dados", &[&format!("Bearer {READ}")]);
    assert_eq!(scope, Err(Refused::Scope(Needs::Write)));
}

#[test]
fn wrong_tokens_are_limited_and_a_valid_one_beside_them_is_not() {
    let gate = gate(|_| {});
    let (wrong, right) = ("Bearer guess", format!("Bearer {BOTH}"));
    for _ in 0..20 {
        assert_eq!(ask(&gate, "2001:db8::1", "GET /dados", &[wrong]), Err(Refused::InvalidToken));
    }
    for token in [wrong, "Bearer ponte_old", wrong] {
        let refused = ask(&gate, "2001:db8::2", "GET /dados", &[token]).unwrap_err();
        assert!(matches!(refused, Refused::WrongTokens(_)), "{token}: {refused}");
        assert_eq!(refused.status(), 429);
        assert_eq!(ask(&gate, "2001:db8::2", "GET /dados", &[&right]), Ok(()), "a valid one from the same network");
    }
    assert_eq!(ask(&gate, "2001:db8::1", "GET /dados", &[]), Err(Refused::NoToken), "no token is no try");
    assert_eq!(ask(&gate, "2001:db8::1", "GET /readyz", &[]), Ok(()));
    let other = ask(&gate, "2001:db8:0:1::1", "GET /dados", &[wrong]);
    assert_eq!(other, Err(Refused::InvalidToken), "another network");
}

#[test]
fn rates_count_tokens_and_addresses() {
    let gate = gate(|settings| {
        settings.api_rate_per_token = Some("1/h:2".parse().unwrap());
        settings.api_rate_per_address = Some("1/h:3".parse().unwrap());
    });
    let get = |peer: &str, token: &str| ask(&gate, peer, "GET /dados", &[&format!("Bearer {token}")]);
    assert_eq!(get("10.0.0.1", READ), Ok(()));
    assert_eq!(get("10.0.0.2", READ), Ok(()));
    assert!(matches!(get("10.0.0.3", READ), Err(Refused::TokenRate(_))));
    assert_eq!(get("10.0.0.1", BOTH), Ok(()));
    assert_eq!(get("10.0.0.1", BOTH), Ok(()));
    assert!(matches!(get("10.0.0.1", BOTH), Err(Refused::AddressRate(_))));
    assert_eq!(ask(&gate, "10.0.0.1", "GET /healthz", &[]), Ok(()), "health is asked by machines");
    assert!(matches!(ask(&gate, "10.0.0.1", "GET /", &[]), Err(Refused::AddressRate(_))));
}

#[test]
fn a_revoked_token_is_refused_and_no_tokens_let_nobody_in() {
    let gate = gate(|_| {});
    let get = || ask(&gate, "10.0.0.1", "GET /dados", &[&format!("Bearer {READ}")]);
    assert_eq!(get(), Ok(()));
    assert_eq!(gate.replace(Tokens::default()), Some(0));
    assert_eq!(gate.replace(Tokens::default()), None, "no news");
    assert_eq!(get(), Err(Refused::InvalidToken));
}

#[test]
fn without_tokens_other_sites_are_refused_unless_they_are_let_in() {
    let settings =
        AccessSettings { api_cors_origins: "https://painel.example".parse().unwrap(), ..AccessSettings::default() };
    let gate = Gate::new(&settings, Tokens::default(), Hosts::Loopback);
    let post = |origin: &str| {
        let headers = [("host", "localhost:8080"), ("origin", origin), ("sec-fetch-site", "cross-site")];
        let headers =
            headers.map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).into_iter().collect();
        let (uri, peer) = ("/dados".parse().unwrap(), "127.0.0.1:1".parse().unwrap());
        gate.admit(Asked { method: &Method::POST, uri: &uri, headers: &headers, peer }).map(drop)
    };
    assert_eq!(post("https://painel.example"), Ok(()));
    assert!(matches!(post("https://evil.example"), Err(Refused::OtherSite(_))));
    assert!(settings.check().is_ok());
    let any = AccessSettings { api_cors_origins: Origins::Any, ..AccessSettings::default() };
    assert!(any.check().unwrap_err().message.starts_with("API_CORS_ORIGINS: "));
}
