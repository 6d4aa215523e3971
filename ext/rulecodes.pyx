"""Gives Python the enums of rulecodes.pxd; the compiler of rules lives in edge/rules."""
