"""Cuts tried out on a model, and the groups that a difference comes from.

Every answer is about the very masks that were asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import torch
from torch import Tensor, nn

from ..errors import ChexError
from ..graph.graph import ChannelGraph
from ..surgery.copying import copy_of
from ..surgery.cut import mask_channels, slim
from ..surgery.modules import UnknownModule
from ..surgery.rounding import NOISE, moved
from .side_by_side import (
    MaskedFailed,
    Mismatch,
    NarrowFailed,
    Run,
    compare_runs,
    results_gap,
)
from .steps import OTHER_OPERATORS

Masks = Mapping[str, Tensor]

STIRRED = 0.05  # deviation of weights that would all be zero


class Comparison:
    """Compares a model with narrow copies of it, under masks.

    Args:
        model: Of dense shapes; it stays as it is.
        runs: Each runs a model and returns its results.
        graph: Its channels.
        cut: Makes the narrow copy for masks; by default `slim` does.
    """

    def __init__(
        self,
        model: nn.Module,
        runs: Sequence[Run],
        graph: ChannelGraph,
        cut: Callable[[Masks], nn.Module] | None = None,
    ):
        self.model, self.runs, self.graph = model, tuple(runs), graph
        self._cut = cut or partial(slim, model, graph)
        self._has_steps = True

    def mismatch(self, keep: Masks, has_steps: bool = True) -> Mismatch | None:
        """What a narrow copy does otherwise than the masked model.

        None too where the masked model itself fails: then nothing was cut.

        Args:
            keep: Masks; groups left out keep all.
            has_steps: Whether operators are compared, not only results.
        """
        try:
            return self.found(keep, has_steps)
        except MaskedFailed:
            return None

    def found(self, keep: Masks, has_steps: bool = True) -> Mismatch | None:
        """As `mismatch`, where the masked model must not fail.

        Raises:
            MaskedFailed: It does.
        """
        try:
            narrow = self._cut(keep)
        except UnknownModule as error:
            return Mismatch(str(error).partition(' Declare it')[0])
        has_steps = has_steps and self._has_steps
        try:
            found = compare_runs(
                self._masked(keep), narrow, self.runs, has_steps
            )
        except NarrowFailed as failure:
            return _failed(failure)
        return None if found and self._is_noise(found, keep) else found

    def causes(
        self, keep: Masks, mismatch: Mismatch, has_steps: bool
    ) -> tuple[list[str], str]:
        """The fewest groups whose cut makes a difference, and which it is.

        Args:
            keep: Masks under which there is one.
            mismatch: The difference.
            has_steps: As it was found.

        Raises:
            ChexError: It is there without any cut.
        """
        one = Comparison(self.model, self.runs[mismatch.run :][:1], self.graph)
        if self._is_unsteady(one, has_steps):
            return [], ''

        def differs(names: list[str]) -> bool:
            chosen = {name: keep[name] for name in names}
            return one.mismatch(chosen, has_steps) is not None

        cut = [name for name, mask in keep.items() if not mask.all()]
        names = fewest(differs, cut)
        chosen = {name: keep[name] for name in names}
        found = one.mismatch(chosen, has_steps) or mismatch
        return names, one.named(chosen, has_steps) or found.reason

    def named(self, keep: Masks, has_steps: bool) -> str | None:
        """The first operator that differs, by its numbers or results.

        Operators that merely are others say something if `has_steps`.
        """
        narrow = self._cut(keep)
        try:
            found = compare_runs(
                self._masked(keep), narrow, self.runs, is_detailed=True
            )
        except NarrowFailed as failure:
            return _failed(failure).reason
        if found and (has_steps or found.reason != OTHER_OPERATORS):
            return found.reason
        return None

    def _is_unsteady(self, one: Comparison, has_steps: bool) -> bool:
        """Whether the model runs other operators each time."""
        models = copy_of(self.model), copy_of(self.model)
        same = compare_runs(*models, one.runs, has_steps)
        if same is None:
            return False
        if compare_runs(*models, one.runs, has_steps=False):
            raise ChexError(
                'Two runs of the same model on the same data differ '
                f'({same.reason}), so that nothing can be said of a cut. '
                'Trace it in eval mode, or on data on which its results '
                'depend on nothing else.'
            )
        self._has_steps = False
        return True

    def _masked(self, keep: Masks) -> nn.Module:
        masked = copy_of(self.model)
        mask_channels(masked, self.graph, keep)
        return masked

    def _is_noise(self, found: Mismatch, keep: Masks) -> bool:
        """Whether rounding the weights otherwise does as much.

        What rounding moves so far cannot be compared, and says nothing.
        """
        if found.gap is None:
            return False
        run = self.runs[found.run]
        other = moved(self._masked(keep))
        return found.gap < NOISE * results_gap(self._masked(keep), other, run)


def check_cut(comparison: Comparison, keep: Masks) -> None:
    """Refuses masks under which a narrow copy is another model.

    Raises:
        ChexError: Names the first operator that differs.
    """
    try:
        found = comparison.found(keep)
    except MaskedFailed as failure:
        error = failure.__cause__
        raise ChexError(
            'The masked model cannot be run beside the narrow one: '
            f'{type(error).__name__}: {error}. Give a batch that the model '
            'runs on, or write verify=False.'
        ) from error
    if found is not None:
        reason = comparison.named(keep, has_steps=True) or found.reason
        raise ChexError(
            f'The masked and the narrow model differ: {reason}. Weights '
            'trained under these masks would not be those of any narrow '
            'model. Leave what runs there out with exclude=[...], and report '
            'the operator.'
        )


def fewest(differs: Callable[[list[str]], bool], names: list[str]) -> list:
    """A smallest part of `names` that differs (Junker 2004, QuickXplain).

    Args:
        differs: True of `names`; whatever contains a part that differs, does.
        names: To choose from, in the order of preference for others.
    """

    def search(base: list[str], is_new: bool, rest: list[str]) -> list[str]:
        if is_new and differs(base):
            return []
        if len(rest) == 1:
            return rest
        first, second = rest[: len(rest) // 2], rest[len(rest) // 2 :]
        of_second = search(base + first, True, second)
        of_first = search(base + of_second, bool(of_second), first)
        return of_first + of_second

    return search([], False, names) if names else []


@torch.no_grad()
def stirred(model: nn.Module) -> nn.Module:
    """The model without weights that are all zero: they hide what is behind.

    A copy, if it has any.
    """
    zero = [
        name
        for name, parameter in model.named_parameters()
        if parameter.is_floating_point()
        and (parameter.ndim > 1 or name.endswith('weight'))
        and not parameter.any()
    ]
    if not zero:
        return model
    model = copy_of(model)
    generator = torch.Generator().manual_seed(0)
    for name in zero:
        parameter = model.get_parameter(name)
        noise = torch.randn(parameter.shape, generator=generator)
        parameter.copy_(STIRRED * noise)
    return model


def _failed(failure: NarrowFailed) -> Mismatch:
    error = failure.__cause__
    line = str(error).strip().partition('\n')[0]
    return Mismatch(
        'a size is written in Python: the model fails after a cut '
        f'({type(error).__name__}: {line})',
        failure.run,
        is_failure=True,
    )
