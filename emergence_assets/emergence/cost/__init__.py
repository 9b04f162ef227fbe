"""What training cost, what it bought, and when features stop gaining."""
