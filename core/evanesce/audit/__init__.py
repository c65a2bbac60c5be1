"""The audit of a running deployment: send texts that nobody else sends, and look for them wherever they could be left.

`evanesce audit` uses it. `canaries` are the texts, `conversation` sends them, each place that is looked at has a class,
and `schedule` looks at all places at the times that matter.
"""
