//! The pictures of the page in `docs/screenshots`: taken only where `PONTE_WRITE_SCREENSHOTS=1` asks for it, with
//! pngquant installed.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::ensure;
use harness::broker::mosquitto::Options;
use harness::disk::Disk;
use harness::system::{Api, Subscriber};
use serde_json::{Value, json};

use super::browser::{Browser, DESKTOP, PHONE, Screen};
use super::{message, post};
use crate::{Result, broker};

const WANTED: &str = "PONTE_WRITE_SCREENSHOTS";
const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/screenshots");
/// A picture in the documents is no larger.
const BYTES_MAX: u64 = 60 << 10;
const DISK_BYTES: u64 = 24 << 20;

#[tokio::test(flavor = "multi_thread")]
async fn screenshots_are_written_where_they_are_wanted() -> Result {
    if std::env::var_os(WANTED).is_none() {
        return Ok(());
    }
    let Some((mut broker, dir)) = broker(Options::default()).await? else { return Ok(()) };
    let disk = Disk::mount(&dir.path().join("disk"), DISK_BYTES)?;
    let home = disk.as_ref().map_or(dir.path().to_owned(), |_| dir.path().join("disk"));
    let settings = [("METABASE_LINK", "http://localhost:3000")];
    let mut api = Api::start_with(&home, &settings).await?;
    let mut subscriber = Subscriber::start(dir.path(), &broker.url(), &api.url(), &[])?;
    subscriber.ready().await?;
    let Some(desk) = Browser::start(DESKTOP).await? else { return Ok(()) };
    let Some(phone) = Browser::start(Screen { language: "pt-BR", ..PHONE }).await? else { return Ok(()) };
    desk.open(&api.url()).await?;
    desk.reads("[data-step=broker]", "Ligado").await?;
    take(&desk, DESKTOP, "empty").await?;

    post(&api.url(), &json!(history())).await?;
    let live = live(api.url());
    tokio::pin!(live);
    let busy = async {
        for (browser, screen, name) in [(&desk, DESKTOP, "busy"), (&phone, PHONE, "busy-phone-dark")] {
            browser.open(&api.url()).await?;
            browser.reads("#list", "estufa/1").await?;
            browser.run("document.querySelector('.topic').click()", json!([])).await?;
            browser.reads("#chart-summary", "leituras").await?;
            tokio::time::sleep(std::time::Duration::from_secs(45)).await;
            take(browser, screen, name).await?;
        }
        take(&desk, Screen { is_dark: true, ..DESKTOP }, "busy-dark").await
    };
    tokio::select! {
        done = busy => done?,
        ended = &mut live => ended?,
    }

    broker.kill()?;
    phone.reads("#headline", "broker").await?;
    take(&phone, Screen { is_dark: false, ..PHONE }, "broker-lost-phone").await?;
    broker.restart().await?;
    desk.reads("[data-step=broker]", "Ligado").await?;
    if let Some(disk) = &disk {
        disk.fill()?;
        // It shows with the first message that finds no room.
        let full = async || {
            Ok(post(&api.url(), &json!({"topico": "oficina/câmera", "valor": "x".repeat(100_000)}))
                .await
                .err()
                .map(drop))
        };
        harness::eventually("the disk is full", harness::PATIENCE, full).await?;
        desk.reads("#headline", "disco está cheio").await?;
        take(&desk, DESKTOP, "disk-full").await?;
        disk.free()?;
    }
    subscriber.process()?.kill()?;
    api.kill()?;
    desk.reads("#headline", "A API não responde").await?;
    take(&desk, Screen { is_dark: true, ..DESKTOP }, "api-gone-dark").await
}

/// An hour of a few sensors, one of which has stopped.
fn history() -> Vec<Value> {
    let mut rows = Vec::new();
    for second in (0..3_600).rev().step_by(5) {
        let wave = f64::from(second) / 500.0;
        let age = i64::from(second) * 1_000;
        for (topic, base) in [("casa/quarto", 20.5), ("casa/sala", 22.0), ("estufa/1", 28.0)] {
            let noise = fastrand::f64() * 0.3;
            let (t, u) = (base + wave.sin() + noise, 60.0 + 8.0 * (wave / 2.0).cos() + noise);
            rows.push(message(topic, format!("{{\"temperatura\":{t:.2},\"umidade\":{u:.1}}}"), age));
        }
        if second > 900 {
            rows.push(message("jardim/solo", format!("{:.1}", 41.0 - wave), age));
        }
    }
    rows.push(message("portão", "aberto", 240_000));
    rows.push(message("oficina/estado", "parada", 1_200_000));
    rows
}

/// The same sensors go on.
async fn live(url: String) -> Result {
    let mut wave = 0.0_f64;
    loop {
        wave -= 0.01;
        let mut rows = Vec::new();
        for (topic, base) in [("casa/quarto", 20.5), ("casa/sala", 22.0), ("estufa/1", 28.0)] {
            let noise = fastrand::f64() * 0.3;
            let (t, u) = (base + wave.sin() + noise, 68.0 + noise);
            rows.push(message(topic, format!("{{\"temperatura\":{t:.2},\"umidade\":{u:.1}}}"), 0));
        }
        post(&url, &json!(rows)).await?;
        tokio::time::sleep(std::time::Duration::from_millis(500 + fastrand::u64(..700))).await;
    }
}

async fn take(browser: &Browser, screen: Screen, name: &str) -> Result {
    browser.screen(screen).await?;
    std::fs::create_dir_all(FOLDER)?;
    let path: PathBuf = Path::new(FOLDER).join(format!("{name}.png"));
    browser.picture(&path).await?;
    browser.screen(screen).await?;
    let mut pngquant = Command::new("pngquant");
    pngquant.args(["--force", "--speed=1", "--strip", "--nofs", "--ext=.png", "64"]).arg(&path);
    ensure!(pngquant.status().is_ok_and(|status| status.success()), "pngquant is not installed");
    let bytes = std::fs::metadata(&path)?.len();
    ensure!(bytes <= BYTES_MAX, "{} has {bytes} bytes", path.display());
    Ok(())
}
