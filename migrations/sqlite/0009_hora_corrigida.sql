-- Set where a message was captured before the clock of the subscriber's machine was set (1970), and its time was corrected
-- once it was. Null for all others.
alter table dados add column hora_corrigida boolean;
