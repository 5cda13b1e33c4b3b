"""Runs what codegen wrote for CUDA."""
