//! The live page in a real browser: what a person sees, does, and is spared.

mod browser;
mod screenshots;

use std::collections::BTreeSet;
use std::time::Duration;

use dados::Timestamp;
use harness::broker::mosquitto;
use harness::system::Api;
use serde_json::{Value, json};
use tempfile::TempDir;

use self::browser::{Browser, DESKTOP, PHONE, Screen};
use super::access::{TOKENS, token};
use super::{Result, System};

/// Posts messages, oldest first.
async fn post(url: &str, rows: &Value) -> Result {
    let request = reqwest::Client::new().post(format!("{url}/dados")).json(rows);
    request.send().await?.error_for_status()?;
    Ok(())
}

/// A message as JSON, captured so many milliseconds ago.
fn message(topic: &str, value: impl Into<Value>, age_ms: i64) -> Value {
    let at = Timestamp::from_ms(Timestamp::now().as_ms() - age_ms).expect("a time of these days");
    json!({"topico": topic, "valor": value.into(), "timestamp": at})
}

/// An API and a browser that has its page open; none where there is no browser and need not be.
async fn page(screen: Screen, rows: &Value) -> Result<Option<(Browser, Api, TempDir)>> {
    let Some(browser) = Browser::start(screen).await? else { return Ok(None) };
    let dir = tempfile::tempdir()?;
    let api = Api::start(dir.path()).await?;
    if rows.as_array().is_some_and(|rows| !rows.is_empty()) {
        post(&api.url(), rows).await?;
    }
    browser.open(&api.url()).await?;
    Ok(Some((browser, api, dir)))
}

/// Waits until what is stored shows without a reload.
async fn follows(browser: &Browser, api: &Api, topic: &str) -> Result {
    following(browser).await?;
    post(&api.url(), &json!({"topico": topic, "valor": "chegou agora"})).await?;
    browser.reads("#list", "chegou agora").await
}

/// Before it follows, it shows what is there when it looks.
async fn following(browser: &Browser) -> Result {
    browser.holds("!document.getElementById('feed-note').textContent.includes('…')").await?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    Ok(())
}

/// Nothing was refused by the policy, no script failed, and nobody else was asked for anything.
async fn assert_clean(browser: &Browser, own: &str) -> Result {
    asked_of(browser, own).await.map(drop)
}

/// The same; gives what was asked for.
async fn asked_of(browser: &Browser, own: &str) -> Result<BTreeSet<String>> {
    let complaints: Vec<_> =
        browser.complaints().await?.into_iter().filter(|(source, _)| source != "network").collect();
    assert_eq!(complaints, []);
    let addresses = browser.addresses().await?;
    let is_own = |address: &str| address.strip_prefix(own).is_some_and(|path| path.starts_with('/'));
    let foreign: Vec<_> =
        addresses.iter().filter(|address| !is_own(address) && !address.starts_with("data:")).collect();
    assert_eq!(foreign, Vec::<&String>::new());
    assert_eq!(browser.run(OVERFLOW, json!([])).await?, json!([]), "nothing is wider than the screen");
    Ok(addresses)
}

/// What sticks out of the screen to the right, where anything makes the page scroll sideways.
const OVERFLOW: &str = "
    if (document.documentElement.scrollWidth <= innerWidth) return [];
    return [...document.querySelectorAll('body *')].filter((node) => node.getBoundingClientRect().right > innerWidth)
        .map((node) => `${node.tagName}#${node.id}.${node.className}`);";

#[tokio::test(flavor = "multi_thread")]
async fn rows_arrive_are_searched_and_charted() -> Result {
    let mut rows: Vec<_> = (0..20)
        .map(|second| {
            message(
                "casa/sala",
                format!("{{\"temperatura\":{}}}", 20.0 + second as f64 / 10.0),
                20_000 - second * 1_000,
            )
        })
        .collect();
    rows.extend((0..10).map(|second| message("parado", 7, 3_600_000 - second * 1_000)));
    rows.push(message("jardim/portão", "aberto", 5_000));
    let Some((browser, api, _dir)) = page(DESKTOP, &json!(rows)).await? else { return Ok(()) };
    browser.reads("#list", "temperatura 21,9").await?;
    browser.reads("#list", "aberto").await?;
    browser.reads("#headline", "1 tópico está em silêncio").await?;
    browser.reads(".topic.silent .name", "parado").await?;
    follows(&browser, &api, "novo").await?;
    browser.holds("document.getElementById('flow-bars').firstElementChild.getAttribute('d') !== ''").await?;

    browser.type_into("#search", "casa/+").await?;
    browser.holds("document.querySelectorAll('.topic').length === 1").await?;
    browser.click(".topic").await?;
    browser.reads("#chart-topic", "casa/sala").await?;
    browser.reads("#chart-summary", "20 leituras: mínimo 20").await?;
    browser.holds("document.querySelector('#plot canvas').width > 300").await?;
    post(&api.url(), &json!({"topico": "casa/sala", "valor": {"temperatura": 99.5}})).await?;
    browser.reads("#chart-summary", "máximo 99,5").await?;
    let csv = browser.run("return fetch(document.getElementById('csv-series').href).then((r) => r.text())", json!([]));
    assert!(csv.await?.as_str().unwrap_or_default().starts_with("inicio,n,media,minimo,maximo"));

    browser.click("#language").await?;
    browser.reads("#chart-summary", "maximum 99.5").await?;
    browser.reload().await?;
    browser.reads("#topics-title", "Topics").await?;
    assert_eq!(browser.run("return document.documentElement.lang", json!([])).await?, "en", "it is remembered");
    assert_clean(&browser, &api.url()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reading_is_stored_by_hand() -> Result {
    let Some((browser, api, _dir)) = page(DESKTOP, &json!([])).await? else { return Ok(()) };
    browser.reads("#headline", "Pronta, à espera da primeira mensagem").await?;
    browser.reads("#empty", "mosquitto_pub").await?;
    browser.type_into("[name=topico]", "bancada/1").await?;
    browser.type_into("[name=valor]", "23.5\u{e007}").await?;
    browser.reads("#insert-result", "Guardado com o número 1").await?;
    browser.reads("#list", "bancada/1").await?;
    assert_eq!(api.rows().values("bancada/1").await?, ["23.5"]);
    // What is wrong is told, and what was typed stays.
    browser.run("document.querySelector('[name=topico]').value = 'a/#'", json!([])).await?;
    browser.type_into("[name=valor]", "1\u{e007}").await?;
    browser.reads("#insert-result", "topico: ").await?;
    assert_eq!(browser.run("return document.querySelector('[name=valor]').value", json!([])).await?, "1");
    assert_clean(&browser, &api.url()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn it_outlives_a_restart_of_the_api() -> Result {
    let rows = json!([message("casa/sala", 1, 1_000)]);
    let Some((browser, mut api, _dir)) = page(DESKTOP, &rows).await? else { return Ok(()) };
    browser.reads("#headline", "Tudo certo").await?;
    follows(&browser, &api, "antes").await?;
    api.kill()?;
    browser.reads("#headline", "A API não responde").await?;
    browser.type_into("[name=valor]", "5\u{e007}").await?;
    browser.reads("#insert-result", "A API não respondeu").await?;
    api.restart().await?;
    browser.reads("#headline", "Tudo certo").await?;
    post(&api.url(), &json!({"topico": "depois", "valor": 1})).await?;
    browser.reads("#list", "depois").await?;
    let own = api.url();
    assert_clean(&browser, &own).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_sensors_send_is_text_and_nothing_else() -> Result {
    let attacks = [
        "<img src=x onerror=window.broken=1>",
        "<script>window.broken=1</script>",
        "\"><svg onload=window.broken=1>",
        "javascript:window.broken=1",
        "</li></ul><h1>x</h1>",
        "\u{202e}\u{0}\u{7f}%00${broken=1}{{broken=1}}",
    ];
    let mut rows: Vec<_> = attacks
        .iter()
        .map(|attack| message(&format!("x/{}", attack.replace(['\u{0}', '#', '+'], "")), *attack, 0))
        .collect();
    rows.push(json!({"valor": {"<img src=x onerror=window.broken=1>": 1, "__proto__": {"broken": 1}}}));
    rows.push(json!({"topico": "__proto__", "valor": "NaN"}));
    rows.push(json!({"topico": "grande", "valor": "x".repeat(2_000_000)}));
    rows.push(json!({"topico": "extremos", "valor": [1e308, -1e308, 1e-320]}));
    rows.extend((0..300).map(|number| json!({"topico": format!("muitos/{number:03}"), "valor": number})));
    let Some((browser, api, _dir)) = page(DESKTOP, &json!(rows)).await? else { return Ok(()) };
    browser.reads("#topics-count", "310").await?;
    browser.reads("#topics-note", "Aqui estão 200 de 310").await?;
    assert_eq!(browser.run("return document.querySelectorAll('.topic').length", json!([])).await?, 200);
    let click_each = "
        for (const topic of [...document.querySelectorAll('.topic')]) {
            topic.click();
            await new Promise((done) => setTimeout(done, 10));
        }";
    for search in ["x/", "(", "proto", "grande", "extremos"] {
        browser.run("document.getElementById('search').value = arguments[0]", json!([search])).await?;
        browser.run("document.getElementById('search').dispatchEvent(new Event('input'))", json!([])).await?;
        browser.run(click_each, json!([])).await?;
    }
    browser.run("document.getElementById('search').value = 'x/'", json!([])).await?;
    browser.reads("#list", attacks[0]).await?;
    // Live too.
    for attack in &attacks[..5] {
        post(&api.url(), &json!({"topico": format!("x/vivo/{}", attack.replace(['#', '+'], "")), "valor": attack}))
            .await?;
    }
    browser.reads("#list", "x/vivo/javascript").await?;
    let inert =
        "return [window.broken, document.querySelectorAll('main img, main script, main h1').length, ({}).broken]";
    assert_eq!(browser.run(inert, json!([])).await?, json!([null, 0, null]));
    let longest = browser
        .run("return Math.max(...[...document.querySelectorAll('.value')].map((v) => v.innerText.length))", json!([]));
    assert!(longest.await?.as_u64().unwrap_or(u64::MAX) < 400, "a message is shown cut");
    assert_clean(&browser, &api.url()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn it_fits_a_phone_in_the_dark_and_obeys_the_keyboard() -> Result {
    let long = "um/tópico/muito/longo/sem/nenhum/espaço/que/não/cabe/em/tela/nenhuma/de/telefone/algum";
    let rows = json!([
        message("casa/sala", "{\"temperatura\":21.5,\"umidade\":60,\"pressão\":1013.25,\"bateria\":98}", 2_000),
        message(long, "x".repeat(500), 1_000),
    ]);
    let Some((browser, api, _dir)) = page(PHONE, &rows).await? else { return Ok(()) };
    browser.reads("#list", "umidade").await?;
    browser.click(".topic").await?;
    browser.reads("#chart-summary", "1 reading").await?;
    assert_clean(&browser, &api.url()).await?;
    let ground = "return getComputedStyle(document.body).backgroundColor";
    assert_eq!(browser.run(ground, json!([])).await?, "rgb(16, 21, 23)");
    browser.screen(Screen { is_dark: false, ..PHONE }).await?;
    assert_eq!(browser.run(ground, json!([])).await?, "rgb(244, 245, 242)");
    let small = "return [...document.querySelectorAll('a, button, select, input:not([type=radio])')]
        .filter((node) => node.offsetParent !== null && node.getBoundingClientRect().height < 40 && node.className !== 'skip')
        .map((node) => node.outerHTML.slice(0, 80))";
    assert_eq!(browser.run(small, json!([])).await?, json!([]), "a finger hits everything");

    // Once around the page with the tabulator.
    browser.run("document.activeElement.blur(); document.body.focus(); scrollTo(0, 0)", json!([])).await?;
    let reachable = "return [...document.querySelectorAll('a[href], button, select, input')].filter((node) =>
        (node.offsetParent !== null || node.className === 'skip') && (node.type !== 'radio' || node.checked)).length";
    let wanted = browser.run(reachable, json!([])).await?.as_u64().unwrap_or_default();
    let mut reached = std::collections::BTreeSet::new();
    for _ in 0..=wanted {
        browser.press("\u{e004}").await?;
        let state = browser.run(FOCUS, json!([])).await?;
        assert_ne!(state[1], "none", "the focus shows: {state}");
        reached.insert(state[0].to_string());
    }
    assert!(reached.len() as u64 >= wanted, "{} of {wanted}: {reached:#?}", reached.len());
    Ok(())
}

/// What has the focus, and how that shows.
const FOCUS: &str = "
    const node = document.activeElement;
    if (node === document.body) return ['body', ''];
    const shown = node.type === 'radio' ? node.nextElementSibling : node;
    return [[...document.querySelectorAll('*')].indexOf(node), getComputedStyle(shown).outlineStyle, node.outerHTML.slice(0, 60)];";

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_asked_for_kept_in_the_tab_and_never_in_an_address() -> Result {
    let Some(browser) = Browser::start(DESKTOP).await? else { return Ok(()) };
    let dir = tempfile::tempdir()?;
    let (reader, writer) = (token(dir.path(), "leitor", "read")?, token(dir.path(), "bancada", "read+write")?);
    let api = Api::start_with(dir.path(), &[("API_TOKENS_FILE", TOKENS)]).await?;
    let insert = async |topic: &str, value: &str| {
        let request = reqwest::Client::new().post(format!("{}/dados", api.url())).bearer_auth(&writer);
        request.json(&json!({"topico": topic, "valor": value})).send().await?.error_for_status()?;
        anyhow::Ok(())
    };
    insert("casa/sala", "21.5").await?;
    browser.open(&api.url()).await?;
    browser.reads("#token-title", "Esta API pede um token").await?;
    browser.type_into("#token-input", "wrong\u{e007}").await?;
    browser.reads("#token-wrong", "não vale").await?;
    browser.type_into("#token-input", &format!("{}\u{e007}", reader)).await?;
    browser.reads("#list", "casa/sala").await?;
    following(&browser).await?;
    insert("ao/vivo", "chegou agora").await?;
    browser.reads("#list", "chegou agora").await?;
    browser.type_into("[name=valor]", "5\u{e007}").await?;
    browser.reads("#insert-result", "Este token só pode ler").await?;
    // An export goes with the token: what is saved is what was fetched.
    browser.click(".topic").await?;
    let saved = "
        const saved = new Promise((done) => { URL.createObjectURL = (blob) => { done(blob.text()); return 'data:,'; }; });
        document.getElementById('csv-series').click();
        return saved;";
    assert!(browser.run(saved, json!([])).await?.as_str().unwrap_or_default().starts_with("inicio,n,"));
    let kept = "return [sessionStorage.length, localStorage.getItem('ponte.token')]";
    assert_eq!(browser.run(kept, json!([])).await?, json!([1, null]));
    browser.click("#forget").await?;
    browser.reads("#token-title", "Esta API pede um token").await?;
    browser.press("\u{e00c}").await?;
    browser.reads("#headline", "Esta API pede um token").await?;
    browser.click("#give-token").await?;
    browser.type_into("#token-input", &format!("{}\u{e007}", writer)).await?;
    browser.type_into("[name=valor]", "6\u{e007}").await?;
    browser.reads("#insert-result", "Guardado").await?;
    let asked = asked_of(&browser, &api.url()).await?;
    assert!(asked.iter().any(|address| address.contains("/dados/ao-vivo")), "{asked:?}");
    let tokens = ["wrong", &*reader, &*writer];
    assert!(!asked.iter().any(|address| tokens.iter().any(|token| address.contains(token))), "{asked:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_way_from_the_broker_is_told() -> Result {
    let Some(browser) = Browser::start(DESKTOP).await? else { return Ok(()) };
    let Some(mut system) = System::start(&[]).await? else { return Ok(()) };
    let message = harness::publish::Outgoing::new("casa/sala", "21.5", 1);
    harness::publish::publish(system.broker.addr(), vec![message]).await?;
    system.subscriber.drained().await?;
    browser.open(&system.api.url()).await?;
    browser.reads("[data-step=broker]", "Ligado").await?;
    browser.reads("[data-step=subscriber]", "Nada à espera").await?;
    browser.reads("#headline", "Tudo certo").await?;
    system.broker.kill()?;
    browser.reads("#headline", "O subscriber não tem ligação com o broker").await?;
    system.broker.restart().await?;
    browser.reads("#headline", "Tudo certo").await?;
    assert!(mosquitto::installed());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscriber_that_is_killed_is_named_and_the_sensors_are_not_blamed() -> Result {
    let Some(browser) = Browser::start(DESKTOP).await? else { return Ok(()) };
    let Some(mut system) = System::start(&[]).await? else { return Ok(()) };
    // Every 20 s: it would be called silent after a minute.
    let rows: Vec<_> = (0..20).map(|beat| message("casa/sala", 21, (19 - beat) * 20_000)).collect();
    post(&system.api.url(), &json!(rows)).await?;
    browser.open(&system.api.url()).await?;
    browser.reads("#headline", "Tudo certo").await?;
    system.subscriber.process()?.kill()?;
    let headlines = "
        const seen = [];
        const headline = document.getElementById('headline');
        for (let at = 0; at < 600 && !seen.some((text) => text.includes('não dá notícia')); at += 1) {
            if (seen.at(-1) !== headline.innerText) seen.push(headline.innerText);
            await new Promise((done) => setTimeout(done, 100));
        }
        return seen;";
    let seen = browser.run(&format!("return (async () => {{{headlines}}})()"), json!([])).await?;
    assert_eq!(seen, json!(["Tudo certo", "O subscriber não dá notícia"]));
    browser.reads("[data-step=sensors]", "Não se sabe agora").await?;
    browser.reads("[data-step=broker]", "Não se sabe agora").await?;
    browser.holds("/(7|8|9)\\d\u{a0}s/.test(document.querySelector('.topic .age').innerText)").await?;
    assert_eq!(browser.run("return document.querySelectorAll('.topic.silent').length", json!([])).await?, 0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_api_ages_go_on_and_the_page_turns_grey() -> Result {
    let rows = json!([message("casa/sala", 1, 1_000)]);
    let Some((browser, mut api, _dir)) = page(DESKTOP, &rows).await? else { return Ok(()) };
    browser.reads("#headline", "Tudo certo").await?;
    api.kill()?;
    browser.reads("#headline", "A API não responde").await?;
    browser.reads("#subline", "A última resposta veio há").await?;
    let age = "Number(/\\d+/.exec(document.querySelector('.topic .age').innerText)[0])";
    let at_first = browser.run(&format!("return {age}"), json!([])).await?;
    browser.holds(&format!("{age} > {at_first}")).await?;
    browser.holds("getComputedStyle(document.getElementById('topics')).filter === 'grayscale(1)'").await?;
    api.restart().await?;
    browser.holds("getComputedStyle(document.getElementById('topics')).filter === 'none'").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_of_texts_falls_silent_too() -> Result {
    let rows: Vec<_> = (0..10).map(|second| message("portão", "aberto", 3_600_000 - second * 1_000)).collect();
    let Some((browser, _api, _dir)) = page(DESKTOP, &json!(rows)).await? else { return Ok(()) };
    browser.reads(".topic.silent .name", "portão").await
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_minutes_are_charted_reading_by_reading() -> Result {
    let rows: Vec<_> = (0..60).map(|second| message("casa/sala", second, 120_000 - second * 1_000)).collect();
    let Some((browser, api, _dir)) = page(PHONE, &json!(rows)).await? else { return Ok(()) };
    browser.reads("#list", "casa/sala").await?;
    browser.click(".topic").await?;
    browser.click("#ranges input[value='10m']").await?;
    browser.reads("#chart-summary", "60 readings: minimum 0").await?;
    // The legend is beside the plot, never over it.
    let places = "
        const [plot, legend] = ['.u-wrap', '.u-legend'].map((css) => document.querySelector(css).getBoundingClientRect());
        return [legend.height > 0, legend.top >= plot.bottom];";
    assert_eq!(browser.run(places, json!([])).await?, json!([true, true]));
    let asked = asked_of(&browser, &api.url()).await?;
    assert!(asked.iter().any(|address| address.contains("/dados?") && address.contains("desde=-10m")), "{asked:?}");
    assert!(!asked.iter().any(|address| address.contains("/series?") && address.contains("desde=-10m")), "{asked:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_number_is_typed_as_people_write_it_and_told_before_it_is_sent() -> Result {
    let Some((browser, api, _dir)) = page(DESKTOP, &json!([])).await? else { return Ok(()) };
    browser.type_into("[name=topico]", "bancada/1").await?;
    browser.type_into("[name=valor]", "23,5").await?;
    browser.reads("#insert-preview", "Será guardado o número 23.5").await?;
    browser.type_into("[name=valor]", "\u{e007}").await?;
    browser.reads("#insert-result", "Guardado com o número 1").await?;
    assert_eq!(api.rows().values("bancada/1").await?, ["23.5"]);
    assert_clean(&browser, &api.url()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn its_pure_modules_do_what_they_say() -> Result {
    let Some((browser, _api, _dir)) = page(DESKTOP, &json!([])).await? else { return Ok(()) };
    // A script of WebDriver is a function's body, which may not wait.
    let script = format!("return (async () => {{\n{}\n}})()", include_str!("page/modules.js"));
    assert_eq!(browser.run(&script, json!([])).await?, json!([]));
    Ok(())
}
