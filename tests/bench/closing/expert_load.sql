-- The native tables of expert.sql: narrow types, enumerations in the order of their names, money in picodollars.
-- Not timed.
create type team as enum (select distinct team from read_parquet({parquet}) where team is not null order by 1);
create type task_type as enum (
    select distinct task_type from read_parquet({parquet}) where task_type is not null order by 1
);
create type agent as enum (select agent from given_agents order by 1);
create type pool as enum (
    select name from (select pool as name from given_agents where pool is not null union select 'untagged') order by 1
);
create type model as enum (
    select model from (select distinct provider, model from given_prices) order by provider, model
);
create type kind as enum ('agent', 'llm', 'tool');
create type status as enum ('ok', 'error', 'killed');
-- In the order of statements.
create type billing as enum ('token', 'task');

create table spans as
select trace_id::UUID as tid, ('0x' || span_id)::UBIGINT as sid, ('0x' || parent_span_id)::UBIGINT as pid,
    team::team as team, task_type::task_type as task_type, status::status as status, agent::agent as agent,
    kind::kind as kind, model::model as model, input_tokens::INTEGER as input_tokens,
    cache_read_tokens::INTEGER as cache_read_tokens, output_tokens::INTEGER as output_tokens,
    (tool_cost * 1000000000000)::BIGINT as tool_cost, used_at
from read_parquet({parquet});
create table prices as
select provider, model::model as model, valid_from, valid_to, (input * 1000000000000)::BIGINT as input,
    (cache_read * 1000000000000)::BIGINT as cache_read, (output * 1000000000000)::BIGINT as output
from given_prices;
create table agents as select agent::agent as agent, pool::pool as pool, billing::billing as billing from given_agents;
checkpoint;
