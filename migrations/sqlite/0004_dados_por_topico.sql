-- The newest rows of one topic, without a price at every commit: an index that comes after the rows. `dados_topico` cost
-- a small commit more than its rows did, since the rows of many topics lie on as many of an index's pages.

-- How far each table that follows `dados` has come: it knows all rows up to `ultimo_id`, and what it has beyond does not
-- count. It starts at 0: rows that are there already are taken up in the background, while the API serves.
create table projecoes (
    nome text primary key,
    ultimo_id integer not null
) without rowid;
insert into projecoes (nome, ultimo_id) values ('dados_por_topico', 0);

-- Which rows of `dados` a topic has, for ids up to `projecoes.ultimo_id`. Nothing to look at in Metabase: it is an index
-- in the form of a table. `store/sqlite/by_topic.rs` adds many rows at a time. Rows without a topic have no entry.
create table dados_por_topico (
    topico text not null,
    dado_id integer not null,
    primary key (topico, dado_id)
) without rowid;

drop index dados_topico;

-- For whoever edits `dados` by hand. There is none on insert: it would cost every row, and an id that SQLite gives lies
-- beyond the cursor. A row inserted with an id of one's own below it is found by its topic only after
-- `update dados set topico = topico where id = …`.
create trigger dados_apagado after delete on dados begin
    delete from dados_por_topico where topico = old.topico and dado_id = old.id;
    -- Where the newest rows go, a table without `autoincrement` gives their ids again: they must lie beyond the cursor.
    update projecoes set ultimo_id = (select coalesce(max(id), 0) from dados)
    where ultimo_id > (select coalesce(max(id), 0) from dados);
end;
create trigger dados_alterado after update of id, topico on dados begin
    delete from dados_por_topico where topico = old.topico and dado_id = old.id;
    insert or ignore into dados_por_topico (topico, dado_id) select new.topico, new.id where new.topico is not null;
end;
