-- What charts and lists read: derived from `dados` in the background, up to `projecoes.ultimo_id` of 'leituras', in the
-- same transaction as that cursor. All of it can be made anew: `ponte-api reproject`.
--
-- Times are UTC text `YYYY-MM-DD HH:MM:SS[.SSS]` in columns declared datetime: Metabase buckets and filters no other form.
-- `topico` is '' for rows without a topic, which no topic of MQTT is.
insert into projecoes (nome, ultimo_id) values ('leituras', 0);

-- One row a field of a message. The key is the order that charts read it in: a table and its index in one.
create table leituras (
    topico text not null,
    campo text not null,
    -- When it was read: by the device's clock where `TIMESTAMP_FIELD` says so, else when it was captured.
    timestamp datetime not null,
    dado_id integer not null,
    numero real,
    -- What is no number; and the digits of a number that `numero` cannot hold exactly.
    texto text,
    -- When it was captured, where `timestamp` is the device's.
    capturado datetime,
    primary key (topico, campo, timestamp, dado_id)
) without rowid;

-- The newest message of each topic, by the time of its capture and then by id.
create table topicos (
    topico text primary key not null,
    ultimo_id integer not null,
    -- At most its first 1,024 characters.
    ultimo_valor text,
    -- Where the whole message is a number.
    ultimo_numero real,
    ultimo_timestamp datetime not null,
    mensagens integer not null,
    -- How many of them `RETENTION_DADOS` has deleted since.
    apagadas integer not null default 0,
    -- The device's clock less ours at the newest message that had its time, in milliseconds.
    desvio_ms integer,
    -- Messages in which the device's time was looked for and could not be read.
    sem_hora integer not null default 0
) without rowid;

-- The newest reading of each field, by its time and then by id.
create table campos (
    topico text not null,
    campo text not null,
    ultimo_id integer not null,
    ultimo_numero real,
    ultimo_texto text,
    ultimo_timestamp datetime not null,
    leituras integer not null,
    primary key (topico, campo)
) without rowid;

-- What `RETENTION_DADOS` has deleted: rows of `dados` captured before this may be gone.
create table retencao (
    tabela text primary key not null,
    ate datetime not null
) without rowid;

-- Numbers by minute and by hour: what a chart of a month reads. They outlive the rows that they were made of.
create table leituras_minuto (
    topico text not null,
    campo text not null,
    minuto datetime not null,
    n integer not null,
    soma real not null,
    minimo real not null,
    maximo real not null,
    primary key (topico, campo, minuto)
) without rowid;
create table leituras_hora (
    topico text not null,
    campo text not null,
    hora datetime not null,
    n integer not null,
    soma real not null,
    minimo real not null,
    maximo real not null,
    primary key (topico, campo, hora)
) without rowid;
