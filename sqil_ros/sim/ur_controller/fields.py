# SPDX-License-Identifier: Apache-2.0
"""Every RTDE field that the emulated controller knows, with its type."""

from __future__ import annotations

from sqil_ros.sim.ur_controller.rtde_protocol import FieldType

REGISTERS = 48
INPUT_INT = tuple(f'input_int_register_{i}' for i in range(REGISTERS))
INPUT_DOUBLE = tuple(f'input_double_register_{i}' for i in range(REGISTERS))
OUTPUT_INT = tuple(f'output_int_register_{i}' for i in range(REGISTERS))
OUTPUT_DOUBLE = tuple(f'output_double_register_{i}' for i in range(REGISTERS))


def _typed(kind: FieldType, names: str) -> dict[str, FieldType]:
    return dict.fromkeys(names.split(), kind)


OUTPUTS: dict[str, FieldType] = {
    **_typed(
        FieldType.DOUBLE,
        """timestamp actual_execution_time speed_scaling target_speed_fraction actual_momentum
        actual_main_voltage actual_robot_voltage actual_robot_current standard_analog_input0
        standard_analog_input1 standard_analog_output0 standard_analog_output1 payload
        tcp_force_scalar tool_output_current tool_temperature""",
    ),
    **_typed(
        FieldType.VECTOR6D,
        """target_q target_qd target_qdd target_current target_moment actual_q actual_qd
        actual_qdd actual_current actual_current_as_torque actual_moment joint_control_output
        actual_TCP_pose actual_TCP_speed actual_TCP_force target_TCP_pose target_TCP_speed
        joint_temperatures actual_joint_voltage ft_raw_wrench payload_inertia tcp_offset""",
    ),
    **_typed(FieldType.VECTOR3D, 'actual_tool_accelerometer payload_cog elbow_position'),
    **_typed(FieldType.UINT64, 'actual_digital_input_bits actual_digital_output_bits'),
    **_typed(FieldType.INT32, 'robot_mode safety_mode safety_status'),
    **_typed(FieldType.VECTOR6INT32, 'joint_mode'),
    **_typed(
        FieldType.UINT32,
        """runtime_state robot_status_bits safety_status_bits output_bit_registers0_to_31
        output_bit_registers32_to_63""",
    ),
    **dict.fromkeys(OUTPUT_INT, FieldType.INT32),
    **dict.fromkeys(OUTPUT_DOUBLE, FieldType.DOUBLE),
}

INPUTS: dict[str, FieldType] = {
    **dict.fromkeys(INPUT_INT, FieldType.INT32),
    **dict.fromkeys(INPUT_DOUBLE, FieldType.DOUBLE),
    **_typed(FieldType.UINT32, 'speed_slider_mask'),
    **_typed(FieldType.UINT32, 'input_bit_registers0_to_31 input_bit_registers32_to_63'),
    **_typed(
        FieldType.DOUBLE,
        'speed_slider_fraction standard_analog_output_0 standard_analog_output_1',
    ),
    **_typed(
        FieldType.UINT8,
        """standard_digital_output_mask standard_digital_output configurable_digital_output_mask
        configurable_digital_output tool_digital_output_mask tool_digital_output
        standard_analog_output_mask standard_analog_output_type""",
    ),
    **_typed(FieldType.VECTOR6D, 'external_force_torque'),
}
