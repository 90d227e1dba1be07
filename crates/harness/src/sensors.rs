//! Simulated sensors: JSON readings on several topics, one a second each.

use std::net::SocketAddr;
use std::time::Duration;

use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::{AsyncClient, MqttOptions};
use tokio::time::{MissedTickBehavior, interval, sleep};
use tokio_util::sync::CancellationToken;
use tracing::warn;

const EVERY: Duration = Duration::from_secs(1);
const RECONNECT: Duration = Duration::from_secs(1);

/// A place with a slowly wandering temperature and humidity.
struct Sensor {
    topic: &'static str,
    temperature: f64,
    humidity: f64,
}

const TOPICS: [(&str, f64, f64); 4] =
    [("casa/sala", 22.0, 55.0), ("casa/quarto", 20.5, 60.0), ("estufa/1", 28.0, 80.0), ("jardim", 18.0, 70.0)];

/// Publishes until `token` is cancelled.
pub async fn run(broker: SocketAddr, token: CancellationToken) {
    let mut options = MqttOptions::new("sensores-simulados", broker.ip().to_string(), broker.port());
    options.set_keep_alive(Duration::from_secs(10));
    let (client, mut eventloop) = AsyncClient::new(options, 64);
    let mut sensors = TOPICS.map(|(topic, temperature, humidity)| Sensor { topic, temperature, humidity });
    let publish = async {
        let mut tick = interval(EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            tick.tick().await;
            for sensor in &mut sensors {
                // A queue that is full while the broker is away skips a reading, as a real sensor would.
                let _ = client.try_publish(sensor.topic, QoS::AtLeastOnce, false, sensor.read());
            }
        }
    };
    let poll = async {
        loop {
            if let Err(error) = eventloop.poll().await {
                warn!(%error, "the simulated sensors have no broker");
                sleep(RECONNECT).await;
            }
        }
    };
    tokio::select! {
        () = token.cancelled() => {}
        () = publish => {}
        () = poll => {}
    }
}

impl Sensor {
    fn read(&mut self) -> String {
        self.temperature += fastrand::f64() * 0.4 - 0.2;
        self.humidity = (self.humidity + fastrand::f64() - 0.5).clamp(20.0, 100.0);
        format!(r#"{{"temperatura":{:.2},"umidade":{:.1}}}"#, self.temperature, self.humidity)
    }
}
