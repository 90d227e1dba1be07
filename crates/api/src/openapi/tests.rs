//! The document is whole, and what is kept of it in the repository is what the routes say.

use std::collections::BTreeSet;
use std::fs;

use serde_json::Value;

use super::document;
use crate::router::PAGES;

/// Where the document is kept for reviews and clients.
const KEPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/openapi.json");
/// Writes it anew.
const WRITE: &str = "PONTE_WRITE_OPENAPI";

fn operations() -> Vec<(String, String, Value)> {
    let document: Value = serde_json::from_str(&document()).unwrap();
    let paths = document["paths"].as_object().unwrap();
    let of = |(path, item): (&String, &Value)| {
        let methods = item.as_object().unwrap().clone();
        let path = path.clone();
        methods.into_iter().map(move |(method, operation)| (path.clone(), method, operation)).collect::<Vec<_>>()
    };
    paths.iter().flat_map(of).collect()
}

#[test]
fn the_openapi_document_that_is_kept_is_what_the_routes_say() {
    let now = document();
    if std::env::var_os(WRITE).is_some() {
        fs::write(KEPT, &now).unwrap();
    }
    let kept = fs::read_to_string(KEPT).unwrap_or_default();
    assert!(kept == now, "{KEPT} is not what the routes say: {WRITE}=1 cargo test -p ponte-api openapi writes it");
}

/// `routes!` mounts only what is described: whatever is mounted in another way is named beside it.
#[test]
fn every_route_is_in_the_openapi_document() {
    let router = include_str!("../router.rs");
    let mounted: Vec<_> = router.split(".route(\"").skip(1).map(|rest| rest.split('"').next().unwrap()).collect();
    assert_eq!(mounted, PAGES);
    for other in [".route_service(", ".nest(", ".nest_service(", ".merge(", ".fallback"] {
        assert!(!router.contains(other), "router.rs mounts by {other} what no test here sees");
    }
}

#[test]
fn every_operation_of_the_openapi_document_is_complete() {
    let mut ids = BTreeSet::new();
    for (path, method, operation) in operations() {
        let at = format!("{method} {path}");
        assert!(ids.insert(operation["operationId"].to_string()), "{at}: its operationId is another's too");
        assert!(operation["summary"].is_string() && operation["tags"][0].is_string(), "{at} has no summary or no tag");
        assert!(operation["security"].is_array(), "{at} does not say who may");
        for parameter in operation["parameters"].as_array().into_iter().flatten() {
            let name = &parameter["name"];
            assert!(
                parameter["description"].is_string() && !parameter["schema"]["examples"][0].is_null(),
                "{at}: {name}"
            );
        }
        for (status, response) in operation["responses"].as_object().unwrap() {
            assert_eq!(response["headers"]["X-Request-Id"]["required"], true, "{at}: {status}");
            let content = response["content"].as_object();
            if status.as_str() >= "400" {
                assert_eq!(content.unwrap().keys().collect::<Vec<_>>(), ["application/problem+json"], "{at}: {status}");
            }
            for (media_type, content) in content.into_iter().flatten() {
                let has_example = !content["example"].is_null() || !content["examples"].is_null();
                let has_schema = !content["schema"].is_null();
                assert!(has_schema && (has_example || media_type == "application/json"), "{at}: {status} {media_type}");
            }
        }
    }
}

/// What names a schema names one that is there.
#[test]
fn every_reference_of_the_openapi_document_leads_somewhere() {
    let text = document();
    let document: Value = serde_json::from_str(&text).unwrap();
    for reference in text.split("\"$ref\": \"#").skip(1).map(|rest| rest.split('"').next().unwrap()) {
        assert!(document.pointer(reference).is_some(), "{reference}");
    }
}
