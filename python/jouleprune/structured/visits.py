"""An end to searches for channel groups that have none."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

__all__ = ["Visits"]


class Visits:
    """Counts how often Torch-Pruning comes to a node while it collects one group, and ends a search without end.

    It follows channels until no new places turn up. Where they run in a circle that moves them each time (rotary
    embeddings: halves swapped, around a sum) there are new places for longer than anybody waits. In acyclic networks a
    node is come to a few times.
    """

    def __init__(self, nodes: Iterable[Any]) -> None:
        nodes = list(nodes)
        self.done, self.most = 0, 8 * len(nodes) + 500
        for node in nodes:
            node.dependencies = _Counted(node.dependencies, self)

    def one_more(self) -> None:
        self.done += 1
        if self.done > self.most:
            raise RuntimeError(
                f"its channels run in circles: more than {self.most} steps for one group, as rotary embeddings cause. "
                "Hugging Face models go to jouleprune.shrink_checkpoint; jouleprune.plan and pattern 'layer', 'head' "
                "and 'rank' need no such graph"
            )


class _Counted(list[Any]):
    def __init__(self, dependencies: Iterable[Any], visits: Visits) -> None:
        super().__init__(dependencies)
        self._visits = visits

    def __iter__(self) -> Iterator[Any]:
        self._visits.one_more()
        return super().__iter__()
