"""The card of a registered version: a CycloneDX ML-BOM beside its folder, made from facts that the stages left, never typed.

What is in it: assets/cards/document.py. What it must hold to be whole: serving/cards/wanted.py.
"""
