"""Fit loop, embedding cache and model artefacts."""
