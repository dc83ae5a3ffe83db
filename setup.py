"""What pyproject.toml cannot say: the folder `configs` is installed as the package `ppdet_ext.configs`."""

from setuptools import find_packages, setup

setup(
    packages=[*find_packages(include=["ppdet_ext", "ppdet_ext.*"]), "ppdet_ext.configs"],
    package_dir={"ppdet_ext.configs": "configs"},
    package_data={"ppdet_ext": ["py.typed", "**/static/*", "**/templates/**/*.html"], "ppdet_ext.configs": ["**/*.yml"]},
)
