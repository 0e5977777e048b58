# SPDX-License-Identifier: Apache-2.0
"""Fine-tuning of a low-bit student beside its full-precision teacher: QAT, QRD, QBC and SQIL."""
