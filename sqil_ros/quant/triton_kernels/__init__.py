# SPDX-License-Identifier: Apache-2.0
"""Products and small operators for NVIDIA GPUs, written in Triton; one kernel a file.

Triton is optional, so only functions import these modules. With ``TRITON_INTERPRET=1`` in the
environment before Triton is imported, the same kernels run on the CPU, slowly, for tests.
"""
