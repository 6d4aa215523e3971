"""The ELBv2 API (2015-12-01) on the admin address, and what keeps targets as it says."""
