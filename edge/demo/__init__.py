"""The demo: three shop nodes of our own and the whole chain in front of them."""
