"""What every port owes, and how ports are opened, trained and kept apart."""
