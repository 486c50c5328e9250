"""Long searches for a damaged file that is not refused; `make sweep` runs them and says how much was tried."""
