"""Rows that an SAE can reconstruct: sums of few atoms of a planted dictionary, with noise and a constant.

Shape suffixes: t rows · d d_model · m atoms · k atoms of a row.
"""

import numpy as np
import scipy.sparse
from numpy.typing import NDArray

N_ACTIVE = 24
ZIPF_EXPONENT = 0.7
NOISE = 0.1
"""Standard deviation per coordinate; the sum of atoms has about 0.4 at 512 dimensions."""


def planted_rows(n_rows: int, d_model: int, n_atoms: int, seed: int = 0) -> NDArray[np.float32]:
    """Draw rows [t, d] with variance 1 per coordinate, so that scaling the input changes nothing.

    Args:
        n_rows: number of rows.
        d_model: width of a row.
        n_atoms: number of random unit directions; the m-th has frequency m ** -0.7.
        seed: seed of all draws.
    """
    draw = np.random.default_rng(seed)
    atoms_md = draw.standard_normal((n_atoms, d_model), dtype=np.float32)
    atoms_md /= np.linalg.norm(atoms_md, axis=1, keepdims=True)
    frequencies_m = np.arange(1, n_atoms + 1) ** -ZIPF_EXPONENT
    chosen_tk = draw.choice(n_atoms, (n_rows, N_ACTIVE), p=frequencies_m / frequencies_m.sum())
    lengths_tk = 0.5 + draw.standard_exponential((n_rows, N_ACTIVE), dtype=np.float32)
    offsets = np.arange(0, chosen_tk.size + 1, N_ACTIVE)
    mixture = scipy.sparse.csr_matrix((lengths_tk.ravel(), chosen_tk.ravel(), offsets), shape=(n_rows, n_atoms))
    rows_td = np.asarray(mixture @ atoms_md)
    rows_td += NOISE * draw.standard_normal(rows_td.shape, dtype=np.float32)
    mean_d = rows_td.mean(0)
    rows_td -= mean_d
    rows_td /= np.sqrt(np.square(rows_td).mean())
    rows_td += draw.standard_normal(d_model, dtype=np.float32)
    return rows_td
