"""Dagster definitions of the chosen study, for `dagster dev` and `emergence ui`."""

from emergence_assets.orchestration.build import build_definitions
from emergence_assets.study.load import load_study
from resources.files.storage import Storage, data_folder

_study = load_study()
defs = build_definitions(_study, Storage(data_folder(), _study.name))
