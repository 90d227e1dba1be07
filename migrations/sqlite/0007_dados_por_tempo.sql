-- The rows of a span of time, without a price at every commit: blocks of ids that follow the rows, as `dados_por_topico`
-- does. Rows come nearly in the order of their times, so a block of a thousand ids covers little time, and whoever looks
-- for a span reads only the blocks that touch it. A few bytes for a thousand rows.
insert into projecoes (nome, ultimo_id) values ('dados_por_tempo', 0);

-- The least and the greatest time of the rows with ids from bloco * 1024 to bloco * 1024 + 1023, for ids up to
-- `projecoes.ultimo_id`. It may be wider than its rows, never narrower; a block of which no row has a time is not there.
-- Nothing to look at in Metabase. `store/sqlite/by_time.rs` says what a time is, and adds many rows at once.
create table dados_por_tempo (
    bloco integer primary key,
    minimo text not null,
    maximo text not null
);

-- For whoever edits `dados` by hand, and for retention. There is none on insert: see 0004. A row inserted with an id of
-- one's own below the cursor is found by its time only after `update dados set topico = topico where id = …`.
create trigger dados_apagado_tempo after delete on dados begin
    delete from dados_por_tempo where bloco = old.id >> 10
        and not exists (select 1 from dados where id between old.id >> 10 << 10 and (old.id >> 10 << 10) + 1023);
end;
create trigger dados_alterado_tempo after update of id, topico, timestamp on dados begin
    insert into dados_por_tempo (bloco, minimo, maximo)
    select new.id >> 10, t, t
    from (select case substr(new.timestamp, 11, 1)
                 when ' ' then new.timestamp
                 when 'T' then strftime('%Y-%m-%d %H:%M:%f', new.timestamp) end as t)
    where t is not null
    on conflict (bloco) do update set minimo = min(minimo, excluded.minimo), maximo = max(maximo, excluded.maximo);
end;
