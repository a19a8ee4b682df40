# SPDX-License-Identifier: Apache-2.0
"""A laboratory: real servers, relays and agents on this machine's loopback, for tests, benches and the demo."""
from .lab import Agent, Lab, LabError
from .link import Link
from .repository import FleetRepository
from .waiting import WaitTimeout, wait_until

__all__ = ["Agent", "FleetRepository", "Lab", "LabError", "Link", "WaitTimeout", "wait_until"]
