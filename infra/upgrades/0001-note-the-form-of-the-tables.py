"""Notes in the books which form the tables have, so that a later step can tell."""

FORM = "1"


def apply(client, _events_table, books_table):
    """Writes the note where there is none: whether it did."""
    try:
        client.put_item(
            TableName=books_table,
            Item={"pk": {"S": "@settings"}, "sk": {"S": "form"}, "n": {"N": FORM}},
            ConditionExpression="attribute_not_exists(pk)",
        )
    except client.exceptions.ConditionalCheckFailedException:
        return False
    return True
