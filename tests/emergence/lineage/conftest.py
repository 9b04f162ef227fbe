"""Codes with known content."""

from tests.features.conftest import random_codes  # noqa: F401 - a fixture
