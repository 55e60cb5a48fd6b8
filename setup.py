"""Packaging of chex_mm.

torch and mmengine, and what these bring, are all it needs; detectors come with
the extra `mmdet`.
As with all packages of OpenMMLab, configs and tools lie in `.mim` of what is
installed, where `mim` and `chex_mm::...` find them.
"""

import shutil
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent
# What goes into `chex_mm/.mim`.
SHIPPED = ('configs', 'tools', 'model-index.yml')


class BuildWithTools(build_py):
    """Adds configs and tools; an editable install gets links to them."""

    def run(self):
        """Builds the package and fills its `.mim`."""
        super().run()
        if self.editable_mode:
            folder = ROOT / 'chex_mm' / '.mim'
        else:
            folder = Path(self.build_lib, 'chex_mm', '.mim')
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for name in SHIPPED:
            source, target = ROOT / name, folder / name
            if self.editable_mode:
                target.symlink_to(Path('..', '..', name))
            elif source.is_dir():
                ignored = shutil.ignore_patterns('__pycache__')
                shutil.copytree(source, target, ignore=ignored)
            else:
                shutil.copy2(source, target)


def read_version() -> str:
    """The version, without importing a package that needs torch."""
    scope: dict = {}
    exec((ROOT / 'chex_mm' / 'version.py').read_text(), scope)
    return scope['__version__']


def read_readme() -> str:
    path = ROOT / 'README.md'
    return path.read_text(encoding='utf-8') if path.is_file() else ''


setup(
    name='chex_mm',
    version=read_version(),
    description='Train OpenMMLab models from scratch to a budget by channel '
    'exploration',
    long_description=read_readme(),
    long_description_content_type='text/markdown',
    keywords='channel pruning, object detection, point clouds, OpenMMLab',
    author='The chex_mm developers',
    license='Apache-2.0',
    license_files=['LICENSE'],
    cmdclass={'build_py': BuildWithTools},
    packages=find_packages(include=['chex_mm', 'chex_mm.*']),
    package_data={'chex_mm.report': ['*.html']},
    python_requires='>=3.9',
    install_requires=['torch>=2.1', 'mmengine>=0.10', 'numpy', 'jinja2>=3'],
    extras_require={
        'mmdet': ['mmcv>=2.0.0rc4,<2.2', 'mmdet>=3.3,<3.4'],
        'mmdet3d': ['mmcv>=2.0.0rc4,<2.2', 'mmdet>=3.3,<3.4', 'mmdet3d>=1.4'],
        'export': ['onnx>=1.14', 'onnxruntime>=1.16'],
        'docs': ['mkdocs>=1.6,<2', 'mkdocs-material', 'mkdocstrings[python]'],
        'tests': ['pytest', 'hypothesis', 'ruff'],
    },
    classifiers=[
        'Development Status :: 4 - Beta',
        'Operating System :: POSIX :: Linux',
        'Programming Language :: Python :: 3',
        'Topic :: Scientific/Engineering :: Artificial Intelligence',
    ],
)
