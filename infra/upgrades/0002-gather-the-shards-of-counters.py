"""Gathers the shards that earlier releases spread a counter over into the one item that it is now.

Each counter in a transaction of its own, on the condition that its shards are as they were read: a rollup of the earlier
release that still runs is not lost, and what it writes afterwards is gathered the next time.
"""

import collections


def apply(client, _events_table, books_table):
    """Whether there were shards."""
    shards = collections.defaultdict(list)
    pages = client.get_paginator("scan").paginate(
        TableName=books_table, ConsistentRead=True, FilterExpression="begins_with(pk, :p) AND sk <> :sum",
        ExpressionAttributeValues={":p": {"S": "@counter#"}, ":sum": {"S": "sum"}},
    )
    for item in (item for page in pages for item in page["Items"]):
        shards[item["pk"]["S"]].append(item)
    for partition, items in shards.items():
        total = sum(int(item["c"]["N"]) for item in items)
        gathered = {
            "TableName": books_table, "Key": {"pk": {"S": partition}, "sk": {"S": "sum"}},
            "UpdateExpression": "ADD c :t, m :t", "ExpressionAttributeValues": {":t": {"N": str(total)}},
        }
        gone = [{"Delete": {
            "TableName": books_table, "Key": {"pk": item["pk"], "sk": item["sk"]}, "ConditionExpression": "c = :c",
            "ExpressionAttributeValues": {":c": item["c"]},
        }} for item in items]
        client.transact_write_items(TransactItems=[*gone, {"Update": gathered}])
    return bool(shards)
