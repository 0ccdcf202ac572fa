"""ResNet-10, the state encoder of the paper's baselines, in place of the token.

Its trunk is that of SERL. The weights here are no ImageNet ones, which are not
shipped: they were trained on renders of random solids, and never saw a task.
They explain 0.30 of the variance of the solids' places and directions in
pictures that were held out.
"""
