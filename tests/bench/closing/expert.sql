-- The close of a month as somebody writes it who knows DuckDB well: narrow types, enumerations, integers of 10^-12, one
-- pass over the spans into cells that are small. Same rules and same lines as decimal.sql; `once` is made by one of the
-- expert_by_*.sql. An integer that does not fit is an error of DuckDB's, not a wrong figure.

-- Lines below a million dollars: 64 bits are printed faster than 128.
create temp macro of_pico(units) as (units::DECIMAL(18, 0) * 0.000000000001::DECIMAL(12, 12))::DECIMAL(18, 12);
create temp macro half_even(n, d) as
    n // d + case when 2 * (n % d) > d or (2 * (n % d) = d and (n // d) % 2 = 1) then 1 else 0 end;

-- ATR-1: the root pays and is the task.
create temp table roots as
select r.tid, r.team, r.agent, r.task_type, r.used_at::DATE as ended_on, r.status = 'ok' as is_completed, a.billing
from once r join agents a on a.agent = r.agent
where r.pid is null;

-- RAT-1 and all cost, by payer, task, the day it ended on, and pool (ATR-4).
create temp table cells as
select r.team, r.agent, r.task_type, r.ended_on, r.billing, a.pool,
    sum(coalesce(s.input_tokens::BIGINT * p.input + s.cache_read_tokens::BIGINT * p.cache_read
        + s.output_tokens::BIGINT * p.output, 0) + s.tool_cost) as cost,
    sum(case when s.used_at >= getvariable('first_day') and s.used_at < getvariable('next_day')
        then coalesce(s.input_tokens::BIGINT * p.input + s.cache_read_tokens::BIGINT * p.cache_read
            + s.output_tokens::BIGINT * p.output, 0) + s.tool_cost end) as month_cost
from once s
join roots r on r.tid = s.tid
join agents a on a.agent = s.agent
left join prices p on p.model = s.model and s.used_at >= p.valid_from and s.used_at < p.valid_to
group by all;

-- ATR-4: spans of shared agents with that agent above are no invocations. Only where a trace has the agent twice do its
-- ancestors have to be looked at.
create temp table shared_spans as
select s.tid, s.sid, s.pid, s.agent, a.pool, r.team
from once s join roots r on r.tid = s.tid join agents a on a.agent = s.agent
where a.pool is not null and s.used_at >= getvariable('first_day') and s.used_at < getvariable('next_day');

create temp table twice as select tid, agent from shared_spans group by all having count(*) > 1;
create temp table inside as select tid, sid, pid, agent from once where tid in (select tid from twice);
create temp table nested as
with recursive climb as (
    select s.tid, s.sid, s.agent, s.pool, s.team, s.pid as above, false as found
    from shared_spans s join twice t on t.tid = s.tid and t.agent = s.agent
    union all
    select c.tid, c.sid, c.agent, c.pool, c.team, i.pid, i.agent = c.agent
    from climb c join inside i on i.tid = c.tid and i.sid = c.above
    where not c.found
)
select pool, team, count(*) as spans from climb where found group by all;

-- PRC-1: the tasks of each payer and day, each with its whole direct cost; LED-2: their actual cost of the month.
create temp table task_days as
with counted as (
    select team, agent, task_type, ended_on, count(*) as tasks, count(*) filter (is_completed) as completed
    from roots group by all
)
select n.*, c.billing, c.cost, c.month_cost
from counted n
join (select * from cells where pool is null) c
    on c.team is not distinct from n.team and c.agent = n.agent and c.task_type = n.task_type
        and c.ended_on = n.ended_on;

-- PRC-1, PRC-2: smoothed sums of every local day since the first, whoever pays, and the price of the day after.
create temp table nights as
with recursive
    seen as (
        select agent, task_type, ended_on as day, sum(cost)::HUGEINT as cost, sum(tasks)::HUGEINT as tasks,
            sum(completed)::HUGEINT as completed
        from task_days
        where ended_on >= getvariable('first_day') and ended_on < getvariable('next_day')
        group by all
    ),
    beginning as (select agent, task_type, min(day) as day from seen group by all),
    days as (
        select b.agent, b.task_type, d.day::DATE as day, coalesce(s.cost, 0) as cost, coalesce(s.tasks, 0) as tasks,
            coalesce(s.completed, 0) as completed, d.day::DATE = b.day as is_first
        from beginning b
        join range(getvariable('first_day')::TIMESTAMP, getvariable('next_day')::TIMESTAMP, interval 1 day) d(day)
            on d.day >= b.day
        left join seen s on s.agent = b.agent and s.task_type = b.task_type and s.day = d.day::DATE
    ),
    smoothed as (
        select agent, task_type, day, cost as s_c, completed * 1000000000000 as s_n, completed, 1 as days_with_tasks
        from days where is_first
        union all
        select d.agent, d.task_type, d.day,
            half_even(94276335736 * d.cost + 905723664264 * s.s_c, 1000000000000),
            half_even(94276335736 * d.completed * 1000000000000 + 905723664264 * s.s_n, 1000000000000),
            s.completed + d.completed, s.days_with_tasks + (d.tasks > 0)::INTEGER
        from smoothed s
        join days d on d.agent = s.agent and d.task_type = s.task_type and d.day = s.day + 1 and not d.is_first
    )
select agent, task_type, day + 1 as day,
    case when (completed >= 30 or days_with_tasks >= 3) and s_n > 0
        then (greatest(half_even(s_c * 10000, s_n), 1) * 100000000)::BIGINT end as price
from smoothed;

-- PRC-3: a version is a run of days with one price.
create temp table rates as
with changed as (
    select *, price is distinct from lag(price) over (partition by agent, task_type order by day) as is_new
    from nights where price is not null
)
select agent, task_type, day, price,
    max(case when is_new then day end) over (partition by agent, task_type order by day) as valid_from
from changed;

-- What each payer's tasks were charged and what they cost, at the price of the day on which they ended; a task that
-- ended after the month has the price that the last night gave.
create temp table rated as
select t.team, t.agent, t.task_type, r.price, r.valid_from,
    sum(case when t.ended_on >= getvariable('first_day') and t.ended_on < getvariable('next_day') then t.completed
        else 0 end)::BIGINT as completed,
    coalesce(sum(t.month_cost), 0)::BIGINT as actual
from task_days t
left join rates r on r.agent = t.agent and r.task_type = t.task_type
    and r.day = least(t.ended_on, getvariable('next_day'))
where t.billing = 'task' and t.team is not null
group by all;

-- LED-3 `settle`: what was charged less what it cost goes back, in proportion to the charges, else to the cost (SPL-1).
create temp table variance as
with tallies as (
    select agent, task_type, team, sum(price * completed)::HUGEINT as charged, sum(actual)::HUGEINT as actual
    from rated where price is not null group by all
), weighed as (
    select *, case when sum(charged) over per_price > 0 then charged else actual end as weight,
        (sum(actual - charged) over per_price)::HUGEINT as amount
    from tallies
    window per_price as (partition by agent, task_type)
), parts as (
    select *, abs(amount) * weight // sum(weight) over per_price as part,
        abs(amount) * weight % sum(weight) over per_price as rest
    from weighed
    where amount <> 0
    window per_price as (partition by agent, task_type)
), ranked as (
    select *, abs(amount) - sum(part) over (partition by agent, task_type) as missing,
        row_number() over (partition by agent, task_type order by rest desc, weight desc, team) as place
    from parts
)
select agent, task_type, team, (sign(amount) * (part + case when place <= missing then 1 else 0 end))::BIGINT as units
from ranked;

-- POOL-1: three pools by invocations, one (ATR-6) by the direct cost of teams. Payers without a team keep their weight
-- in the first three.
create temp table pool_lines as
with pools as (
    select pool, sum(month_cost)::HUGEINT as amount from cells where pool is not null group by pool
    union all
    select 'untagged', sum(month_cost)::HUGEINT from cells where pool is null and team is null
), weighed as (
    select s.pool, s.team, (s.spans - coalesce(n.spans, 0))::HUGEINT as weight, 'invocations' as basis
    from (select pool, team, count(*) as spans from shared_spans group by all) s
    left join nested n on n.pool = s.pool and n.team is not distinct from s.team
    union all
    select 'untagged', team, sum(month_cost)::HUGEINT, 'direct_cost' from cells
    where pool is null and team is not null group by team having sum(month_cost) > 0
), parts as (
    select *, (sum(weight) over (partition by pool))::HUGEINT as total,
        amount * weight // (sum(weight) over (partition by pool))::HUGEINT as part,
        amount * weight % (sum(weight) over (partition by pool))::HUGEINT as rest
    from weighed join pools using (pool)
    where amount > 0 and weight > 0
), ranked as (
    select *, amount - sum(part) over (partition by pool) as missing,
        row_number() over (partition by pool order by rest desc, weight desc, team nulls first) as place
    from parts
)
select pool::pool as pool, team, basis, (part + case when place <= missing then 1 else 0 end)::BIGINT as units,
    weight // gcd(weight, total) || '/' || total // gcd(weight, total) as ratio
from ranked;

-- Cost of tasks billed by token, as it was bought.
create temp table bought as
select r.team, s.agent, r.task_type, s.kind, s.model, count(*) as spans, sum(s.tool_cost)::BIGINT as tool_cost,
    sum(s.input_tokens)::BIGINT as input_tokens, sum(s.input_tokens::BIGINT * p.input)::BIGINT as input_cost,
    sum(s.cache_read_tokens)::BIGINT as cache_read_tokens,
    sum(s.cache_read_tokens::BIGINT * p.cache_read)::BIGINT as cache_read_cost,
    sum(s.output_tokens)::BIGINT as output_tokens, sum(s.output_tokens::BIGINT * p.output)::BIGINT as output_cost
from once s
join (select * from roots where billing = 'token' and team is not null) r on r.tid = s.tid
join agents a on a.agent = s.agent
left join prices p on p.model = s.model and s.used_at >= p.valid_from and s.used_at < p.valid_to
where a.pool is null and s.kind <> 'agent'
    and s.used_at >= getvariable('first_day') and s.used_at < getvariable('next_day')
group by all;

-- CLO-2: the lines.
create temp table lines as
with classes as (
    select *, unnest([1, 2, 3]) as class,
        unnest([input_tokens, cache_read_tokens, output_tokens]) as quantity,
        unnest([input_cost, cache_read_cost, output_cost]) as units
    from bought where kind = 'llm'
)
select team, 0 as kind, agent, task_type, null::pool as pool, 'token'::billing as billing, model, class,
    null::DATE as valid_from, 'token' as unit, quantity, null::BIGINT as price, units, null as basis, null as ratio
from classes where quantity > 0
union all
select team, 0, agent, task_type, null, 'token'::billing, null, 0, null, 'event', spans, null, tool_cost, null, null
from bought where kind = 'tool'
union all
select team, 0, agent, task_type, null, 'task'::billing, null, 0, valid_from, 'task', completed, price,
    case when price is null then actual else price * completed end, null, null
from rated where completed <> 0 or (price is null and actual <> 0)
union all
select team, 1, null, null, pool, null, null, 0, null, null, null, null, units, basis, ratio
from pool_lines where team is not null and units <> 0
union all
select team, 2, agent, task_type, null, 'task'::billing, null, 0, null, null, null, null, units, null, null
from variance where units <> 0;

-- MON-2: cents. The total is rounded half to even; the lines get their floors, and the largest fractions a cent more.
-- `place` is the order of lines in a statement in one integer.
copy (
    with cents as (
        select *, ((units % 10000000000) + 10000000000) % 10000000000 as fraction,
            ((((((kind::BIGINT * 128 + coalesce(enum_code(agent) + 1, 0)) * 64
                + coalesce(enum_code(task_type) + 1, 0)) * 16 + coalesce(enum_code(pool) + 1, 0)) * 4
                + coalesce(enum_code(billing) + 1, 0)) * 32 + coalesce(enum_code(model) + 1, 0)) * 4 + class) * 64
                + coalesce(date_diff('day', getvariable('first_day')::DATE, valid_from) + 1, 0) as place
        from lines
    ), totals as (
        select team, half_even(sum(units)::HUGEINT, 10000000000) - sum((units - fraction) // 10000000000) as missing
        from cents group by team
    ), ranked as (
        select *, row_number() over (partition by team order by fraction desc, units desc, place) as rank from cents
    )
    select r.team, case kind when 0 then 'charge' when 1 then 'pool' else 'variance' end as kind, agent, task_type,
        pool, billing, m.provider, r.model,
        case class when 1 then 'input' when 2 then 'cache_read' when 3 then 'output' end as class,
        valid_from as "from", unit, quantity, of_pico(price) as price, of_pico(units) as exact,
        ((units - fraction) // 10000000000 + case when rank <= missing then 1 else 0 end)::DECIMAL(16, 0)
            * 0.01::DECIMAL(2, 2) as amount,
        basis, case kind when 1 then 'direct' end as method, ratio
    from ranked r
    join totals t on t.team = r.team
    left join (select distinct provider, model from prices) m on m.model = r.model
    order by r.team, place
) to '{lines}' (format csv, header true);
