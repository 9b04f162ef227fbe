def build_assets(study, rules):
    return []
