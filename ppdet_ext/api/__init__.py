"""The library: `Predictor`, and the functions behind the tools; `from ppdet_ext import …` gives each (docs/python.md)."""
