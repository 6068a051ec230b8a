"""Synthetic georeferenced imagery, and a small model of it, for the demo and for tests."""

from pathlib import Path

MODEL = Path(__file__).with_name("model.onnx")
"""A model that learned from other scenes of :mod:`dcsh_pg.synthetic.archive` than those of the demo;
``packaging/make_demo_model`` makes it."""
