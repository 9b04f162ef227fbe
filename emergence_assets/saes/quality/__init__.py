"""How good an SAE is: explained variance, fidelity in the model, agreement of seeds."""
