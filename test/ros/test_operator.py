# SPDX-License-Identifier: Apache-2.0
from types import SimpleNamespace

import pytest

from sqil_ros.errors import ProfileError, RobotFault

pytestmark = pytest.mark.ros


@pytest.fixture
def operator(graph):
    from sqil_ros.nodes.operator import Operator

    with Operator(context=graph.context) as running:
        yield running


@pytest.fixture
def robot(operator):
    """A robot node of which only the services exist; says no to whatever is in ``refuses``."""
    from std_srvs.srv import Trigger

    fake = SimpleNamespace(refuses=(), asked=[])

    def serve(order):
        def answer(request, response):
            fake.asked.append(order)
            response.success = order not in fake.refuses
            response.message = 'collision: reset the fault first'
            return response

        operator.node.create_service(Trigger, f'ur5_robot/{order}', answer)

    for order in ('arm', 'stop', 'home', 'reset_fault'):
        serve(order)
    return fake


def test_orders_reach_the_robot_and_refusals_are_faults(operator, robot):
    for order in ('home', 'arm', 'stop'):
        operator.order(order)
    assert robot.asked == ['home', 'arm', 'stop']
    robot.refuses = ('arm',)
    with pytest.raises(RobotFault, match='arm: collision'):
        operator.order('arm')


def test_watches_and_swaps_the_policy(graph, operator):
    graph.start('sqil_ros.nodes.policy_node', checkpoint='builtin:image_mean', autostart='true')
    operator.wait_for(lambda: operator.policy and operator.policy.state == 'active', 'a policy')
    operator.instruct('lift the eggplant')
    operator.wait_for(
        lambda: operator.policy.instruction == 'lift the eggplant', 'the instruction'
    )
    operator.set_profile('int4_rtn')
    with pytest.raises(ProfileError, match="'nonsense'"):
        operator.set_profile('nonsense')


def test_what_does_not_happen_is_named(operator):
    from sqil_ros.nodes.operator import OperatorTimeout

    with pytest.raises(OperatorTimeout, match=r'A miracle not within 0 s \(policy: silent'):
        operator.wait_for(lambda: False, 'A miracle', 0.2)
