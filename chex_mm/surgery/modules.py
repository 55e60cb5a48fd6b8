"""What a module says about the sizes of its tensors.

Modules keep sizes as plain attributes (`in_channels`, `groups`) that some of
them compute with. After a cut every such attribute follows from the tensors,
through one small function per module type; a type without one is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd
from torch.nn.modules.instancenorm import _InstanceNorm

from ..errors import ChexError
from ..registry import Table, key_in

Attributes = Callable[[nn.Module], 'dict[str, int]']


class UnknownModule(ChexError):
    """Nothing says how the sizes of a module follow its tensors.

    Attributes:
        tensor: Name in the model of the tensor that was to be cut.
    """

    def __init__(self, message: str, tensor: str):
        super().__init__(message)
        self.tensor = tensor


# A type, or the full name of one whose package need not be there.
ATTRIBUTES = Table('attributes')


def attributes(
    *types: type[nn.Module] | str,
) -> Callable[[Attributes], Attributes]:
    """Enters the decorated function into ATTRIBUTES for `types`.

    The function takes a module with cut tensors and old attributes, and
    returns the attributes that fit the tensors. It serves subclasses too and
    changes nothing where the attributes already fit.

    Example:
        @attributes(MyConv)
        def my_conv(module):
            return {'in_channels': module.weight.shape[1]}
    """

    return ATTRIBUTES.register(*types)


@attributes(_ConvNd, 'torchvision.ops.deform_conv.DeformConv2d')
def convolution(module: nn.Module) -> dict[str, int]:
    """Sizes of a plain, grouped, depthwise or transposed convolution."""
    # (out, in / groups, ...), transposed: (in, out / groups, ...)
    first, second = module.weight.shape[:2]
    # torchvision's deformable one has no such attribute
    transposed = getattr(module, 'transposed', False)
    before = module.in_channels if transposed else module.out_channels
    groups = module.groups
    if 1 < groups == module.in_channels:  # depthwise: one group per channel
        groups = groups * first // before
    if transposed:
        sizes = {'in_channels': first, 'out_channels': second * groups}
    else:
        sizes = {'in_channels': second * groups, 'out_channels': first}
    return {**sizes, 'groups': groups}


@attributes(nn.Linear)
def linear(module: nn.Linear) -> dict[str, int]:
    """Sizes of a linear layer."""
    out_features, in_features = module.weight.shape
    return {'in_features': in_features, 'out_features': out_features}


@attributes(nn.Embedding)
def embedding(module: nn.Embedding) -> dict[str, int]:
    """Sizes of an embedding table."""
    rows, columns = module.weight.shape
    return {'num_embeddings': rows, 'embedding_dim': columns}


@attributes(_BatchNorm, _InstanceNorm)
def norm(module: nn.Module) -> dict[str, int]:
    """Width of a norm that treats every channel by itself."""
    vector = module.running_mean if module.weight is None else module.weight
    return {'num_features': len(vector)}


@attributes(nn.GroupNorm)
def group_norm(module: nn.GroupNorm) -> dict[str, int]:
    """Width of a GroupNorm, of which whole norm groups are cut."""
    width = len(module.weight)
    return {
        'num_channels': width,
        'num_groups': module.num_groups * width // module.num_channels,
    }


@attributes(nn.PReLU)
def prelu(module: nn.PReLU) -> dict[str, int]:
    """Number of slopes."""
    return {'num_parameters': len(module.weight)}


@attributes(nn.RNNBase)
def recurrent(module: nn.RNNBase) -> dict[str, int]:
    """What a recurrent layer reads; its state is told by the trace."""
    return {'input_size': module.weight_ih_l0.shape[1]}


@attributes(nn.RNNCellBase)
def recurrent_cell(module: nn.RNNCellBase) -> dict[str, int]:
    """What a recurrent cell reads; its state is told by the trace."""
    return {'input_size': module.weight_ih.shape[1]}


def find_attributes(module: nn.Module) -> Attributes | None:
    """The entry of ATTRIBUTES for the most specific type of `module`."""
    return ATTRIBUTES.get(key_in(ATTRIBUTES, type(module)))


def fitting_attributes(module: nn.Module) -> dict[str, int]:
    """Attributes that fit the tensors of `module`; none for unknown types."""
    function = find_attributes(module)
    return function(module) if function else {}


def check_owner(
    module: nn.Module, path: str, tensor: str, sizes: Iterable[int]
) -> None:
    """Refuses an unknown module that may compute with a size to be cut.

    Args:
        module: Owner of a tensor that is to be cut.
        path: Where the module is in the model.
        tensor: Name of the tensor in the module.
        sizes: The dense sizes of the dimensions to be cut.

    Raises:
        UnknownModule: The type has no entry in ATTRIBUTES, yet an integer
            attribute of the module equals one of `sizes`.
    """
    suspects = [
        name
        for name, value in vars(module).items()
        if type(value) is int and name[0] != '_' and value in sizes
    ]
    if suspects and not find_attributes(module):
        name = type(module).__name__
        found = ', '.join(f'{n} = {getattr(module, n)}' for n in suspects)
        raise UnknownModule(
            f'{path or "The model"} is a {name} and owns {tensor!r}, which '
            f'is to be cut; its {found} may have to follow, but nothing says '
            'how. Declare it:\n'
            '    from chex_mm.surgery import attributes\n\n'
            f'    @attributes({name})\n'
            '    def sizes(module):  # return {} if none follows\n'
            f'        return {{{suspects[0]!r}: module.{tensor}.shape[0]}}',
            f'{path}.{tensor}'.lstrip('.'),
        )
