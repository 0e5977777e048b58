# SPDX-License-Identifier: Apache-2.0
"""What pages for people are made of: one style in light and dark, and small SVG charts."""
