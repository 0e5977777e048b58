# SPDX-License-Identifier: Apache-2.0
"""``make view``: a page in the browser that shows what a running graph sees and does."""
