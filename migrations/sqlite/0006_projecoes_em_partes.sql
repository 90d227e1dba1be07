-- A step of the projector is taken in pieces, topic by topic, each a transaction of a millisecond: a batch waits for no
-- more than one. Between two of them the tables have all messages up to `ultimo_id`, and up to `ate_id` those of the topics
-- up to and with `topico` by their bytes. Both are null where a step is whole.
alter table projecoes add column ate_id integer;
alter table projecoes add column topico text;

-- Where the newest rows go by hand, a table without `autoincrement` gives their ids again: they must lie beyond.
create trigger dados_apagado_no_meio after delete on dados begin
    update projecoes set ate_id = (select coalesce(max(id), 0) from dados)
    where ate_id > (select coalesce(max(id), 0) from dados);
end;
