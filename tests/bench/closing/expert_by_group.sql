-- EVT-2, one of several deliveries: rows are grouped by identity, and each group is one span.
create temp table once as
select tid, sid, min(pid) as pid, min(team) as team, min(task_type) as task_type, min(status) as status,
    min(agent) as agent, min(kind) as kind, min(model) as model, min(input_tokens) as input_tokens,
    min(cache_read_tokens) as cache_read_tokens, min(output_tokens) as output_tokens, min(tool_cost) as tool_cost,
    min(used_at) as used_at
from spans group by tid, sid;
