"""Why a model answered what it answered: how much each input moved this very answer away from the usual one.

`shapley` (shap) gives the figures and `second` (captum's LIME) another opinion of the same question, `agreement` says how far the two
agree; all of them play the game of `game`. `python -m training.explain` is the process behind the gateway. Knows no HTTP and no ledger.
"""
