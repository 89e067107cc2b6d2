"""`lenet check` of somebody's file."""
