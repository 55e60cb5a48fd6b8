"""Packaging of chex_mm.

torch and mmengine are all it needs; detectors come with the extra `mmdet`.
"""

from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent


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
    author='The chex_mm developers',
    license='Apache-2.0',
    license_files=['LICENSE'],
    packages=find_packages(include=['chex_mm', 'chex_mm.*']),
    python_requires='>=3.9',
    install_requires=['torch>=2.1', 'mmengine>=0.10', 'numpy'],
    extras_require={
        'mmdet': ['mmcv>=2.0.0rc4,<2.2', 'mmdet>=3.3,<3.4'],
        'mmdet3d': ['mmcv>=2.0.0rc4,<2.2', 'mmdet>=3.3,<3.4', 'mmdet3d>=1.4'],
        'export': ['onnx>=1.14', 'onnxruntime>=1.16'],
        'tests': ['pytest', 'hypothesis', 'ruff'],
    },
    classifiers=[
        'Programming Language :: Python :: 3',
        'Topic :: Scientific/Engineering :: Artificial Intelligence',
    ],
)
