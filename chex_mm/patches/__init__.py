"""Every change to another package that stays, in one table.

Nothing else in chex_mm replaces anything of another package for good. A patch
is applied by name or all together, once what it changes is imported.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from importlib import import_module

from ..importing import when_imported
from ..registry import is_installed


@dataclass(frozen=True)
class Patch:
    """One change to another package.

    Attributes:
        target: What is changed, by its full name.
        what: What it does from then on.
        why: What goes wrong without it.
        until: The first version that no longer needs it, as far as known.
        undo: How it is undone in a process that has it.
        needs: Modules that have to be installed.
        after: The module that it waits for; it imports none itself.
        function: `module:function` that applies it; a second call changes
            nothing.
    """

    target: str
    what: str
    why: str
    until: str
    undo: str
    needs: tuple[str, ...]
    after: str
    function: str


PATCHES = {
    'whole_files': Patch(
        target="mmengine's backend of local files",
        what='files, checkpoints above all, appear whole or not at all',
        why='a run killed while it writes leaves half a checkpoint',
        until='no version of mmengine does so',
        undo="register_backend('local', LocalBackend, force=True, "
        "prefixes='')",
        needs=('mmengine',),
        after='mmengine',
        function='chex_mm.patches.whole_files:write_whole_files',
    ),
    'safe_load': Patch(
        target="torch's list of types that torch.load(weights_only=True) "
        'reads',
        what="mmengine's log history, config dicts and numpy's numbers are "
        'on it',
        why='mmengine 0.10.7 cannot resume its own checkpoints with torch '
        '2.6 and later',
        until='mmengine adds them itself',
        undo='torch.serialization.clear_safe_globals()',
        needs=('mmengine',),
        after='mmengine',
        function='chex_mm.patches.safe_load:allow_mmengine_types',
    ),
    'mask_pasting': Patch(
        target='mmdet.models.roi_heads.mask_heads.fcn_mask_head.'
        '_do_paste_mask',
        what='a box outside of the image has no mask on a CPU',
        why='untrained detectors predict such boxes (QueryInst), and it fails',
        until='no version of mmdet does so',
        undo='fcn_mask_head._do_paste_mask = '
        'fcn_mask_head._do_paste_mask.__wrapped__',
        needs=('mmdet', 'mmcv'),
        after='mmdet.models.roi_heads.mask_heads.fcn_mask_head',
        function='chex_mm.patches.mask_pasting:allow_boxes_outside',
    ),
    'ssd_head': Patch(
        target='mmdet.models.dense_heads.SSDHead.loss_cls',
        what='it is None where the class has no such attribute',
        why="mmdet 3.3.0's `AnchorHead.predict` reads it, so that no SSD can "
        'be evaluated',
        until='SSDHead has the attribute itself',
        undo='del SSDHead.loss_cls',
        needs=('mmdet', 'mmcv'),
        after='mmdet.models.dense_heads.ssd_head',
        function='chex_mm.patches.ssd_head:name_the_loss',
    ),
    'kitti_overlap': Patch(
        target='mmdet3d.evaluation.functional.kitti_utils.rotate_iou',
        what="without CUDA chex_mm's module stands in its place",
        why="mmdet3d's compiles for CUDA when it is imported, so KITTI's "
        'metric needs a GPU',
        until='no version of mmdet3d does so',
        undo="del sys.modules['mmdet3d.evaluation.functional.kitti_utils."
        "rotate_iou']",
        needs=('mmdet3d',),
        after='mmdet3d',
        function='chex_mm.patches.kitti_overlap:stand_in',
    ),
    'point_kernels': Patch(
        target='operators on points of mmcv, spconv and mmdet3d '
        '(`chex_mm.points.install.KERNELS`)',
        what='tensors on the CPU are computed by chex_mm.points; all others '
        'as they were',
        why='mmcv has these operators for CUDA only, or not exact with '
        'several threads',
        until='no version of mmcv has them',
        undo='start a process that does not import chex_mm.engine',
        needs=('mmcv._ext', 'numba'),
        after='mmcv',
        function='chex_mm.points:install_all',
    ),
}


def apply_patches(*names: str) -> None:
    """Applies the patches of these names, or all, where they are needed.

    Raises:
        KeyError: There is no patch of such a name.
    """
    for name in names or PATCHES:
        patch = PATCHES[name]
        if all(map(is_installed, patch.needs)):
            when_imported(patch.after, partial(_apply, patch))


def _apply(patch: Patch) -> None:
    module, _, function = patch.function.partition(':')
    getattr(import_module(module), function)()


def table() -> str:
    """All patches as a Markdown table."""
    rows = ['| patch | changes | so that | why | until | undo |', '|---' * 6]
    for name, patch in PATCHES.items():
        cells = (patch.target, patch.what, patch.why, patch.until)
        rows.append(f'| `{name}` | {" | ".join(cells)} | `{patch.undo}` |')
    return '\n'.join([rows[0], rows[1] + '|', *rows[2:]])
