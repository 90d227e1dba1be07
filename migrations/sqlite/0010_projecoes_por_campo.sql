-- A step of the projector is cut between fields, since one topic may have many. Between two pieces the topic `topico` has
-- only its fields up to and with `campo` by their bytes, and is not counted in `topicos`. Null where the topic is whole.
alter table projecoes add column campo text;

-- The message that a field came with first, which tells how many fields were new in a minute: a topic may get so many, by
-- the time of capture, and has so many in all. Null for those that are older than this migration.
alter table campos add column primeiro_id integer;
alter table campos add column primeiro_timestamp datetime;

-- What was being made anew has tables of the old form: it ends here, and `reproject` begins it again.
delete from projecoes where nome in ('refeita_leituras', 'refeita_desde');
delete from retencao where tabela = 'refeita';
