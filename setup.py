"""Wheels that carry builds of the extension are for one platform, and for every Python on it."""

from pathlib import Path

from setuptools import Distribution, setup
from setuptools.command.bdist_wheel import bdist_wheel

PREBUILT = Path(__file__).parent / "dcsh_pg" / "database" / "server" / "prebuilt"


class PlatformDistribution(Distribution):
    def has_ext_modules(self) -> bool:
        return PREBUILT.is_dir()


class PlatformWheel(bdist_wheel):
    def get_tag(self) -> tuple[str, str, str]:
        return "py3", "none", super().get_tag()[2]


setup(distclass=PlatformDistribution, cmdclass={"bdist_wheel": PlatformWheel})
