"""The data path of edge, in Cython. Read `session.pyx` first: its step table is the program."""
