//! Every word that people read in Metabase, in both languages.

use crate::config::Locale;

/// A card's name, and what it shows in a sentence.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Title {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
}

/// The words of one language.
#[derive(Debug)]
pub(crate) struct Words {
    pub(crate) collection: Title,
    pub(crate) dashboard: Title,
    pub(crate) minutes: Title,
    pub(crate) hours: Title,
    pub(crate) latest: Title,
    pub(crate) messages: Title,
    pub(crate) fields: Title,
    pub(crate) newest: Title,
    pub(crate) producers: Title,
    pub(crate) mean: &'static str,
    pub(crate) count: &'static str,
    pub(crate) period: &'static str,
    pub(crate) period_of_hours: &'static str,
    pub(crate) topic: &'static str,
    pub(crate) field: &'static str,
}

/// The words of this language.
pub(crate) fn words(locale: Locale) -> &'static Words {
    match locale {
        Locale::Portuguese => &PORTUGUESE,
        Locale::English => &ENGLISH,
    }
}

static PORTUGUESE: Words = Words {
    collection: Title { name: "Ponte", about: "O que a Ponte recebe dos sensores." },
    dashboard: Title { name: "Sensores", about: "Leituras, tópicos e mensagens." },
    minutes: Title {
        name: "Leituras por minuto",
        about: "Média de cada minuto, por tópico e campo: no máximo 100 séries, das que chegaram por último. Os filtros \
                escolhem outras.",
    },
    hours: Title {
        name: "Leituras por hora",
        about: "Média de cada hora, por tópico e campo, para períodos longos: no máximo 100 séries, das que chegaram por \
                último. Os filtros escolhem outras.",
    },
    latest: Title { name: "Última mensagem por tópico", about: "O que cada tópico publicou por último." },
    messages: Title { name: "Mensagens por tópico", about: "Quantas mensagens cada tópico já publicou." },
    fields: Title { name: "Última leitura por campo", about: "O que cada campo de cada tópico trouxe por último." },
    newest: Title { name: "Últimas 100 mensagens", about: "Como chegaram, da mais nova para a mais antiga." },
    producers: Title { name: "Livro-razão", about: "O que foi feito das mensagens que cada subscriber recebeu." },
    mean: "Média",
    count: "Mensagens",
    period: "Período",
    period_of_hours: "Período das horas",
    topic: "Tópico",
    field: "Campo",
};

static ENGLISH: Words = Words {
    collection: Title { name: "Ponte", about: "What Ponte takes from the sensors." },
    dashboard: Title { name: "Sensors", about: "Readings, topics and messages." },
    minutes: Title {
        name: "Readings by minute",
        about: "Mean of each minute, by topic and field: at most 100 series, of those heard last. Filters choose others.",
    },
    hours: Title {
        name: "Readings by hour",
        about: "Mean of each hour, by topic and field, for long periods: at most 100 series, of those heard last. \
                Filters choose others.",
    },
    latest: Title { name: "Latest message by topic", about: "What each topic published last." },
    messages: Title { name: "Messages by topic", about: "How many messages each topic has published so far." },
    fields: Title { name: "Latest reading by field", about: "What each field of each topic brought last." },
    newest: Title { name: "Last 100 messages", about: "As they came, newest first." },
    producers: Title { name: "Ledger", about: "What became of the messages that each subscriber received." },
    mean: "Mean",
    count: "Messages",
    period: "Period",
    period_of_hours: "Period of the hours",
    topic: "Topic",
    field: "Field",
};
