# Which server of a tier gets a request: the table of algorithms, and those that compare loads.
from ext.farm cimport Balancer
