# Does the memory of a store add up?
from ext.region cimport Region

cdef dict audit_region(Region *r)
