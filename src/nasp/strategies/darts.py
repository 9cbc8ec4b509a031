"""DARTS, first order: the alphas of a softmax mixture (Liu, Simonyan, Yang, ICLR 2019)."""

from __future__ import annotations

from nasp.strategies.relaxation import AlphaAdam, Relaxation


class DARTSConfig(AlphaAdam):
    """Settings of DARTS, of either order; the defaults are those of the authors' code."""


class DARTS(Relaxation):
    """Algorithm 1 of the paper with ξ = 0; every step runs all candidates, weighted by softmax(A).

    A ← A − ε ∇_A [L_val(w, A) + η R],  w ← w − γ ∇_w L_train(w, A). Derived are each edge's
    strongest candidate and each node's strongest edges, by softmax(A) without ``none`` (sec. 2.4).

    Args:
        problem: whose alphas are drawn anew, from N(0, 1e-3²); R is taken at softmax(A).
        config: settings.
    """
