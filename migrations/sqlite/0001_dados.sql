-- The seed's table, as it is, so that a dados.db made by its script is taken over in place,
-- then what MQTT knows of a message and who sent it. Not STRICT: Metabase needs DATETIME and BOOLEAN.
-- `store/adopt.rs` runs this file statement by statement where an owner has added some of these columns already.
create table if not exists dados (
    id integer primary key autoincrement,
    valor text,
    timestamp datetime default current_timestamp
);
alter table dados add column topico text;
alter table dados add column qos integer;
alter table dados add column retido boolean;
alter table dados add column dup boolean;
alter table dados add column formato text;
alter table dados add column produtor_id integer;
alter table dados add column sequencia integer;
