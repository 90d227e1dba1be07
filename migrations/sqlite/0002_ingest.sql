-- What makes a repeated POST harmless: the watermark of each producer, and the answers to recent idempotency keys.
create table produtores (
    id integer primary key,
    uuid text not null unique,
    nome text,
    ultima_sequencia integer not null default 0,
    recebidas integer not null default 0,
    quarentena integer not null default 0,
    visto_em datetime
);

-- `id` grows with time, so that old keys are found without an index on `criado_em`.
create table idempotencia (
    id integer primary key,
    chave text not null unique,
    impressao blob not null,
    primeiro_id integer not null,
    inseridos integer not null,
    criado_em datetime not null
);

-- The newest rows of one topic: the rowid that ends every index entry gives the order.
-- Partial, since rows of the seed's script have no topic.
create index dados_topico on dados (topico) where topico is not null;
