//! A stand-in for Metabase: it keeps what it is given, and refuses what the real one is known to refuse.
//!
//! It is one of two versions: the one that docker-compose.yml pins, and the oldest that is promised to work.

mod check;
mod query;
mod routes;

use std::collections::BTreeMap;
use std::hash::{BuildHasher as _, RandomState};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};

use axum::Router;
use axum::body::to_bytes;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use serde_json::{Map, Value, json};
use tokio::net::TcpListener;
use tokio_util::task::TaskTracker;

/// What stands in MB_SETUP_TOKEN of Metabase's environment.
pub(crate) const TOKEN: &str = "6f1d1c9e-0000-4000-8000-000000000000";
pub(crate) const FILE: &str = "/data/dados.db";
const SESSION: &str = "38f4c7a2-0000-4000-8000-0000000000aa";
const BODY_BYTES_MAX: usize = 1 << 20;

/// One request, as it came, and what was answered.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) body: Option<Value>,
    pub(crate) status: u16,
}

impl Entry {
    /// Whether it changes what people see: a session does not.
    pub(crate) fn is_write(&self) -> bool {
        self.method != "GET" && self.path != "/api/session"
    }
}

/// How one request goes wrong.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Failure {
    /// 503, and nothing has happened.
    Before,
    /// It has happened, but the answer is a gateway's 502.
    After,
}

/// Which Metabase it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    /// It takes the setup token of its environment, answers everything as soon as it is well, and overlooks keys of a
    /// dashboard's cards that it does not know.
    V0_58,
    /// It makes its own setup token and ignores the environment's, is well before its API answers, and takes only the
    /// keys of a dashboard's cards that it knows.
    V0_64,
}

impl Version {
    pub(crate) const ALL: [Self; 2] = [Self::V0_58, Self::V0_64];
}

/// What Metabase knows.
pub(crate) struct World {
    pub(crate) version: Version,
    /// So many times it is not well yet.
    pub(crate) starting: u32,
    /// So many times its API does not answer yet, although it is well.
    pub(crate) initializing: u32,
    /// What `POST /api/setup` takes.
    pub(crate) token: String,
    /// Whether it shows the token: all known versions do.
    pub(crate) token_shown: bool,
    /// So many times it makes a new token just after it has shown one.
    pub(crate) new_tokens: u32,
    /// So often it is asked for tables before it has seen them all.
    pub(crate) looking: u32,
    /// The files that are there.
    pub(crate) files: Vec<&'static str>,
    /// What a wrong setup token is answered with.
    pub(crate) token_status: u16,
    pub(crate) administrator: Option<(String, String)>,
    pub(crate) settings: Map<String, Value>,
    pub(crate) databases: BTreeMap<u64, Value>,
    pub(crate) tables: Vec<Table>,
    pub(crate) collections: BTreeMap<u64, Value>,
    pub(crate) cards: BTreeMap<u64, Value>,
    pub(crate) dashboards: BTreeMap<u64, Value>,
    pub(crate) log: Vec<Entry>,
    /// The request of this number, from 1, fails.
    pub(crate) failure: Option<(usize, Failure)>,
    next_id: u64,
}

/// A table of the file, as Metabase sees it.
pub(crate) struct Table {
    pub(crate) id: u64,
    pub(crate) name: &'static str,
    pub(crate) visibility: Option<String>,
    pub(crate) fields: Vec<Field>,
}

pub(crate) struct Field {
    pub(crate) id: u64,
    pub(crate) name: &'static str,
    pub(crate) values: String,
    pub(crate) semantic: Option<String>,
}

/// What the migrations make; an asterisk marks a column of the key.
const SCHEMA: &[(&str, &str)] = &[
    ("_sqlx_migrations", "version* description installed_on success checksum execution_time"),
    ("campos", "topico* campo* ultimo_id ultimo_numero ultimo_texto ultimo_timestamp leituras"),
    ("dados", "id* valor timestamp topico qos retido dup formato produtor_id sequencia"),
    ("dados_por_topico", "topico* dado_id*"),
    ("idempotencia", "id* chave impressao primeiro_id inseridos criado_em"),
    ("leituras", "topico* campo* timestamp* dado_id* numero texto capturado"),
    ("leituras_hora", "topico* campo* hora* n soma minimo maximo"),
    ("leituras_minuto", "topico* campo* minuto* n soma minimo maximo"),
    (
        "produtores",
        "id* uuid nome ultima_sequencia recebidas quarentena visto_em armazenadas confirmadas danificadas criado_em",
    ),
    ("projecoes", "nome* ultimo_id"),
    ("topicos", "topico* ultimo_id ultimo_valor ultimo_numero ultimo_timestamp mensagens apagadas desvio_ms sem_hora"),
    // Newer tables come last: Metabase numbers them as it sees them.
    ("dados_por_tempo", "timestamp* dado_id*"),
    ("retencao", "tabela* ate"),
];

impl World {
    fn new(version: Version) -> Self {
        let mut tables = Vec::new();
        for (place, (name, columns)) in (1..).zip(SCHEMA) {
            let field = |(at, column): (u64, &'static str)| {
                let name = column.trim_end_matches('*');
                // Metabase's own choice, which it may change by itself.
                let values = if ["topico", "campo"].contains(&name) { "auto-list" } else { "search" };
                let semantic = column.ends_with('*').then(|| "type/PK".to_owned());
                Field { id: 1000 + 100 * place + at, name, values: values.to_owned(), semantic }
            };
            let fields = (1..).zip(columns.split(' ')).map(field).collect();
            tables.push(Table { id: 100 + place, name, visibility: None, fields });
        }
        Self {
            version,
            starting: 2,
            initializing: if version == Version::V0_58 { 0 } else { 2 },
            token: if version == Version::V0_58 { TOKEN.to_owned() } else { random_uuid() },
            token_shown: true,
            new_tokens: 0,
            looking: 3,
            files: vec![FILE],
            token_status: 400,
            administrator: None,
            settings: Map::new(),
            databases: BTreeMap::new(),
            tables,
            collections: BTreeMap::new(),
            cards: BTreeMap::new(),
            dashboards: BTreeMap::new(),
            log: Vec::new(),
            failure: None,
            next_id: 0,
        }
    }

    pub(crate) fn next_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    pub(crate) fn field(&self, id: u64) -> Option<(&Table, &Field)> {
        self.tables.iter().find_map(|table| Some((table, table.fields.iter().find(|field| field.id == id)?)))
    }

    /// What people see, without what depends on the order in which it was made.
    pub(crate) fn shown(&self) -> Value {
        let names = |things: &BTreeMap<u64, Value>| -> Vec<_> {
            let mut names: Vec<_> = things.values().map(|thing| thing["name"].to_string()).collect();
            names.sort();
            names
        };
        let dashcards = |dashboard: &Value| -> Vec<_> {
            let dashcards = dashboard["dashcards"].as_array().unwrap().iter();
            let card = |dashcard: &Value| self.cards[&dashcard["card_id"].as_u64().unwrap()]["name"].clone();
            dashcards.map(|dashcard| json!([card(dashcard), dashcard["row"], dashcard["col"]])).collect()
        };
        let field = |field: &Field| json!([field.name, field.values, field.semantic]);
        let table =
            |table: &Table| json!([table.name, table.visibility, table.fields.iter().map(field).collect::<Vec<_>>()]);
        json!({
            "databases": names(&self.databases),
            "collections": names(&self.collections),
            "cards": names(&self.cards),
            "dashboards": names(&self.dashboards),
            "dashcards": self.dashboards.values().map(dashcards).collect::<Vec<_>>(),
            "tables": self.tables.iter().map(table).collect::<Vec<_>>(),
            "settings": self.settings.keys().collect::<Vec<_>>(),
        })
    }
}

/// A token as Metabase makes it: nobody can know it before.
pub(super) fn random_uuid() -> String {
    let [one, other] = [(), ()].map(|()| RandomState::new().hash_one(0_u8));
    let (high, low) = (one >> 32, other & 0xffff_ffff_ffff);
    format!("{high:08x}-{:04x}-4{:03x}-8{:03x}-{low:012x}", one & 0xffff, other >> 52, (one >> 16) & 0xfff)
}

/// A running stand-in; dropping it ends it.
pub(crate) struct Metabase {
    pub(crate) addr: SocketAddr,
    world: Arc<Mutex<World>>,
    task: tokio::task::AbortHandle,
}

impl Metabase {
    /// The version that docker-compose.yml pins.
    pub(crate) async fn start() -> Self {
        Self::start_as(Version::V0_64).await
    }

    pub(crate) async fn start_as(version: Version) -> Self {
        let world = Arc::new(Mutex::new(World::new(version)));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let router = Router::new().fallback(answer).with_state(world.clone());
        let task = TaskTracker::new().spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { addr, world, task: task.abort_handle() }
    }

    pub(crate) fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap()
    }

    /// The writes so far, forgetting them.
    pub(crate) fn take_writes(&self) -> Vec<Entry> {
        let log = std::mem::take(&mut self.world().log);
        log.into_iter().filter(Entry::is_write).collect()
    }
}

impl Drop for Metabase {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn answer(State(world): State<Arc<Mutex<World>>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let bytes = to_bytes(body, BODY_BYTES_MAX).await.unwrap();
    let body = (!bytes.is_empty()).then(|| serde_json::from_slice::<Value>(&bytes).unwrap());
    let signed_in = parts.headers.get("x-metabase-session").is_some_and(|value| value == SESSION);
    let path = parts.uri.path_and_query().unwrap().to_string();
    let mut world = world.lock().unwrap();
    let failure = world.failure.filter(|(at, _)| *at == world.log.len() + 1).map(|(_, failure)| failure);
    let (status, answer) = match failure {
        Some(Failure::Before) => (503, json!({"message": "not now"})),
        _ => match routes::route(&mut world, parts.method.as_str(), &path, body.as_ref(), signed_in) {
            Ok(_) if matches!(failure, Some(Failure::After)) => (502, json!("Bad Gateway")),
            Ok(answer) => (200, answer),
            Err((status, answer)) => (status, answer),
        },
    };
    world.log.push(Entry { method: parts.method.to_string(), path, body, status });
    (StatusCode::from_u16(status).unwrap(), axum::Json(answer)).into_response()
}
