//! What the API is told of us, for its ledger: how many messages came, and what became of them.

use std::time::{Duration, Instant};

use dados::produtor::FAULT_CHARS_MAX;
use dados::{Estado, Relato};
use tracing::error;

use super::Forwarder;
use crate::spool::Progress;

/// How often the API is told how far we are, changed or not: the live page takes a subscriber that misses two reports
/// for stopped. The API writes a report that says nothing new once a minute only.
const REPORT_EVERY: Duration = Duration::from_secs(10);

impl Forwarder {
    /// When the API is told next.
    pub(super) fn report_due(&self) -> Instant {
        self.reported_at + REPORT_EVERY
    }

    /// Tells the API how far we are, for its ledger; an outage shows at the next batch.
    pub(super) async fn report_if_due(&mut self) {
        if Instant::now() < self.report_due() {
            return;
        }
        match self.report().await {
            Ok(()) => self.recovered(),
            Err(fault) => self.status.api_failed(fault),
        }
    }

    pub(super) async fn report_until_taken(&mut self) {
        while let Err(fault) = self.report().await {
            self.failed(fault, None).await;
        }
        self.recovered();
        self.must_report = false;
    }

    async fn report(&mut self) -> Result<(), String> {
        self.reported_at = Instant::now();
        let relato = self.relato();
        let ledger = self.client.report(self.progress().producer, &relato).await?;
        if self.status.missing(ledger.faltando) && ledger.faltando != 0 {
            error!(missing = ledger.faltando, "the API's ledger does not come out even: was its database put back?");
        }
        Ok(())
    }

    fn relato(&self) -> Relato {
        let usage = self.gauge.usage();
        let (conectado, falha) = self.status.intake();
        let estado = Estado {
            conectado,
            falha: falha.map(|fault| fault.chars().take(FAULT_CHARS_MAX).collect()),
            spool_bytes: usage.bytes,
            spool_bytes_max: usage.bytes_max,
        };
        let Progress { base, acked, quarantined, damaged, .. } = usage.progress;
        Relato {
            recebidas: usage.next_sequence - 1 - base,
            confirmadas: acked - base,
            quarentena: quarantined,
            danificadas: damaged,
            nome: self.name.clone(),
            estado: Some(estado),
        }
    }
}
