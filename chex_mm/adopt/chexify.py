"""Writes the config that turns a dense model's config into a CHEX run.

What is written was tried: the text is read back, its model built, traced and
held against the hook's own checks before the file gets its name.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mmengine.config import Config
from mmengine.model import revert_sync_batchnorm
from mmengine.optim import build_optim_wrapper
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim import Optimizer

from ..budget.allocation import uniform_counts
from ..budget.budgets import Budget
from ..budget.scope import select_groups
from ..cli.progress import stage
from ..deploy.slimming import build_model
from ..engine.hooks import recipe
from ..engine.hooks.settings import Settings
from ..errors import ChexError
from ..files import check_file, replacing
from ..graph.graph import ChannelGraph
from ..graph.groups import ChannelGroup
from ..packages import package_of
from ..packages.paths import generated_batch, trace_detector
from . import advice
from .adoption import (
    check_base,
    mergeable,
    model_changes,
    pretrained_places,
    wrapped_backbone,
)
from .analysis import draw_vectors
from .chex_config import Draft, inherited_name
from .config_text import comment, docstring


@dataclass(frozen=True)
class Adoption:
    """What to make of a config.

    Attributes:
        keep: Share of the FLOPs that the final sub-model may cost.
        scope: Patterns of module paths to explore; empty: all that is free.
        of_scope: Count the FLOPs of the scope only.
        pretrained: Keep the weights that the base starts from.
        divisor: Widths are multiples of it where possible.
        shape: Height and width of the image whose FLOPs are told.
    """

    keep: float = 0.5
    scope: tuple[str, ...] = ()
    of_scope: bool = False
    pretrained: bool = False
    divisor: int = Settings.divisor
    shape: tuple[int, int] = (320, 320)

    def __post_init__(self):
        Budget('flops', self.keep)  # which refuses what is no share
        if self.divisor < 1:
            raise ValueError(
                f'divisor={self.divisor} must be at least 1, such as 8.'
            )

    @property
    def budget(self) -> Budget:
        """What the final sub-model may cost."""
        of = 'scope' if self.of_scope else 'model'
        return Budget('flops', self.keep, of)


@dataclass(frozen=True, eq=False)
class Trial:
    """The model of a config, as the hook would find it.

    Attributes:
        model: With first weights, in training mode.
        graph: Its channels.
        groups: Those that are explored.
        counts: Channels per group of the uniformly narrow model.
        optimizer: Of the run.
    """

    model: nn.Module
    graph: ChannelGraph
    groups: tuple[ChannelGroup, ...]
    counts: Mapping[str, int]
    optimizer: Optimizer


@dataclass(frozen=True)
class Chexified:
    """A config that was written, in words.

    Attributes:
        text: The config.
        summary: What it costs and what cannot be cut, in lines.
        warnings: What is left for a person to mend.
    """

    text: str
    summary: str
    warnings: tuple[str, ...]


def chexify(
    name: str,
    base: Config,
    out: Path,
    adoption: Adoption,
    overwrite: bool = False,
) -> Chexified:
    """Writes `out`, which inherits from `name` and trains with CHEX.

    Args:
        name: Path of the base config, or `PACKAGE::PATH`.
        base: What it holds.
        out: The file to write.
        adoption: What to make of it.
        overwrite: Replace `out`.

    Raises:
        ChexError: The base cannot be explored, or `out` not be written.
        ValueError: The budget cannot be met.
    """
    check_file(out, overwrite)
    check_base(name, base)
    stage('build the dense model')
    draft = _draft(base, adoption)
    stage('trace and check what would be written')
    absolute = name if '::' in name else str(Path(name).absolute())
    trial = _tried(draft.text(absolute), draft, adoption)
    if _complete(draft, trial):
        trial = _tried(draft.text(absolute), draft, adoption)
    stage(f'write {out}')
    chexified = _in_words(draft, trial, inherited_name(name, out), adoption)
    with replacing(out) as unfinished:
        unfinished.write_text(chexified.text, encoding='utf-8')
    return chexified


def _draft(base: Config, adoption: Adoption) -> Draft:
    """What the model of the base tells."""
    model = build_model(base)
    changes = model_changes(model, base.model, adoption.pretrained)
    changes, scope = wrapped_backbone(
        base.model, adoption.scope, mergeable(base.model, changes)
    )
    budget = dict(type='flops', keep=adoption.keep)
    if adoption.of_scope:
        budget['of'] = 'scope'
    hook = dict(budget=budget)
    if scope:
        hook['scope'] = list(scope)
    if adoption.divisor != Settings.divisor:
        hook['divisor'] = adoption.divisor
    return Draft(
        base,
        hook,
        changes,
        pretrained=adoption.pretrained,
        is_synchronised=any(
            isinstance(m, _BatchNorm) for m in model.modules()
        ),
    )


def _tried(text: str, draft: Draft, adoption: Adoption) -> Trial:
    """Builds and traces the model that a text describes."""
    config = _read(text)
    model = revert_sync_batchnorm(build_model(config))
    draw_vectors(model)
    batch = generated_batch(model, (3, *adoption.shape), config)
    graph = trace_detector(model, batch)
    part = adoption.scope or None, draft.hook.get('exclude')
    counts = uniform_counts(graph, adoption.budget, *part, adoption.divisor)
    groups = tuple(graph.groups[n] for n in select_groups(graph, *part))
    model.init_weights()
    model.train()
    return Trial(model, graph, groups, counts, _optimizer(model, config))


def _optimizer(model: nn.Module, config: Config) -> Optimizer:
    """The optimizer of a config; mixed precision may ask for a GPU."""
    kept = ('optimizer', 'paramwise_cfg', 'constructor')
    wrapper = {k: v for k, v in config.optim_wrapper.items() if k in kept}
    wrapper['type'] = 'OptimWrapper'
    return build_optim_wrapper(model, wrapper).optimizer


def _read(text: str) -> Config:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, 'config.py')
        path.write_text(text, encoding='utf-8')
        try:
            return Config.fromfile(path)
        except Exception as error:
            raise ChexError(
                'No config can inherit from this one: '
                f'{type(error).__name__}: {error}'
            ) from error


def _complete(draft: Draft, trial: Trial) -> bool:
    """Adds what only the built model tells; whether there was something."""
    frozen = recipe.frozen_modules(trial.model, trial.groups)
    decayed = recipe.decayed_scales(trial.model, trial.groups, trial.optimizer)
    if frozen:
        draft.hook['exclude'] = list(frozen)
    if decayed:
        draft.paramwise['custom_keys'] = {
            path: {**_own_settings(draft.base, path), 'decay_mult': 0}
            for path in decayed
        }
    return bool(frozen or decayed)


def _own_settings(base: Config, path: str) -> dict:
    """What the base's custom_keys say of a module: the longest key wins."""
    paramwise = base.optim_wrapper.get('paramwise_cfg') or {}
    keys = paramwise.get('custom_keys') or {}
    ranked = sorted(sorted(keys), key=len, reverse=True)
    return next((dict(keys[key]) for key in ranked if key in path), {})


def _in_words(
    draft: Draft, trial: Trial, inherited: str, adoption: Adoption
) -> Chexified:
    base = draft.base
    dropped = not adoption.pretrained and (
        bool(base.get('load_from')) or any(pretrained_places(base.model))
    )
    warnings = recipe.recipe_warnings(
        trial.model, trial.groups, trial.optimizer
    )
    notes = [
        *warnings,
        *(() if adoption.pretrained else advice.length_advice(base, dropped)),
        *advice.exploration_advice(base),
        *advice.norm_advice(trial.graph, trial.groups),
        *(advice.input_advice(base) if dropped else ()),
    ]
    sample = package_of(base).unit(adoption.shape)
    summary = '\n'.join(_summary(trial, adoption, sample))
    start = 'from given weights' if adoption.pretrained else 'from scratch'
    title = f'CHEX {start} to {adoption.budget}.'
    code = draft.text(inherited)
    parts = [docstring(title, summary), code, *map(comment, notes)]
    return Chexified('\n\n'.join(parts) + '\n', summary, tuple(warnings))


def _summary(trial: Trial, adoption: Adoption, sample: str) -> list[str]:
    """What the model costs, and what no budget can cut."""
    graph, counts = trial.graph, trial.counts
    scope = adoption.scope if adoption.of_scope else None
    dense = adoption.budget.cost(graph, None, scope)
    of = 'the scope' if adoption.of_scope else 'the model'
    channels = sum(group.size for group in trial.groups)
    return [
        f'Dense: {graph.flops() / 1e9:.4g} GFLOPs for {sample}, '
        f'{graph.params() / 1e6:.4g} M parameters.',
        f'The budget leaves {dense * adoption.keep / 1e9:.4g} of '
        f'{dense / 1e9:.4g} GFLOPs of {of}; a uniformly narrow model of that '
        f'cost has {graph.params(counts) / 1e6:.4g} M parameters.',
        f'Explored: {channels} channels in {len(trial.groups)} groups. '
        'Pinned, never cut:',
        *(f'  {line}' for line in advice.pinned_lines(graph)),
    ]
