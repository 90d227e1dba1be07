//! The system under torture, and what each fault does to it.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use tokio::task::block_in_place;

use super::Options;
use super::attack;
use super::journal::Journal;
use super::ledger::Shared;
use super::memory::Curve;
use super::message::STORED_BYTES_TYPICAL;
use super::schedule::{Fault, Held, Kind};
use super::traffic::Traffic;
use super::wire::Wire;
use crate::PATIENCE;
use crate::broker::mosquitto::{self, Mosquitto};
use crate::disk::Disk;
use crate::proxy::Proxy;
use crate::system::{Api, Subscriber};

const SPOOL_DISK_BYTES: u64 = 128 << 20;
/// Beside what the messages take.
const DATABASE_DISK_BYTES_EXTRA: u64 = 256 << 20;
/// Small enough for the spool to take many segments in a short run.
const SPOOL_BYTES_MAX: &str = "64MiB";
const PACKET_BYTES_MAX: &str = "1MiB";
/// The shortest that rumqttc takes: a connection that is held still is noticed within a fault.
const KEEP_ALIVE: &str = "5s";
/// More than one commit, so that some of them are acknowledged for certain.
const SABOTAGED_MIN: u64 = 100;
const SLOW: Duration = Duration::from_millis(150);

/// Everything that runs, in the order in which it is taken down.
pub(super) struct Stage {
    pub(super) subscriber: Subscriber,
    pub(super) api: Api,
    pub(super) traffic: Traffic,
    pub(super) journal: Journal,
    pub(super) memory: [Curve; 2],
    broker: Mosquitto,
    broker_link: Proxy,
    api_link: Proxy,
    disks: Option<(Disk, Disk)>,
    began: Instant,
    subscriber_is_up: bool,
    api_is_up: bool,
}

impl Stage {
    /// All of it, ready, with messages flowing.
    pub(super) async fn set(dir: &Path, options: &Options, ledger: Shared) -> anyhow::Result<Self> {
        let dirs = ["mosquitto", "api", "subscriber"].map(|name| dir.join(name));
        dirs.iter().try_for_each(std::fs::create_dir)?;
        let [broker_dir, api_dir, subscriber_dir] = &dirs;
        let (spool, banco) = (subscriber_dir.join("spool"), api_dir.join("banco"));
        let messages = options.length.as_secs() * u64::from(options.rate);
        let banco_bytes = messages * STORED_BYTES_TYPICAL + DATABASE_DISK_BYTES_EXTRA;
        let disks = Disk::mount(&spool, SPOOL_DISK_BYTES)?.zip(Disk::mount(&banco, banco_bytes)?);
        // Else a kill takes everything since the start, and there is nothing to tell apart.
        let extra = if options.broker_kill { "autosave_interval 2\n" } else { "" };
        let broker_options = mosquitto::Options { extra: extra.into(), ..mosquitto::Options::default() };
        let broker = Mosquitto::start(broker_dir, broker_options).await?;
        let log = options.wire_log.then(|| dir.join("wire.log"));
        let wire = std::sync::Mutex::new(Wire::new(ledger.clone(), log.as_deref())?);
        let hear = move |number, way, bytes: &[u8]| wire.lock().expect("no holder panics").hear(number, way, bytes);
        let broker_link = Proxy::tapped(broker.addr(), std::sync::Arc::new(hear)).await?;
        let database = format!("sqlite:{}", banco.join("dados.db").display());
        let api = Api::start_with(api_dir, &[("DATABASE_URL", &database)]).await?;
        let api_link = Proxy::start(api.addr()).await?;
        let settings = [
            ("MQTT_TOPICS", "#:2"),
            ("MQTT_CLIENT_ID", "tortura"),
            ("MQTT_KEEP_ALIVE", KEEP_ALIVE),
            ("MQTT_PACKET_BYTES_MAX", PACKET_BYTES_MAX),
            ("SPOOL_MAX_BYTES", SPOOL_BYTES_MAX),
        ];
        let (broker_url, api_url) = (format!("mqtt://{}", broker_link.addr()), format!("http://{}", api_link.addr()));
        let mut subscriber = Subscriber::start(subscriber_dir, &broker_url, &api_url, &settings)?;
        subscriber.ready().await?;
        let mut traffic = Traffic::new(broker.addr(), options.seed, options.rate, ledger);
        traffic.resume();
        let journal = Journal::create(&dir.join("faults.log"))?;
        let memory = [Curve::new(options.length), Curve::new(options.length)];
        let began = Instant::now();
        let (subscriber_is_up, api_is_up) = (true, true);
        Ok(Self {
            subscriber,
            api,
            traffic,
            journal,
            memory,
            broker,
            broker_link,
            api_link,
            disks,
            began,
            subscriber_is_up,
            api_is_up,
        })
    }

    /// Whether there are disks that can be filled.
    pub(super) fn has_disks(&self) -> bool {
        self.disks.is_some()
    }

    pub(super) async fn begin(&mut self, fault: &Fault, ledger: &Shared) -> anyhow::Result<()> {
        self.journal.begin(fault);
        match fault.kind {
            Kind::KillSubscriber => {
                self.subscriber_is_up = false;
                self.subscriber.process()?.kill()?;
            }
            Kind::KillApi => {
                self.api_is_up = false;
                self.api.process()?.kill()?;
            }
            Kind::StopSubscriber => {
                self.subscriber_is_up = false;
                self.subscriber.process()?.signal("TERM")?;
            }
            Kind::StopApi => {
                self.api_is_up = false;
                self.api.process()?.signal("TERM")?;
            }
            Kind::KillBroker => {
                self.traffic.pause().await?;
                ledger.lock().expect("no holder panics").broker_dies();
                self.broker.kill()?;
            }
            Kind::StopBroker => {
                self.traffic.pause().await?;
                block_in_place(|| self.broker.stop())?;
            }
            Kind::FreezeSubscriber => self.subscriber.process()?.signal("STOP")?,
            Kind::FreezeApi => self.api.process()?.signal("STOP")?,
            Kind::FreezeBroker => self.broker.process()?.signal("STOP")?,
            Kind::CutBroker => self.broker_link.cut(),
            Kind::CutApi => self.api_link.cut(),
            Kind::HoldBroker => hold(&self.broker_link, fault.held),
            Kind::HoldApi => hold(&self.api_link, fault.held),
            Kind::SlowApi => self.api_link.change(|weather| weather.delay = SLOW),
            Kind::FillSpool => self.disks.as_ref().map_or(Ok(()), |(spool, _)| spool.fill())?,
            Kind::FillDatabase => self.disks.as_ref().map_or(Ok(()), |(_, banco)| banco.fill())?,
            Kind::TakeName => self.take_name().await,
            Kind::TakeNameDown => {
                self.subscriber_is_up = false;
                self.subscriber.process()?.kill()?;
                self.take_name().await;
            }
        }
        Ok(())
    }

    pub(super) async fn end(&mut self, fault: &Fault) -> anyhow::Result<()> {
        match fault.kind {
            Kind::KillSubscriber | Kind::StopSubscriber | Kind::TakeNameDown => {
                self.until_the_subscriber_is_gone()?;
                self.subscriber.restart()?;
                self.subscriber_is_up = true;
            }
            Kind::KillApi | Kind::StopApi => {
                self.until_the_api_is_gone()?;
                self.api.launch()?;
                self.api_is_up = true;
            }
            Kind::KillBroker | Kind::StopBroker => {
                self.broker.restart().await?;
                self.traffic.resume();
            }
            Kind::FreezeSubscriber => self.subscriber.process()?.signal("CONT")?,
            Kind::FreezeApi => self.api.process()?.signal("CONT")?,
            Kind::FreezeBroker => self.broker.process()?.signal("CONT")?,
            Kind::CutBroker | Kind::CutApi | Kind::TakeName => {}
            Kind::HoldBroker => release(&self.broker_link, fault.then_cut),
            Kind::HoldApi => release(&self.api_link, fault.then_cut),
            Kind::SlowApi => self.api_link.change(|weather| weather.delay = Duration::ZERO),
            Kind::FillSpool => self.disks.as_ref().map_or(Ok(()), |(spool, _)| spool.free())?,
            Kind::FillDatabase => self.disks.as_ref().map_or(Ok(()), |(_, banco)| banco.free())?,
        }
        self.journal.end(fault);
        Ok(())
    }

    /// The API may be down: then there is nothing to take.
    async fn take_name(&mut self) {
        let note = match attack::take_name(&self.api.url()).await {
            Ok([next, unreported, forged]) => format!("attack: {next}; unreported {unreported}; forged {forged}"),
            Err(error) => format!("attack: {error:#}"),
        };
        self.journal.note(&note);
    }

    /// Takes away what the subscriber has acknowledged and not delivered yet, to see that the oracle notices.
    pub(super) async fn sabotage(&mut self) -> anyhow::Result<()> {
        self.journal.note("sabotage");
        self.api.kill()?;
        // What waits now the API may have stored all the same; what comes from now on it has not.
        let status = self.subscriber.status().await?;
        let enough = status["spool"]["waiting"].as_u64().map(|waiting| waiting + SABOTAGED_MIN);
        self.subscriber.until("messages wait", |status| status["spool"]["waiting"].as_u64() >= enough).await?;
        self.subscriber.process()?.kill()?;
        wipe(&self.subscriber.spool())?;
        self.subscriber.restart()?;
        self.api.launch()
    }

    fn until_the_subscriber_is_gone(&mut self) -> anyhow::Result<()> {
        let status = block_in_place(|| self.subscriber.process()?.wait(PATIENCE)).context("it was told to stop")?;
        self.journal.ended("subscriber", Kind::FillSpool, status);
        Ok(())
    }

    fn until_the_api_is_gone(&mut self) -> anyhow::Result<()> {
        let status = block_in_place(|| self.api.process()?.wait(PATIENCE)).context("it was told to stop")?;
        self.journal.ended("API", Kind::FillDatabase, status);
        Ok(())
    }

    /// Does what a service manager does: starts again what has ended by itself. And looks at the memory.
    pub(super) fn look_after(&mut self) -> anyhow::Result<()> {
        let at = self.began.elapsed();
        self.memory[0].sample(at, self.subscriber.process().ok());
        self.memory[1].sample(at, self.api.process().ok());
        if self.subscriber_is_up
            && let Some(status) = self.subscriber.process()?.ended()
        {
            self.journal.died("subscriber", Kind::FillSpool, status);
            self.subscriber.restart()?;
        }
        if self.api_is_up
            && let Some(status) = self.api.process()?.ended()
        {
            self.journal.died("API", Kind::FillDatabase, status);
            self.api.launch()?;
        }
        Ok(())
    }
}

fn hold(link: &Proxy, held: Held) {
    link.change(|weather| {
        weather.holds_to_server = held != Held::ToSubscriber;
        weather.holds_to_client = held != Held::FromSubscriber;
    });
}

/// What is held is lost with its connections, or goes on.
fn release(link: &Proxy, then_cut: bool) {
    if then_cut {
        link.cut();
    }
    link.change(|weather| (weather.holds_to_server, weather.holds_to_client) = (false, false));
}

/// Deletes every segment.
fn wipe(spool: &Path) -> anyhow::Result<()> {
    for entry in std::fs::read_dir(spool)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "seg") {
            std::fs::remove_file(path)?;
        }
    }
    Ok(())
}
