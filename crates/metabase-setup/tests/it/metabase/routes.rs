//! What each request does, and what it is refused for.

use serde_json::{Map, Value, json};

use super::{SESSION, Version, World, check, query, random_uuid};

type Answer = Result<Value, (u16, Value)>;

fn refuse(status: u16, why: impl Into<String>) -> (u16, Value) {
    (status, json!({"message": why.into()}))
}

fn invalid(field: &str, why: impl Into<String>) -> (u16, Value) {
    (400, json!({"errors": {field: why.into()}}))
}

pub(super) fn route(world: &mut World, method: &str, path: &str, body: Option<&Value>, signed_in: bool) -> Answer {
    let (path, asked) = path.split_once('?').unwrap_or((path, ""));
    let way: Vec<_> = path.trim_start_matches('/').split('/').collect();
    let empty = json!({});
    let body = body.unwrap_or(&empty);
    match (method, way.as_slice()) {
        ("GET", ["api", "health"]) => return health(world),
        _ if world.starting > 0 || world.initializing > 0 => {
            world.initializing = world.initializing.saturating_sub(1);
            return Err((503, json!("Metabase is still initializing.")));
        }
        ("GET", ["api", "session", "properties"]) => return Ok(properties(world)),
        ("POST", ["api", "setup"]) => return setup(world, body),
        ("POST", ["api", "session"]) => return session(world, body),
        _ if !signed_in => return Err((401, json!("Unauthenticated"))),
        _ => {}
    }
    let number = |text: &str| text.parse::<u64>().map_err(|_| refuse(400, "expected a number"));
    match (method, way.as_slice()) {
        ("DELETE", ["api", "session"]) => Ok(Value::Null),
        ("GET", ["api", "database"]) => {
            Ok(json!({"data": world.databases.values().collect::<Vec<_>>(), "total": world.databases.len()}))
        }
        ("POST", ["api", "database"]) => add_database(world, body),
        ("POST", ["api", "database", id, "sync_schema"]) => {
            known(&world.databases, number(id)?).map(|_| json!({"status": "ok"}))
        }
        ("GET", ["api", "database", id, "metadata"]) => metadata(world, number(id)?, asked == "include_hidden=true"),
        ("PUT", ["api", "field", id]) => field(world, number(id)?, body),
        ("PUT", ["api", "table", id]) => table(world, number(id)?, body),
        ("GET", ["api", "collection"]) => {
            let root = json!({"id": "root", "name": "Our analytics", "description": null});
            let own = json!({"id": 90, "name": "Ana's Personal Collection", "description": null});
            let visible = world.collections.values().filter(|one| one["archived"] == false).cloned();
            Ok([root, own].into_iter().chain(visible).collect())
        }
        ("POST", ["api", "collection"]) => {
            check::keys(body, &["name"], &["description", "parent_id", "namespace", "authority_level"])
                .map_err(|why| invalid("body", why))?;
            let id = world.next_id();
            let collection =
                json!({"id": id, "name": body["name"], "description": body["description"], "archived": false});
            world.collections.insert(id, collection.clone());
            Ok(collection)
        }
        ("PUT", ["api", "collection", id]) => {
            check::keys(body, &[], &["name", "description", "archived"]).map_err(|why| invalid("body", why))?;
            change(&mut world.collections, number(id)?, body)
        }
        ("GET", ["api", "collection", id, "items"]) => {
            known(&world.collections, number(id)?)?;
            assert_eq!(asked, "models=card&models=dashboard");
            Ok(items(world, number(id)?))
        }
        ("POST", ["api", "card"]) => card(world, None, body),
        ("PUT", ["api", "card", id]) => card(world, Some(number(id)?), body),
        ("GET", ["api", "card", id]) => known(&world.cards, number(id)?),
        ("POST", ["api", "dashboard"]) => new_dashboard(world, body),
        ("PUT", ["api", "dashboard", id]) => dashboard(world, number(id)?, body),
        ("GET", ["api", "dashboard", id]) => known(&world.dashboards, number(id)?),
        ("PUT", ["api", "setting", name @ ("custom-homepage" | "custom-homepage-dashboard")]) => {
            check::keys(body, &["value"], &[]).map_err(|why| invalid("body", why))?;
            world.settings.insert((*name).to_owned(), body["value"].clone());
            Ok(Value::Null)
        }
        _ => Err((404, json!("API endpoint does not exist."))),
    }
}

fn known(things: &std::collections::BTreeMap<u64, Value>, id: u64) -> Answer {
    things.get(&id).cloned().ok_or((404, json!("Not found.")))
}

fn change(things: &mut std::collections::BTreeMap<u64, Value>, id: u64, body: &Value) -> Answer {
    let thing = things.get_mut(&id).ok_or((404, json!("Not found.")))?;
    for (name, value) in body.as_object().unwrap() {
        thing[name] = value.clone();
    }
    Ok(thing.clone())
}

fn health(world: &mut World) -> Answer {
    if world.starting > 0 {
        world.starting -= 1;
        return Err((503, json!({"status": "initializing", "progress": 0.3})));
    }
    Ok(json!({"status": "ok"}))
}

/// The setup token is public until it has been used; one that is in the environment cannot be cleared.
fn properties(world: &mut World) -> Value {
    let used = world.administrator.is_some() && world.version != Version::V0_58;
    let token = (world.token_shown && !used).then(|| world.token.clone());
    if world.new_tokens > 0 {
        world.new_tokens -= 1;
        world.token = random_uuid();
    }
    let homepage = world.settings.get("custom-homepage").cloned().unwrap_or(json!(false));
    json!({"has-user-setup": world.administrator.is_some(), "setup-token": token, "custom-homepage": homepage, "x": {}})
}

fn setup(world: &mut World, body: &Value) -> Answer {
    check::keys(body, &["token", "user", "prefs"], &[]).map_err(|why| invalid("body", why))?;
    check::keys(&body["user"], &["email", "password"], &["first_name", "last_name"])
        .map_err(|why| invalid("user", why))?;
    check::keys(&body["prefs"], &["site_name"], &["site_locale"]).map_err(|why| invalid("prefs", why))?;
    if body["token"] != *world.token {
        let why = "Token does not match the setup token.";
        return Err((world.token_status, json!({"errors": {"token": why}})));
    }
    let password = body["user"]["password"].as_str().unwrap();
    if password.len() < 6 || !password.bytes().any(|byte| byte.is_ascii_digit()) {
        return Err((400, json!({"errors": {"user": {"password": format!("{password} is too common.")}}})));
    }
    if world.administrator.is_some() {
        return Err(refuse(403, "The /api/setup route can only be used to create the first user."));
    }
    world.administrator = Some((body["user"]["email"].as_str().unwrap().to_owned(), password.to_owned()));
    Ok(json!({"id": SESSION}))
}

fn session(world: &World, body: &Value) -> Answer {
    check::keys(body, &["username", "password"], &[]).map_err(|why| invalid("body", why))?;
    match &world.administrator {
        Some((email, password)) if body["username"] == **email && body["password"] == **password => {
            Ok(json!({"id": SESSION}))
        }
        _ => Err((401, json!({"errors": {"password": "did not match stored password"}}))),
    }
}

fn add_database(world: &mut World, body: &Value) -> Answer {
    let optional = ["is_full_sync", "is_on_demand", "auto_run_queries"];
    check::keys(body, &["name", "engine", "details"], &optional).map_err(|why| invalid("body", why))?;
    check::keys(&body["details"], &["db", "read-only?", "open_mode"], &[]).map_err(|why| invalid("details", why))?;
    let file = body["details"]["db"].as_str().unwrap();
    if body["details"]["read-only?"] == true && body["details"]["open_mode"] != 1 {
        return Err((400, json!({"message": "Cannot change read-only flag after establishing a connection."})));
    }
    if body["engine"] != "sqlite" || !world.files.contains(&file) {
        let why = format!("{file} (No such file or directory)");
        return Err((400, json!({"message": why, "errors": {"db": "check the file"}})));
    }
    let id = world.next_id();
    let mut database = body.clone();
    database["id"] = json!(id);
    world.databases.insert(id, database.clone());
    Ok(database)
}

/// First there are no tables, then tables with half of their fields, then all.
fn metadata(world: &mut World, id: u64, hidden: bool) -> Answer {
    known(&world.databases, id)?;
    world.looking = world.looking.saturating_sub(1);
    let mut tables = Vec::new();
    for table in world.tables.iter().filter(|table| (hidden || table.visibility.is_none()) && world.looking < 2) {
        let seen = if world.looking == 1 { 2 } else { table.fields.len() };
        let fields: Vec<_> = table
            .fields
            .iter()
            .take(seen)
            .map(|field| {
                // Its own choice is shown as if somebody had made it.
                let values = if field.values == "auto-list" { "list" } else { field.values.as_str() };
                json!({"id": field.id, "name": field.name, "has_field_values": values,
                   "semantic_type": field.semantic, "base_type": "type/*"})
            })
            .collect();
        let visibility = &table.visibility;
        tables.push(json!({"id": table.id, "name": table.name, "visibility_type": visibility, "fields": fields}));
    }
    Ok(json!({"id": id, "tables": tables}))
}

fn field(world: &mut World, id: u64, body: &Value) -> Answer {
    check::keys(body, &[], &["has_field_values", "semantic_type"]).map_err(|why| invalid("body", why))?;
    let mut fields = world.tables.iter_mut().flat_map(|table| &mut table.fields);
    let field = fields.find(|field| field.id == id).ok_or((404, json!("Not found.")))?;
    if let Some(values) = body.get("has_field_values") {
        let values = values.as_str().filter(|values| ["list", "search", "none", "auto-list"].contains(values));
        values.ok_or_else(|| invalid("has_field_values", "enum"))?.clone_into(&mut field.values);
    }
    if let Some(semantic) = body.get("semantic_type") {
        let known = ["type/Category", "type/CreationTimestamp", "type/PK"];
        let semantic = semantic.as_str().filter(|semantic| known.contains(semantic));
        field.semantic = Some(semantic.ok_or_else(|| invalid("semantic_type", "enum"))?.to_owned());
    }
    Ok(json!({"id": id}))
}

fn table(world: &mut World, id: u64, body: &Value) -> Answer {
    check::keys(body, &["visibility_type"], &[]).map_err(|why| invalid("body", why))?;
    let table = world.tables.iter_mut().find(|table| table.id == id).ok_or((404, json!("Not found.")))?;
    let kind = body["visibility_type"].as_str().filter(|kind| ["hidden", "technical", "cruft"].contains(kind));
    table.visibility = Some(kind.ok_or_else(|| invalid("visibility_type", "enum"))?.to_owned());
    Ok(json!({"id": id}))
}

fn items(world: &World, collection: u64) -> Value {
    let of = |model: &'static str, things: &std::collections::BTreeMap<u64, Value>| -> Vec<Value> {
        let here = things.values().filter(|one| one["collection_id"] == collection && one["archived"] == false);
        let item = |one: &Value| json!({"id": one["id"], "model": model, "name": one["name"], "description": one["description"]});
        here.map(item).collect()
    };
    let data: Vec<_> = of("dashboard", &world.dashboards).into_iter().chain(of("card", &world.cards)).collect();
    json!({"total": data.len(), "data": data, "models": ["card", "dashboard"]})
}

fn card(world: &mut World, id: Option<u64>, body: &Value) -> Answer {
    let required = ["name", "display", "dataset_query", "visualization_settings"];
    check::keys(body, &required, &["description", "type", "collection_id"]).map_err(|why| invalid("body", why))?;
    query::card(world, body).map_err(|why| invalid("dataset_query", why))?;
    known(&world.collections, body["collection_id"].as_u64().unwrap_or(0))?;
    let id = match id {
        Some(id) => known(&world.cards, id).map(|_| id)?,
        None => world.next_id(),
    };
    let mut card = body.clone();
    card["id"] = json!(id);
    card["archived"] = json!(false);
    // What the real one does to a query when it stores it.
    query::normalize(&mut card["dataset_query"]);
    world.cards.insert(id, card.clone());
    Ok(card)
}

fn new_dashboard(world: &mut World, body: &Value) -> Answer {
    let optional = ["description", "collection_id", "parameters"];
    check::keys(body, &["name"], &optional).map_err(|why| invalid("body", why))?;
    known(&world.collections, body["collection_id"].as_u64().unwrap_or(0))?;
    let id = world.next_id();
    let dashboard = json!({"id": id, "name": body["name"], "description": body["description"], "archived": false,
        "collection_id": body["collection_id"], "width": "fixed", "parameters": [], "dashcards": [], "tabs": []});
    world.dashboards.insert(id, dashboard.clone());
    Ok(dashboard)
}

fn dashboard(world: &mut World, id: u64, body: &Value) -> Answer {
    let optional = ["description", "width", "parameters", "dashcards", "tabs"];
    check::keys(body, &[], &optional).map_err(|why| invalid("body", why))?;
    let stored = known(&world.dashboards, id)?;
    check::dashboard(world, &stored, body).map_err(|why| invalid("dashcards", why))?;
    let mut body = body.clone();
    for dashcard in body["dashcards"].as_array_mut().unwrap() {
        let fields: &mut Map<String, Value> = dashcard.as_object_mut().unwrap();
        if fields["id"].as_i64().unwrap() < 0 {
            fields.insert("id".to_owned(), json!(world.next_id()));
            fields.entry("dashboard_tab_id").or_insert(Value::Null);
        }
        // Shown, but not taken back; in a series, whole cards.
        for card in fields.get_mut("series").and_then(Value::as_array_mut).into_iter().flatten() {
            *card = world.cards[&card["id"].as_u64().unwrap()].clone();
        }
        fields.insert("dashboard_id".to_owned(), json!(id));
        fields.insert("card".to_owned(), json!({"id": fields["card_id"]}));
    }
    change(&mut world.dashboards, id, &body)
}
