-- The native tables of decimal.sql. Not timed.
create table spans as select * from read_parquet({parquet});
create table prices as select * from given_prices;
create table agents as select * from given_agents;
checkpoint;
