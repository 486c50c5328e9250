"""Builds the inner loops in C where there is a compiler; without one etpack works the same, only slower."""

import os

from setuptools import Extension, setup

kernels = Extension("etpack._kernels", ["etpack/_kernels.c"], extra_compile_args=["-O3"], optional=True)
# An editable install puts what it builds into the source tree, where another environment may be using it.
setup(ext_modules=[] if os.environ.get("ETPACK_WITHOUT_C") else [kernels])
