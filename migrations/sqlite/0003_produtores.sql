-- The ledger: what became of every message that a producer received.
alter table produtores add column armazenadas integer not null default 0;
alter table produtores add column confirmadas integer not null default 0;
alter table produtores add column danificadas integer not null default 0;
-- Unknown for those that were there before.
alter table produtores add column criado_em datetime;

-- One pass over `dados`, however many producers there are.
update produtores set armazenadas = counted.armazenadas
from (
    select produtor_id, count(*) as armazenadas from dados where produtor_id is not null group by produtor_id
) as counted
where counted.produtor_id = produtores.id;
