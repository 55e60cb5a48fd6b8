"""Ten exploration steps of a small network, written down.

    python -m tests.old.explored > tests/old/explored.json

was run by version 0.1.0, before its modules were moved. It uses the public
interface only, so that any version can run it.
"""

import json

import torch
import torch.nn.functional as F
from torch import nn

import chex_mm

STEPS, ITERATIONS = 10, 3
EXECUTIONS = 'masked', 'compact'
OPTIMIZERS = {
    'SGD': lambda parameters: torch.optim.SGD(
        parameters, lr=0.1, momentum=0.9, weight_decay=1e-3
    ),
    'AdamW': lambda parameters: torch.optim.AdamW(parameters, lr=0.01),
}


class Net(nn.Module):
    """A stem, a residual block and a head without a norm."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 12, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(12)
        self.inner = nn.Conv2d(12, 16, 3, padding=1, bias=False)
        self.inner_norm = nn.BatchNorm2d(16)
        self.outer = nn.Conv2d(16, 12, 3, padding=1)
        self.hidden = nn.Linear(12, 20)
        self.head = nn.Linear(20, 3)

    def forward(self, x):
        x = F.relu(self.norm(self.stem(x)))
        x = x + self.outer(F.relu(self.inner_norm(self.inner(x))))
        return self.head(F.relu(self.hidden(x.mean((2, 3)))))


def explored(execution: str, optimizer: str) -> dict:
    """The masks after every step, and the weights in the end.

    Masks are strings of 0 and 1; of each tensor the norm and the sum.
    """
    torch.manual_seed(0)
    model = Net()
    images, labels = torch.randn(16, 3, 6, 6), torch.arange(16) % 3
    graph = chex_mm.trace_channels(model, (images,))
    explorer = chex_mm.ChannelExplorer(
        model,
        graph,
        budget=chex_mm.Budget('flops', keep=0.5),
        total_steps=STEPS,
        regrow=0.3,
        seed=0,
        execution=execution,
    )
    solver = OPTIMIZERS[optimizer](model.parameters())
    steps = []
    for _ in range(STEPS):
        for _ in range(ITERATIONS):
            solver.zero_grad()
            F.cross_entropy(model(images), labels).backward()
            solver.step()
            explorer.enforce()
        explorer.step(solver)
        steps.append(
            {
                name: ''.join(str(int(bit)) for bit in mask)
                for name, mask in explorer.keep.items()
            }
        )
    return dict(
        steps=steps,
        tensors={
            name: [float(tensor.double().norm()), float(tensor.double().sum())]
            for name, tensor in model.state_dict().items()
        },
    )


if __name__ == '__main__':
    torch.set_num_threads(1)
    found = {
        f'{execution} {optimizer}': explored(execution, optimizer)
        for execution in EXECUTIONS
        for optimizer in OPTIMIZERS
    }
    print(json.dumps(found, indent=1))
