"""Pruning inside other people's training loops. Each module needs its own package, an extra of this one:

- ``jouleprune.integrations.lightning.PrunerCallback`` (``pip install jouleprune[lightning]``);
- ``jouleprune.integrations.transformers.PrunerCallback`` (``[transformers]``);
- ``jouleprune.integrations.tensorboard.log_pruner`` (``[tensorboard]``).
"""
