"""What one framework's port promises beyond the contract."""
