-- The token by whose name a producer was used first: another token cannot send or report as this producer. Null where
-- access was anonymous, and for producers from before this column: the next token that uses such a producer gets it.
alter table produtores add column token text;
-- How many producers a token has made is counted when it makes one more.
create index produtores_token on produtores (token);

-- A key is its token's own, and its route's: two clients that choose the same key know nothing of each other. `token` is
-- '' where access is anonymous. Keys live for a day only; those that are there keep their place under no token.
create table idempotencia_nova (
    id integer primary key,
    token text not null,
    rota text not null,
    chave text not null,
    impressao blob not null,
    primeiro_id integer not null,
    inseridos integer not null,
    criado_em datetime not null,
    unique (token, rota, chave)
);
insert into idempotencia_nova (id, token, rota, chave, impressao, primeiro_id, inseridos, criado_em)
select id, '', 'POST /dados', chave, impressao, primeiro_id, inseridos, criado_em from idempotencia;
drop table idempotencia;
alter table idempotencia_nova rename to idempotencia;
