"""ResNet-10, the state encoder of the paper's baselines, in place of the token.

Its trunk is that of SERL. The weights here are no ImageNet ones, which are not
shipped: they were trained on renders of random solids, and never saw a task.
"""
