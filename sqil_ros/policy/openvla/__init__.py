# SPDX-License-Identifier: Apache-2.0
"""OpenVLA: two vision encoders, a projector, a Llama decoder and 256 action bins."""
