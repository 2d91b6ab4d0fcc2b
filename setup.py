"""Package metadata, read from `settings.ini` so that it is written down once."""
from configparser import ConfigParser
from pathlib import Path

from setuptools import find_packages, setup

ini = ConfigParser(delimiters=["="])
ini.read(Path(__file__).parent / "settings.ini", encoding="utf-8")
cfg = ini["DEFAULT"]

END = "_requirements"
extras = {key[: -len(END)]: cfg[key].split() for key in cfg if key.endswith(END)}
extras["all"] = sorted({req for reqs in extras.values() for req in reqs})
APART = "_apart"
extras |= {key[: -len(APART)]: cfg[key].split() for key in cfg if key.endswith(APART)}
python_versions = [f"3.{minor}" for minor in range(int(cfg["min_python"].split(".")[1]), 14)]
status = {"1": "Planning", "2": "Pre-Alpha", "3": "Alpha", "4": "Beta", "5": "Production/Stable"}[cfg["status"]]

setup(
    version=cfg["version"],
    description=cfg["description"],
    author=cfg["author"],
    license={"apache2": "Apache-2.0"}[cfg["license"]],
    keywords=cfg["keywords"].split(),
    python_requires=f">={cfg['min_python']}",
    classifiers=[
        f"Development Status :: {cfg['status']} - {status}",
        f"Intended Audience :: {cfg['audience']}",
        "Natural Language :: English",
        "Natural Language :: Chinese (Simplified)",
        "Topic :: Text Processing :: Linguistic",
        *(f"Programming Language :: Python :: {version}" for version in python_versions),
    ],
    install_requires=cfg["requirements"].split(),
    extras_require=extras,
    packages=find_packages(include=[cfg["lib_path"], f"{cfg['lib_path']}.*"]),
    include_package_data=True,
    entry_points={
        "console_scripts": cfg["console_scripts"].split(),
        "nbdev": [f"{cfg['lib_path']} = {cfg['lib_path']}._modidx:d"],
    },
)
