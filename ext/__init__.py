"""The data path of edge, in Cython. Start reading at `session.pyx`: its step table is the program."""
