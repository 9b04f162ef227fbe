"""Quality of an SAE: explained variance, fidelity in the model, agreement of seeds."""
