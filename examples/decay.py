"""Fit a decay curve, A·exp(−t/τ) + background, by Gauss–Newton, with error bars from the Jacobian."""

import numpy as np

import wengert as wg

t = np.linspace(0.0, 10.0, 60)
truth = np.array([120.0, 2.5, 8.0])


def model(p, t):
    amplitude, lifetime, background = p
    return amplitude * np.exp(-t / lifetime) + background


sigma = 3.0
measured = model(truth, t) + sigma * np.random.default_rng(1).standard_normal(t.size)


def residuals(p):
    return (model(p, t) - measured) / sigma


p = np.array([np.ptp(measured), 1.0, measured.min()])  # a rough guess
jacobian = wg.jacobian(residuals)
change, steps = p, 0
while np.max(np.abs(change / p)) > 1e-10 and steps < 50:
    r = residuals(p)
    change = np.linalg.lstsq(jacobian(p), -r)[0]
    while np.sum(residuals(p + change) ** 2) > np.sum(r**2) * (1 + 1e-12):
        change /= 2  # too far: back towards a descent
    p, steps = p + change, steps + 1

covariance = np.linalg.inv(jacobian(p).T @ jacobian(p))
chi_squared = np.sum(residuals(p) ** 2)
print(f"converged in {steps} steps, χ² = {chi_squared:.1f} for {t.size - p.size} degrees of freedom")
for name, value, error, true in zip(
    ("amplitude", "lifetime", "background"), p, np.sqrt(np.diag(covariance)), truth, strict=True
):
    print(f"{name:>10} = {value:7.3f} ± {error:.3f}   (true {true:g})")
