"""Presence over layers: profiles, dips, reactivation."""
