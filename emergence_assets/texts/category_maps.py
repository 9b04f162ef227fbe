"""Maps from the subjects of published label sets to coarser levels: area and domain."""

from collections.abc import Mapping

from resources.errors import EmergenceError

# domain -> area -> subjects of MMLU: Hendrycks et al. 2021, categories.py of github.com/hendrycks/test (MIT licence).
_MMLU = {
    "STEM": {
        "physics": "astronomy college_physics conceptual_physics high_school_physics",
        "chemistry": "college_chemistry high_school_chemistry",
        "biology": "college_biology high_school_biology",
        "computer science": (
            "college_computer_science computer_security high_school_computer_science machine_learning"
        ),
        "math": (
            "abstract_algebra college_mathematics elementary_mathematics high_school_mathematics high_school_statistics"
        ),
        "engineering": "electrical_engineering",
    },
    "humanities": {
        "history": "high_school_european_history high_school_us_history high_school_world_history prehistory",
        "philosophy": "formal_logic logical_fallacies moral_disputes moral_scenarios philosophy world_religions",
        "law": "international_law jurisprudence professional_law",
    },
    "social sciences": {
        "politics": "high_school_government_and_politics public_relations security_studies us_foreign_policy",
        "culture": "human_sexuality sociology",
        "economics": "econometrics high_school_macroeconomics high_school_microeconomics",
        "geography": "high_school_geography",
        "psychology": "high_school_psychology professional_psychology",
    },
    "other": {
        "other": "global_facts miscellaneous professional_accounting",
        "business": "business_ethics management marketing",
        "health": (
            "anatomy clinical_knowledge college_medicine human_aging medical_genetics nutrition professional_medicine "
            "virology"
        ),
    },
}
_NAMED = {"mmlu": _MMLU}


def category_map(name: str) -> Mapping[str, Mapping[str, str]]:
    """Return the levels area and domain of a shipped map, each a mapping from subject to category.

    Raises:
        EmergenceError: there is no map of this name.
    """
    if name not in _NAMED:
        raise EmergenceError(f"there is no category map {name!r}", remedy=f"use one of: {', '.join(_NAMED)}")
    area, domain = {}, {}
    for domain_name, areas in _NAMED[name].items():
        for area_name, subjects in areas.items():
            for subject in subjects.split():
                area[subject], domain[subject] = area_name, domain_name
    return {"area": area, "domain": domain}
