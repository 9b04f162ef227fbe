"""The pipeline on one page: what Dagster loads. `STAGES` is the order in which data flows."""

from emergence_assets.orchestration.build import build_definitions
from emergence_assets.study.load import load_study
from resources.files.storage import Storage, data_folder

_study = load_study()
defs = build_definitions(_study, Storage(data_folder(), _study.name))
