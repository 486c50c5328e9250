"""Builds the inner loops in C where there is a compiler; without one etpack works the same, only slower."""

from setuptools import Extension, setup

kernels = Extension("etpack._kernels", ["etpack/_kernels.c"], extra_compile_args=["-O3"], optional=True)
setup(ext_modules=[kernels])
