"""What the rows of docs/conventions.md are entered by: tests under the wording of their first cell."""

import numpy as np
import pytest

import wengert as wg

TESTS = {}  # wording → test


def row(wording):
    """Enter a test under the first cell of its row."""

    def enter(test):
        assert wording not in TESTS
        TESTS[wording] = test
        return test

    return enter


def close(got, want):
    np.testing.assert_allclose(got, want, rtol=1e-14)


def forward(f, x):
    """Σ over results of the derivative in each element of x, by pushforwards."""
    if np.ndim(x) == 0:
        return wg.jvp(f, (x,), (np.ones_like(x)[()],))[1]
    basis = np.eye(x.size).reshape(x.size, *x.shape)
    return np.array([np.sum(wg.jvp(f, (x,), (v,))[1]) for v in basis]).reshape(x.shape)


def reverse(f, x):
    out, pullback = wg.vjp(f, x)
    return pullback(np.ones_like(out))[0]


def derivatives(wording, *cases):
    """A row of (function, point, derivative): the same in both modes, for scalars and arrays."""

    @row(wording)
    def test():
        for f, x, want in cases:
            x = np.array(x) if isinstance(x, list) else x
            for mode in (forward, reverse):
                got = np.real(mode(f, x)) if np.iscomplexobj(x) else mode(f, x)
                np.testing.assert_allclose(got, want, rtol=1e-14, atol=1e-15, err_msg=f"{mode.__name__} at {x}")


def refused(wording, *programs, instead=(), says=None, at=2.0):
    """Programs of x that grad refuses with an error of ours, and (program, gradient) of what to write instead."""

    @row(wording)
    def test():
        for program in programs:
            with pytest.raises(TypeError, match=says) as caught:
                wg.grad(program)(at)
            found = caught.value
            while found is not None and not isinstance(found, wg.errors.WengertError):
                found = found.__cause__  # NumPy wraps ours in y[0] = x
            assert found is not None, f"not our error: {caught.value!r}"
        for program, want in instead:
            np.testing.assert_allclose(wg.grad(program)(at), want, rtol=1e-14)
