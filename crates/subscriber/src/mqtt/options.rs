//! What CONNECT asks for, and which certificates are trusted.

use std::path::Path;
use std::sync::Arc;

use rumqttc::v5::MqttOptions;
use rumqttc::{NetworkOptions, TlsConfiguration};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use secrecy::ExposeSecret;
use service::{Exit, Fatal, file};

use crate::config::{Mqtt, Transport};

/// The most QoS 1 messages that the broker may send before the first is acknowledged.
const RECEIVE_MAXIMUM: u16 = 1000;
/// The same where a filter asks for QoS 2: mosquitto collapses with a large window.
const RECEIVE_MAXIMUM_QOS2: u16 = 100;
/// The largest file of certificates or of a key: that of all public authorities has a quarter of it.
const PEM_BYTES_MAX: u64 = 1 << 20;
/// We publish nothing; rumqttc would set aside 14 MB for what we might.
const OUTGOING_INFLIGHT_MAX: u16 = 16;
/// TCP, TLS and CONNACK together.
pub(super) const CONNECT_SECONDS_MAX: u64 = 10;

/// The most messages that may be on their way, and so the most that one commit stores, nearly.
pub(crate) fn receive_maximum(is_qos2: bool) -> u16 {
    if is_qos2 { RECEIVE_MAXIMUM_QOS2 } else { RECEIVE_MAXIMUM }
}

/// rumqttc's options for these settings. Certificates are read here, once.
pub(super) fn build(config: &Mqtt, client_id: &str) -> Result<MqttOptions, Fatal> {
    let broker = &config.broker;
    let host = match broker.transport {
        Transport::Ws | Transport::Wss => broker.url(),
        // rumqttc puts host and port together with a colon; for TLS the host is the name in the certificate as well.
        Transport::Tcp => broker.host_in_authority(),
        Transport::Tls => broker.host.clone(),
    };
    let mut options = MqttOptions::new(client_id, host, broker.port);
    options.set_transport(match broker.transport {
        Transport::Tcp => rumqttc::Transport::tcp(),
        Transport::Ws => rumqttc::Transport::ws(),
        Transport::Tls => rumqttc::Transport::tls_with_config(tls(config)?),
        Transport::Wss => rumqttc::Transport::wss_with_config(tls(config)?),
    });
    if let Some((user, password)) = &config.credentials {
        options.set_credentials(user, password.expose_secret());
    }
    let mut network = NetworkOptions::new();
    network.set_tcp_nodelay(true);
    options
        .set_manual_acks(true)
        .set_clean_start(false)
        .set_keep_alive(config.keep_alive)
        .set_connection_timeout(CONNECT_SECONDS_MAX)
        .set_session_expiry_interval(Some(config.session_expiry_s))
        .set_receive_maximum(Some(receive_maximum(config.is_qos2())))
        .set_max_packet_size(Some(config.packet_bytes_max))
        .set_outgoing_inflight_upper_limit(OUTGOING_INFLIGHT_MAX)
        .set_network_options(network);
    Ok(options)
}

fn tls(config: &Mqtt) -> Result<TlsConfiguration, Fatal> {
    let roots = match &config.ca_file {
        Some(path) => roots_of_file(path)?,
        None => roots_of_system()?,
    };
    let builder = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| Fatal::new(Exit::Software, error))?
        .with_root_certificates(roots);
    let client = match &config.identity_files {
        None => builder.with_no_client_auth(),
        Some((cert, key)) => {
            let chain = certificates(cert, "MQTT_CERT_FILE")?;
            let bad = |problem: &dyn std::fmt::Display| {
                let text = format_args!("{}: {problem}; expected a private key in PEM", key.display());
                Fatal::setting("MQTT_KEY_FILE", text)
            };
            let text = file::read(key, PEM_BYTES_MAX).map_err(|error| bad(&error))?;
            let key = PrivateKeyDer::from_pem_slice(&text).map_err(|error| bad(&error))?;
            builder.with_client_auth_cert(chain, key).map_err(|error| {
                Fatal::setting(
                    "MQTT_CERT_FILE",
                    format_args!("{}: {error}; expected the certificate of MQTT_KEY_FILE", cert.display()),
                )
            })?
        }
    };
    Ok(TlsConfiguration::Rustls(Arc::new(client)))
}

fn certificates(path: &Path, variable: &str) -> Result<Vec<CertificateDer<'static>>, Fatal> {
    let bad = |problem: String| {
        Fatal::setting(variable, format_args!("{}: {problem}; expected certificates in PEM", path.display()))
    };
    let text = file::read(path, PEM_BYTES_MAX).map_err(|error| bad(error.to_string()))?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    match chain {
        Ok(chain) if chain.is_empty() => Err(bad("no certificate in it".into())),
        Ok(chain) => Ok(chain),
        Err(error) => Err(bad(error.to_string())),
    }
}

fn roots_of_file(path: &Path) -> Result<RootCertStore, Fatal> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path, "MQTT_CA_FILE")? {
        roots
            .add(certificate)
            .map_err(|error| Fatal::setting("MQTT_CA_FILE", format_args!("{}: {error}", path.display())))?;
    }
    Ok(roots)
}

fn roots_of_system() -> Result<RootCertStore, Fatal> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(found.certs);
    if added == 0 {
        let why = found.errors.first().map_or_else(|| "none installed".to_owned(), ToString::to_string);
        return Err(Fatal::setting(
            "MQTT_CA_FILE",
            format_args!("this system has no certificate authorities ({why}); expected a PEM file with the broker's"),
        ));
    }
    Ok(roots)
}
