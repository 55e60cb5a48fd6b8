"""Prints the changes to other packages: `python -m chex_mm.patches`."""

from . import PATCHES, Patch


def text(name: str, patch: Patch) -> str:
    """One patch as lines."""
    return '\n'.join(
        [
            name,
            f'  changes {patch.target}',
            f'  so that {patch.what}',
            f'  because {patch.why}',
            f'  until   {patch.until}',
            f'  undo    {patch.undo}',
        ]
    )


if __name__ == '__main__':
    print('\n\n'.join(text(*item) for item in PATCHES.items()))  # noqa: T201
