"""The attribute that mmdet's SSD lacks, without which it cannot predict."""

from __future__ import annotations

from mmdet.models.dense_heads.ssd_head import SSDHead


def name_the_loss() -> None:
    """Gives the class the attribute; a version that has it keeps its own."""
    if not hasattr(SSDHead, 'loss_cls'):
        SSDHead.loss_cls = None
