# A compressor for one body.

cdef class Squeezer:
    cdef int coding                # encoding.Coding
    cdef object made
