"""Hamiltonian Monte Carlo, compiled whole: the amplitude and lifetime of a decay that was counted in few events.

Gradients, leapfrog steps (an inner loop) and the chain (an outer one) become one native function. Random numbers are
drawn outside and passed in: a jitted function gives the same for the same arguments.
"""

import time

import numpy as np

import wengert as wg

rng = np.random.default_rng(5)
t = np.linspace(0.0, 10.0, 40)
truth = np.array([12.0, 2.5])  # events per bin at the start, lifetime
counts = rng.poisson(truth[0] * np.exp(-t / truth[1])).astype(float)


def potential(q):
    """−log of the posterior of q = (log amplitude, log lifetime), whose prior is normal and wide."""
    log_rate = q[0] - t * np.exp(-q[1])
    return np.sum(np.exp(log_rate) - counts * log_rate) + np.sum(q**2) / 50


def leapfrog(state, _):
    q, p = state
    p = p - 0.5 * STEP * wg.grad(potential)(q)
    q = q + STEP * p
    return (q, p - 0.5 * STEP * wg.grad(potential)(q)), None


def transition(q, draw):
    p, log_uniform = draw
    (end, p_end), _ = wg.scan(leapfrog, (q, p), None, length=10)
    change = potential(q) - potential(end) + 0.5 * (p @ p - p_end @ p_end)
    accepted = log_uniform < change
    return np.where(accepted, end, q), (q, accepted)


@wg.jit
def chain(start, draws):
    _, (samples, accepted) = wg.scan(transition, start, draws)
    return samples, np.mean(accepted)


STEP = 0.07
draws = rng.standard_normal((1000, 2)), np.log(rng.uniform(size=1000))
began = time.perf_counter()
samples, acceptance = chain(np.log([counts.max(), t.mean()]), draws)
first = time.perf_counter()
samples, acceptance = chain(samples[-1], draws)  # on from where the first chain ended
seconds = time.perf_counter() - first

print(f"staged, compiled and run in {first - began:.2f} s; again in {seconds:.3f} s; {acceptance:.0%} accepted")
for name, values, true in zip(("amplitude", "lifetime"), np.exp(samples).T, truth, strict=True):
    print(f"{name:>9} = {values.mean():.2f} ± {values.std():.2f}   (true {true:g})")
