//! Messages that are captured before the subscriber's clock is set get their right time once it is.

use std::fs;
use std::path::PathBuf;

use dados::Timestamp;
use harness::broker::mosquitto::Options;
use harness::publish::{numbered, publish};
use harness::system::{Api, Subscriber};

use super::{Result, numbers};

const MESSAGES: usize = 20;

/// The library of the package `faketime`, which gives a program another clock.
fn faketime() -> Option<PathBuf> {
    let folders = fs::read_dir("/usr/lib").ok()?.filter_map(|entry| Some(entry.ok()?.path()));
    folders.map(|folder| folder.join("faketime/libfaketime.so.1")).find(|library| library.exists())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_captured_in_1970_is_stored_with_its_right_time() -> Result {
    let Some(library) = faketime() else {
        harness::skipped("faketime is not installed");
        return Ok(());
    };
    let Some((broker, dir)) = super::broker(Options::default()).await? else { return Ok(()) };
    let api = Api::start(dir.path()).await?;
    let clock = dir.path().join("clock");
    fs::write(&clock, "@1970-01-01 00:00:40")?;
    let settings = [
        ("LD_PRELOAD", library.to_string_lossy()),
        ("FAKETIME_TIMESTAMP_FILE", clock.to_string_lossy()),
        ("FAKETIME_NO_CACHE", "1".into()),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1".into()),
        ("TZ", "UTC".into()),
    ];
    let settings: Vec<(&str, &str)> = settings.iter().map(|(name, value)| (*name, &**value)).collect();
    let mut subscriber = Subscriber::start(dir.path(), &broker.url(), &api.url(), &settings)?;
    subscriber.ready().await?;
    let before_ms = Timestamp::now().as_ms();
    publish(broker.addr(), numbered("casa/sala", 0, MESSAGES, 1)).await?;
    subscriber.until("all are captured", |status| status["spool"]["captured"] == MESSAGES).await?;
    let after_ms = Timestamp::now().as_ms();
    // It is known over a crash too.
    subscriber.process()?.kill()?;
    subscriber.restart()?;
    subscriber.ready().await?;
    assert_eq!(subscriber.status().await?["spool"]["waiting"], MESSAGES, "they wait for the clock");
    assert_eq!(api.rows().all().await?.len(), 0);

    // NTP has answered.
    fs::write(&clock, "+0")?;
    subscriber.drained().await?;
    assert_eq!(api.rows().values("casa/sala").await?, numbers(0, MESSAGES));
    for row in api.rows().all().await? {
        assert_eq!(row.hora_corrigida, Some(true), "{row:?}");
        let at_ms = row.timestamp.as_deref().unwrap_or_default().parse::<Timestamp>()?.as_ms();
        assert!((before_ms - 1_000..=after_ms + 1_000).contains(&at_ms), "{row:?}");
    }
    // What comes now needs no correction.
    publish(broker.addr(), numbered("casa/quarto", 0, 1, 1)).await?;
    subscriber.until("one more is captured", |status| status["spool"]["captured"] == MESSAGES + 1).await?;
    subscriber.drained().await?;
    let rows = api.rows().all().await?;
    let last = rows.iter().find(|row| row.topico.as_deref() == Some("casa/quarto")).expect("it is stored");
    assert_eq!(last.hora_corrigida, None);
    Ok(())
}
