-- The close of a month as a data engineer writes it: strings for ids, DECIMAL(38,12) for money. The rules that are
-- cited are the product's; variables `first_day` and `next_day` bound the month (UTC).

-- Products of two amounts, and what SPL-1 divides, are taken as integers of 10^-12 (pico).
create temp macro pico(amount) as (amount * 1000000000000)::HUGEINT;
create temp macro of_pico(units) as units::DECIMAL(38, 0) * 0.000000000001::DECIMAL(13, 12);
create temp macro half_even(n, d) as
    n // d + case when 2 * (n % d) > d or (2 * (n % d) = d and (n // d) % 2 = 1) then 1 else 0 end;

-- EVT-2: one of several deliveries. RAT-1: the price in force when the span ended; prices are of one token.
create temp table priced as
with deduped as (
    select * from spans qualify row_number() over (partition by trace_id, span_id order by used_at) = 1
)
select d.trace_id, d.span_id, d.parent_span_id, d.team, d.task_type, d.status, d.agent, d.kind, d.provider, d.model,
    d.input_tokens, d.cache_read_tokens, d.output_tokens, d.used_at,
    (coalesce(d.input_tokens * p.input + d.cache_read_tokens * p.cache_read + d.output_tokens * p.output, 0)
        + d.tool_cost)::DECIMAL(38, 12) as cost
from deduped d
left join prices p
    on p.provider = d.provider and p.model = d.model and d.used_at >= p.valid_from and d.used_at < p.valid_to;

-- ATR-1: the root pays, and is the task.
create temp table roots as
select r.trace_id, r.team, r.agent, r.task_type, r.used_at::DATE as ended_on, r.status, a.billing
from priced r join agents a on a.agent = r.agent
where r.parent_span_id is null;

-- ATR-4: cost of shared agents goes to their pools, below whatever task it was caused.
create temp table shared_spans as
select s.trace_id, s.span_id, s.parent_span_id, s.agent, s.cost, a.pool, r.team
from priced s
join agents a on a.agent = s.agent
join roots r on r.trace_id = s.trace_id
where a.pool is not null and s.used_at >= getvariable('first_day') and s.used_at < getvariable('next_day');

-- An invocation is a span of a shared agent with that agent nowhere above. Only where a trace has the agent twice do
-- its ancestors have to be looked at.
create temp table twice as select trace_id, agent from shared_spans group by all having count(*) > 1;
create temp table inside as
select trace_id, span_id, parent_span_id, agent from priced where trace_id in (select trace_id from twice);
create temp table nested as
with recursive climb as (
    select s.trace_id, s.span_id, s.agent, s.parent_span_id as above, false as found
    from shared_spans s join twice t on t.trace_id = s.trace_id and t.agent = s.agent
    union all
    select c.trace_id, c.span_id, c.agent, i.parent_span_id, i.agent = c.agent
    from climb c join inside i on i.trace_id = c.trace_id and i.span_id = c.above
    where not c.found
)
select trace_id, span_id from climb where found;

-- PRC-1: the tasks of each payer and day, each with its whole direct cost; LED-2: their actual cost of the month.
create temp table task_days as
with counted as (
    select team, agent, task_type, ended_on, billing, count(*)::HUGEINT as tasks,
        count(*) filter (status = 'ok')::HUGEINT as completed
    from roots group by all
), spent as (
    select r.team, r.agent, r.task_type, r.ended_on, sum(s.cost)::DECIMAL(38, 12) as direct_cost,
        coalesce(sum(s.cost) filter (s.used_at >= getvariable('first_day') and s.used_at < getvariable('next_day')), 0)
            ::DECIMAL(38, 12) as month_cost
    from priced s
    join roots r on r.trace_id = s.trace_id
    join agents a on a.agent = s.agent
    where a.pool is null
    group by all
)
select n.*, s.direct_cost, s.month_cost
from counted n
join spent s on s.team is not distinct from n.team and s.agent = n.agent and s.task_type = n.task_type
    and s.ended_on = n.ended_on;

-- PRC-1, PRC-2: smoothed sums of every local day since the first, whoever pays.
create temp table nights as
with recursive
    seen as (
        select agent, task_type, ended_on as day, pico(sum(direct_cost)) as cost, sum(tasks)::HUGEINT as tasks,
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
        left join seen s on s.agent = b.agent and s.task_type = b.task_type and s.day = d.day
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
        then greatest(half_even(s_c * 10000, s_n), 1) * 0.0001::DECIMAL(38, 12) end as price
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

-- What each payer's tasks were charged, and what they cost, at the price of the day on which they ended; a task that
-- ended after the month has the price that the last night gave.
create temp table rated as
select t.*, t.ended_on >= getvariable('first_day') and t.ended_on < getvariable('next_day') as ended_in_month,
    r.price, r.valid_from
from task_days t
left join rates r on r.agent = t.agent and r.task_type = t.task_type
    and r.day = least(t.ended_on, getvariable('next_day'));

create temp table tallies as
select agent, task_type, team,
    sum(case when ended_in_month then price * completed else 0 end)::DECIMAL(38, 12) as charged,
    sum(month_cost)::DECIMAL(38, 12) as actual
from rated
where billing = 'task' and team is not null and price is not null
group by all;

-- LED-3 `settle`: what was charged less what it cost goes back, in proportion to the charges, else to the cost (SPL-1).
create temp table variance as
with weighed as (
    select agent, task_type, team,
        pico(case when sum(charged) over per_price > 0 then charged else actual end) as weight,
        pico(sum(actual - charged) over per_price) as amount
    from tallies
    window per_price as (partition by agent, task_type)
), parts as (
    select *, sum(weight) over per_price as total,
        abs(amount) * weight // sum(weight) over per_price as part,
        abs(amount) * weight % sum(weight) over per_price as rest
    from weighed
    where amount <> 0
    window per_price as (partition by agent, task_type)
), ranked as (
    select *, abs(amount) - sum(part) over (partition by agent, task_type) as missing,
        row_number() over (partition by agent, task_type order by rest desc, weight desc, team) as place
    from parts
)
select agent, task_type, team,
    of_pico(sign(amount) * (part + case when place <= missing then 1 else 0 end)) as exact
from ranked;

-- Direct cost of each team: what ATR-6's pool is divided by.
create temp table direct as
select team, sum(month_cost)::DECIMAL(38, 12) as cost from task_days where team is not null group by team;

-- POOL-1: three pools by invocations, one by direct cost. Payers without a team keep their weight in the first three.
create temp table pool_lines as
with pools as (
    select pool, pico(sum(cost)) as amount from shared_spans group by pool
    union all
    select 'untagged', pico(sum(month_cost)) from task_days where team is null
), weighed as (
    select pool, team, count(*)::HUGEINT as weight, 'invocations' as basis
    from shared_spans s
    where not exists (select 1 from nested n where n.trace_id = s.trace_id and n.span_id = s.span_id)
    group by pool, team
    union all
    select 'untagged', team, pico(cost), 'direct_cost' from direct where cost > 0
), parts as (
    select *, sum(weight) over (partition by pool)::HUGEINT as total,
        amount * weight // sum(weight) over (partition by pool)::HUGEINT as part,
        amount * weight % sum(weight) over (partition by pool)::HUGEINT as rest
    from weighed join pools using (pool)
    where amount > 0
), ranked as (
    select *, amount - sum(part) over (partition by pool) as missing,
        row_number() over (partition by pool order by rest desc, weight desc, team nulls first) as place
    from parts
)
select pool, team, basis, of_pico(part + case when place <= missing then 1 else 0 end) as exact,
    weight // gcd(weight, total) || '/' || total // gcd(weight, total) as ratio
from ranked;

-- CLO-2: the lines.
create temp table lines as
with bought as (
    select s.*, r.team as payer, r.task_type as task
    from priced s
    join roots r on r.trace_id = s.trace_id
    join agents a on a.agent = s.agent
    where r.billing = 'token' and r.team is not null and a.pool is null
        and s.used_at >= getvariable('first_day') and s.used_at < getvariable('next_day')
), token_classes as (
    select payer as team, agent, task as task_type, provider, model,
        sum(input_tokens)::HUGEINT as input_tokens, sum(input_tokens * input) as input_cost,
        sum(cache_read_tokens)::HUGEINT as cache_read_tokens, sum(cache_read_tokens * cache_read) as cache_read_cost,
        sum(output_tokens)::HUGEINT as output_tokens, sum(output_tokens * output) as output_cost
    from bought
    join prices using (provider, model)
    where used_at >= valid_from and used_at < valid_to and kind = 'llm'
    group by all
), tokens as (
    select team, agent, task_type, provider, model, 0 as class_order, 'input' as class, input_tokens as quantity,
        input_cost as exact
    from token_classes
    union all
    select team, agent, task_type, provider, model, 1, 'cache_read', cache_read_tokens, cache_read_cost
    from token_classes
    union all
    select team, agent, task_type, provider, model, 2, 'output', output_tokens, output_cost from token_classes
), reported as (
    select payer as team, agent, task as task_type, count(*)::HUGEINT as quantity, sum(cost) as exact
    from bought where kind = 'tool'
    group by all
), tasks as (
    select team, agent, task_type, valid_from, price,
        sum(case when ended_in_month then completed else 0 end)::HUGEINT as quantity,
        sum(case when price is null then month_cost when ended_in_month then price * completed else 0 end) as exact
    from rated
    where billing = 'task' and team is not null
    group by all
)
select team, 0 as kind_order, 'charge' as kind, agent, task_type, null as pool, 'token' as billing, provider, model,
    class_order, class, null::DATE as valid_from, 'token' as unit, quantity, null::DECIMAL(38, 12) as price,
    exact::DECIMAL(38, 12) as exact, null as basis, null as method, null as ratio
from tokens where quantity > 0
union all
select team, 0, 'charge', agent, task_type, null, 'token', null, null, null, null, null, 'event', quantity, null, exact,
    null, null, null
from reported
union all
select team, 0, 'charge', agent, task_type, null, 'task', null, null, null, null, valid_from, 'task', quantity, price,
    exact, null, null, null
from tasks where quantity <> 0 or exact <> 0
union all
select team, 1, 'pool', null, null, pool, null, null, null, null, null, null, null, null, null, exact, basis,
    'direct', ratio
from pool_lines where team is not null and exact <> 0
union all
select team, 2, 'variance', agent, task_type, null, 'task', null, null, null, null, null, null, null, null, exact, null,
    null, null
from variance where exact <> 0;

-- MON-2: cents. The total is rounded half to even; the lines get their floors, and the largest fractions a cent more.
create temp table printed as
with floors as (
    select *, pico(exact) as units,
        row_number() over (partition by team order by kind_order, agent nulls first, task_type nulls first,
            pool nulls first, billing = 'task' nulls first, provider nulls first, model nulls first,
            class_order nulls first, valid_from nulls first, unit) as line
    from lines
), cents as (
    select *, ((units % 10000000000) + 10000000000) % 10000000000 as fraction from floors
), missing as (
    select *, half_even(sum(units) over (partition by team)::HUGEINT, 10000000000)
            - sum((units - fraction) // 10000000000) over (partition by team) as missing,
        row_number() over (partition by team order by fraction desc, units desc, line) as place
    from cents
)
select *, ((units - fraction) // 10000000000 + case when place <= missing then 1 else 0 end)::DECIMAL(38, 0)
    * 0.01::DECIMAL(3, 2) as amount
from missing;

copy (
    select team, kind, agent, task_type, pool, billing, provider, model, class, valid_from as "from", unit, quantity,
        price, exact, amount, basis, method, ratio
    from printed
    order by team, line
) to '{lines}' (format csv, header true);
