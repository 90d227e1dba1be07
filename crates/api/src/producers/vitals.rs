//! How each producer was at its last report. Not in the database: it is of no use once it is old.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use dados::{Estado, Produtor};
use uuid::Uuid;

/// Producers of which it is kept: more than anybody has. Of further ones it is not known.
const PRODUCERS_MAX: usize = 1_000;

/// What producers have said since the start.
#[derive(Debug, Default)]
pub(crate) struct Vitals(Mutex<HashMap<Uuid, Estado>>);

impl Vitals {
    /// Takes what a producer says, or that it says nothing any more.
    pub(crate) fn told(&self, producer: Uuid, estado: Option<Estado>) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match estado {
            Some(estado) if known.len() < PRODUCERS_MAX || known.contains_key(&producer) => {
                known.insert(producer, estado);
            }
            Some(_) => {}
            None => {
                known.remove(&producer);
            }
        }
    }

    /// A ledger with what is known of its producer.
    pub(crate) fn of(&self, ledger: Produtor) -> Produtor {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Produtor { estado: known.get(&ledger.produtor).cloned(), ..ledger }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn producers_are_bounded_and_the_known_ones_are_heard() {
        let vitals = Vitals::default();
        let known = |vitals: &Vitals| vitals.0.lock().unwrap().len();
        for number in 0..=PRODUCERS_MAX as u128 {
            vitals.told(Uuid::from_u128(number), Some(Estado::default()));
        }
        assert_eq!(known(&vitals), PRODUCERS_MAX);
        vitals.told(Uuid::nil(), Some(Estado { conectado: true, ..Estado::default() }));
        assert!(vitals.0.lock().unwrap()[&Uuid::nil()].conectado);
        vitals.told(Uuid::nil(), None);
        assert_eq!(known(&vitals), PRODUCERS_MAX - 1);
    }
}
