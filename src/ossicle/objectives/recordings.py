"""Rows (n,) by the recording that their clips were cut from: which belong together, and which are of others."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Recordings(nn.Module):
    """`groups` (n,) int64 names each row's recording. Built once, by sorting; answers for a batch cost its own size."""

    order: Tensor
    first: Tensor
    size: Tensor
    number: Tensor

    def __init__(self, groups: Tensor) -> None:
        super().__init__()
        order = groups.argsort(stable=True)
        _, inverse, size = groups[order].unique_consecutive(return_inverse=True, return_counts=True)
        first = size.cumsum(0) - size
        place = torch.empty_like(order)
        place[order] = inverse
        made = {
            "order": order,  # rows, those of one recording side by side
            "first": first,  # where a recording begins in `order`
            "size": size,  # and how many rows it has
            "number": place,  # each row's recording
        }
        for name, value in made.items():
            self.register_buffer(name, value.int(), persistent=False)
        if len(size) == 1:
            raise ValueError(
                'all clips are of one recording, and are not told apart: add recordings, or apart = "clips"'
            )

    def mates(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """(B,) rows -> (slots, rows): every other row of each one's recording, beside its slot in the batch."""
        number = self.number[index].long()
        size = self.size[number].long()
        slot = torch.arange(len(index), device=index.device).repeat_interleave(size)
        within = torch.arange(len(slot), device=index.device) - (size.cumsum(0) - size)[slot]
        row = self.order[self.first[number].long()[slot] + within].long()
        others = row != index[slot]
        return slot[others], row[others]

    def others(self, index: Tensor) -> Tensor:
        """(B,) rows -> (B,): how many rows are of other recordings."""
        return len(self.order) - self.size[self.number[index].long()].long()

    def elsewhere(self, index: Tensor, place: Tensor) -> Tensor:
        """(B,) rows and (B, K) places below `others` -> (B, K): the rows of other recordings at these places."""
        number = self.number[index].long()
        first, size = self.first[number].long()[:, None], self.size[number].long()[:, None]
        return self.order[place + size * (place >= first)].long()
