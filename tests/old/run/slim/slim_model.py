"""Builds the narrow model of `standalone_config.py`, without chex_mm.

It is the detector that `architecture` describes, with the sizes of
`channels` in place of its own. The weights beside this file fill it:

    python tools/test.py standalone_config.py slim.pth

with the test script of mmdet (or of the package that the model is from), or
`mim test mmdet standalone_config.py --checkpoint slim.pth`. The config puts
its own folder on Python's path, so it can be called from anywhere; from
Python: `init_detector('standalone_config.py', 'slim.pth', cfg_options={})`.
"""

from mmengine.registry import MODELS


@MODELS.register_module(name='StandaloneSlimModel', force=True)
def standalone_slim_model(architecture, channels, data_preprocessor=None):
    """Builds `architecture` and makes it narrow.

    Args:
        architecture (dict): The model config of the dense model.
        channels (dict): Module path to the names and sizes that differ from
            the dense model: attributes as integers, tensors as shapes.
        data_preprocessor (dict, optional): Of the whole config.
    """
    architecture = architecture.copy()
    if data_preprocessor is not None:
        architecture.setdefault('data_preprocessor', data_preprocessor)
    model = MODELS.build(architecture)
    if any('missing_columns' in sizes for sizes in channels.values()):
        import slim_kernels  # noqa: F401  (beside this file, if needed)
    for path, sizes in channels.items():
        module = model.get_submodule(path)
        for name, size in sizes.items():
            if isinstance(size, int):
                setattr(module, name, size)
            else:
                tensor = getattr(module, name)
                first = tuple(slice(length) for length in size)
                tensor.data = tensor.data[first].clone()
    for module in model.modules():
        # mmdet 3.3.0 reads this attribute of every anchor head, but its
        # SSDHead does not set it.
        if type(module).__name__ == 'SSDHead':
            module.loss_cls = getattr(module, 'loss_cls', None)
    return model
