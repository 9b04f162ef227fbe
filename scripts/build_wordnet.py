"""Rebuild the shipped WordNet table, tokenizer, token ids and licence from Debian's `wordnet-base` data files.

Run once per WordNet version, by a maintainer: `python scripts/build_wordnet.py /usr/share/wordnet`. The package itself
only reads the results (`texts/wordnet/corpus.py`). Same data files and same versions of polars and
tokenizers give the same bytes. File format of the input: the manual page wndb(5WN).
"""

import argparse
import re
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from emergence_assets.texts.wordnet import corpus
from resources.files.versions import file_sha256

VOCAB_SIZE = 2048
DOCUMENT_ORDER_SEED = 0
N_SYNSETS = 117_659  # WordNet 3.0, all four parts of speech

LEXNAMES = (  # noqa: SIM905, a literal list would take forty-five lines
    "adj.all adj.pert adv.all noun.Tops noun.act noun.animal noun.artifact noun.attribute noun.body noun.cognition "
    "noun.communication noun.event noun.feeling noun.food noun.group noun.location noun.motive noun.object noun.person "
    "noun.phenomenon noun.plant noun.possession noun.process noun.quantity noun.relation noun.shape noun.state "
    "noun.substance noun.time verb.body verb.change verb.cognition verb.communication verb.competition "
    "verb.consumption verb.contact verb.creation verb.emotion verb.motion verb.perception verb.possession verb.social "
    "verb.stative verb.weather adj.ppl"
).split()
"""Name of each lexicographer file by its number: lexnames(5WN)."""

# domain -> lexname of the root synset -> lemmas of the roots. A subject is everything below one root. Roots were chosen
# to be everyday words, far apart in the hierarchy and large enough to give forty held-out texts (two are not).
SUBJECT_ROOTS: dict[str, dict[str, str]] = {
    "living": {
        "noun.animal": "bird, fish, insect, mammal, reptile, microorganism",
        "noun.plant": "tree, herb, shrub, fungus, vine",
        "noun.group": "genus",
    },
    "food": {"noun.food": "beverage, dish, produce, baked goods"},
    "body-medicine": {
        "noun.body": "organ, blood vessel",
        "noun.state": "illness, symptom",
        "noun.artifact": "medicine",
    },
    "artifact": {
        "noun.artifact": "clothing, vehicle, building, tool, container, fabric, machine, weaponry",
    },
    "culture": {
        "noun.communication": "music, natural language, document",
        "noun.cognition": "discipline",
        "noun.act": "diversion",
        "noun.group": "organization",
    },
    "person": {"noun.person": "writer, scientist, deity, performer, head of state, serviceman"},
    "place": {"noun.location": "city", "noun.object": "body of water, geological formation, land"},
    "science": {
        "noun.substance": "organic compound",
        "noun.quantity": "unit of measurement, monetary unit",
        "noun.phenomenon": "physical phenomenon",
        "noun.time": "time period",
    },
    "mind": {"noun.Tops": "feeling", "noun.attribute": "trait", "noun.cognition": "belief"},
}

CHANGES = """\
Notice of changes
-----------------
synsets.parquet holds a part of WordNet 3.0 as packaged by Debian (wordnet-base): of every synset its identifier,
lexicographer file, at most three lemmas, definition and first example. The columns `subject` and `domain` were
derived from the hypernym pointers. tokenizer.json is a byte-pair encoding learnt from these texts, and token_ids.npz
holds the texts in this encoding. The files were made by scripts/build_wordnet.py and come under the licence above.
WordNet is a registered trademark of Princeton University, which neither made nor endorses these files.
"""


class Synset(NamedTuple):
    """One synset as read; `hypernyms` are synset ids."""

    synset_id: str
    lexname: str
    lemmas: list[str]
    definition: str
    example: str | None
    hypernyms: list[str]


def split_gloss(gloss: str) -> tuple[str, str | None]:
    """Split a gloss into its definition and first quoted example; an unclosed quotation ends with the gloss."""
    definition, _, quoted = re.sub(r"\s+", " ", gloss).strip().partition('; "')
    if definition.startswith('"'):  # a handful of glosses consist of a quotation only
        definition, quoted = definition.strip('"'), ""
    example = quoted.partition('"')[0].strip()
    return definition.strip(" ;"), example or None


def parse_synset(line: str) -> Synset:
    """Parse one line of a data file."""
    head, _, gloss = line.partition(" | ")
    fields = iter(head.split())
    offset, lexicographer_file, part_of_speech = next(fields), int(next(fields)), next(fields)
    lemmas = []
    for _ in range(int(next(fields), 16)):
        # Adjectives carry their syntactic position, as in "asleep(p)".
        lemmas.append(re.sub(r"\((a|p|ip)\)$", "", next(fields)).replace("_", " "))
        next(fields)  # sense number
    hypernyms = []
    for _ in range(int(next(fields))):
        symbol, target, target_part_of_speech, _ = next(fields), next(fields), next(fields), next(fields)
        if symbol in ("@", "@i"):
            hypernyms.append(target_part_of_speech + target)
    definition, example = split_gloss(gloss)
    return Synset(part_of_speech + offset, LEXNAMES[lexicographer_file], lemmas, definition, example, hypernyms)


def read_data_files(folder: Path) -> list[Synset]:
    """Read all synsets in file order: nouns, verbs, adjectives, adverbs."""
    lines = [
        line
        for name in ("noun", "verb", "adj", "adv")
        for line in (folder / f"data.{name}").read_text(encoding="ascii").splitlines()
        if not line.startswith("  ")  # the licence
    ]
    return [parse_synset(line) for line in lines]


def label_subjects(synsets: list[Synset]) -> dict[str, tuple[str, str]]:
    """Return subject and domain of every noun below exactly one root, so that subjects are disjoint."""
    nouns = {synset.synset_id: synset for synset in synsets if synset.synset_id[0] == "n"}
    above: dict[str, frozenset[str]] = {}

    def ancestors(synset_id: str) -> frozenset[str]:
        """Return the synset itself and all its ancestors."""
        if synset_id not in above:
            parents = (ancestors(parent) for parent in nouns[synset_id].hypernyms)
            above[synset_id] = frozenset({synset_id}).union(*parents)
        return above[synset_id]

    n_below = Counter(ancestor for synset_id in nouns for ancestor in ancestors(synset_id))
    subject_of_root: dict[str, tuple[str, str]] = {}
    for domain, roots in SUBJECT_ROOTS.items():
        for lexname, lemmas in roots.items():
            for lemma in lemmas.split(", "):
                senses = [s.synset_id for s in nouns.values() if s.lexname == lexname and lemma in s.lemmas]
                # Of several senses, the sense with the most synsets below it is the everyday sense.
                subject_of_root[max(senses, key=lambda sense: n_below[sense])] = (lemma, domain)
    labels = {}
    for synset_id in nouns:
        roots_above = ancestors(synset_id) & subject_of_root.keys()
        if len(roots_above) == 1:
            labels[synset_id] = subject_of_root[next(iter(roots_above))]
    return labels


def synsets_table(synsets: list[Synset]) -> pl.DataFrame:
    """Make the shipped table, one row per synset in file order."""
    labels = label_subjects(synsets)
    unlabelled = (None, None)
    return pl.DataFrame(
        {
            "synset_id": [s.synset_id for s in synsets],
            "lexname": [s.lexname for s in synsets],
            "lemmas": [s.lemmas[:3] for s in synsets],
            "definition": [s.definition for s in synsets],
            "example": [s.example for s in synsets],
            "subject": [labels.get(s.synset_id, unlabelled)[0] for s in synsets],
            "domain": [labels.get(s.synset_id, unlabelled)[1] for s in synsets],
        },
        schema=corpus.SCHEMA,
    )


def train_tokenizer(documents: list[str]) -> Tokenizer:
    """Train a byte-level byte-pair encoding: any text has tokens, and a line break is always a token of its own."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)  # pyright: ignore[reportAttributeAccessIssue]
    tokenizer.decoder = decoders.ByteLevel()  # pyright: ignore[reportAttributeAccessIssue]
    trainer = trainers.BpeTrainer(
        vocab_size=VOCAB_SIZE,
        special_tokens=[corpus.END_OF_TEXT, corpus.PADDING],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(documents, trainer)
    return tokenizer


def encode(tokenizer: Tokenizer, table: pl.DataFrame, split: corpus.Split) -> np.ndarray:
    """Encode one side of the split: uint16 array of shape (n_tokens,), see `corpus.corpus_token_ids`."""
    texts = [text for text, _ in corpus.documents(table, split)]
    end_of_text = tokenizer.token_to_id(corpus.END_OF_TEXT)
    encodings = tokenizer.encode_batch(texts)
    order = np.random.default_rng(DOCUMENT_ORDER_SEED).permutation(len(texts))
    return np.concatenate([np.array([end_of_text, *encodings[i].ids], dtype=np.uint16) for i in order])


def write_token_ids(folder: Path) -> None:
    """Encode the texts of the table in a folder with its tokenizer, and write their token ids."""
    table = pl.read_parquet(folder / corpus.SYNSETS_PATH.name, schema=corpus.SCHEMA)
    tokenizer = Tokenizer.from_file(str(folder / corpus.TOKENIZER_PATH.name))
    hashes = [file_sha256(folder / path.name) for path in (corpus.SYNSETS_PATH, corpus.TOKENIZER_PATH)]
    np.savez_compressed(
        folder / corpus.TOKEN_IDS_PATH.name,
        made_from=np.array(" ".join(hashes)),
        training=encode(tokenizer, table, "training"),
        heldout=encode(tokenizer, table, "heldout"),
    )


def main() -> None:
    """Write the four files; the table first, because the tokenizer learns from its training documents."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("data_files", type=Path, help="folder with data.noun, data.verb, data.adj and data.adv")
    parser.add_argument("--into", type=Path, default=corpus.SYNSETS_PATH.parent, help="folder to write to")
    arguments = parser.parse_args()

    synsets = read_data_files(arguments.data_files)
    if len(synsets) != N_SYNSETS:
        parser.error(f"{arguments.data_files} holds {len(synsets)} synsets, WordNet 3.0 has {N_SYNSETS}")
    table = synsets_table(synsets)
    table.write_parquet(arguments.into / corpus.SYNSETS_PATH.name, compression="zstd", compression_level=22)
    tokenizer = train_tokenizer([document for document, _ in corpus.documents(table, "training")])
    (arguments.into / corpus.TOKENIZER_PATH.name).write_text(tokenizer.to_str(pretty=True) + "\n", encoding="utf-8")

    write_token_ids(arguments.into)

    header = (arguments.data_files / "data.noun").read_text(encoding="ascii").splitlines()
    licence = [re.sub(r"^ +\d+ ?", "", line).rstrip() for line in header if line.startswith("  ")]
    (arguments.into / "LICENSE").write_text("\n".join([*licence, "", CHANGES]), encoding="utf-8")


if __name__ == "__main__":
    main()
