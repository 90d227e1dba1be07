//! One connection to the broker, to see whether the settings are good; it leaves the real session alone.

use std::time::Duration;

use rumqttc::v5::mqttbytes::v5::{ConnAck, Packet};
use rumqttc::v5::{AsyncClient, Event};
use service::Fatal;

use super::fault::Fault;
use super::options;
use crate::config::Mqtt;

const PATIENCE: Duration = Duration::from_secs(15);

/// Connects under another client id with a session that ends at once, and says goodbye. Gives a line about the broker,
/// or the fault in words. A bad setting (certificates) is [`Fatal`].
pub async fn connect(config: &Mqtt) -> Result<Result<String, String>, Fatal> {
    let client_id = format!("ponte-check-{:08x}", fastrand::u32(..));
    let mut options = options::build(config, &client_id)?;
    options.set_clean_start(true).set_session_expiry_interval(Some(0));
    let (client, mut eventloop) = AsyncClient::new(options, 8);
    let talk = async {
        loop {
            match eventloop.poll().await {
                Ok(Event::Incoming(Packet::ConnAck(connack))) => {
                    let _ = client.try_disconnect();
                    let line = describe(&connack);
                    // The goodbye goes out with the next polls; how it ends does not matter any more.
                    let _ = eventloop.poll().await;
                    return Ok(line);
                }
                Ok(_) => {}
                Err(error) => return Err(Fault::from(error).message),
            }
        }
    };
    Ok(tokio::time::timeout(PATIENCE, talk).await.unwrap_or_else(|_| Err("no connection in time".into())))
}

fn describe(connack: &ConnAck) -> String {
    let mut line = "connected with MQTT 5".to_owned();
    if let Some(properties) = &connack.properties {
        if let Some(qos) = properties.max_qos {
            line.push_str(&format!(", at most QoS {qos}"));
        }
        if let Some(bytes) = properties.max_packet_size {
            line.push_str(&format!(", packets up to {bytes} bytes"));
        }
        if properties.shared_subscription_available == Some(0) {
            line.push_str(", no shared subscriptions");
        }
        if properties.wildcard_subscription_available == Some(0) {
            line.push_str(", no wildcards");
        }
    }
    line
}
