"""One Piper arm on one CAN channel: what the vendor's SDK leaves to us.

The SDK swallows frames that it could not send, keeps one object a channel
with what it heard long ago, and its reading thread may miss a reconnect.
"""

import threading
import time
from typing import Any, NamedTuple

from rlt_jax.robot.arm import ArmError

_FIRST_PACKETS_S = 1.0


class Reports(NamedTuple):
  """The SDK's newest reports of an arm, each with its time_stamp."""

  joints: Any
  gripper: Any
  motors: Any


class PiperPort:
  """An open channel. `arm` is the SDK's interface to it."""

  def __init__(self, sdk: Any, side: str, channel: str, interface: str):
    """Opens the channel and waits for the arm's reports; sends nothing.

    Args:
      sdk: the piper_sdk package.
      side: of the arm, for messages.
      channel: such as 'can0'.
      interface: python-can's name of the kind of bus.

    Raises:
      ArmError: the channel cannot be opened, or the arm on it is silent.
    """
    self._side = side
    self._stop = threading.Event()
    self.arm = sdk.C_PiperInterface_V2(
      channel, judge_flag=False, can_auto_init=False
    )
    try:
      # The SDK asks the kernel about the channel, which knows socketcan only.
      self.arm.CreateCanBus(
        channel, interface, judge_flag=interface == 'socketcan'
      )
    except (ConnectionError, ValueError) as error:
      raise ArmError(f'{channel} ({side}) cannot be opened.') from error
    self._bus = self.arm.GetCanBus()
    if self._bus.send_bus is None:
      raise ArmError(f'{channel} ({side}) cannot be opened.')
    self._send = self._bus.SendCanMessage
    self._bus.SendCanMessage = self._send_or_raise
    old = [report.time_stamp for report in self.reports()]
    self.arm.ConnectPort(piper_init=False, start_thread=False)
    self._reader = threading.Thread(target=self._listen, daemon=True)
    self._reader.start()
    try:
      self._await_reports(old)
    except ArmError:
      self.close()
      raise

  def reports(self) -> Reports:
    """Returns the newest reports."""
    return Reports(
      self.arm.GetArmJointMsgs(),
      self.arm.GetArmGripperMsgs(),
      self.arm.GetArmHighSpdInfoMsgs(),
    )

  def close(self) -> None:
    """Closes the channel."""
    self._stop.set()
    self._reader.join()
    self.arm.DisconnectPort()

  def _await_reports(self, old: list[float]) -> None:
    deadline = time.monotonic() + _FIRST_PACKETS_S
    while any(
      report.time_stamp == stamp
      for report, stamp in zip(self.reports(), old, strict=True)
    ):
      if time.monotonic() > deadline:
        raise ArmError(
          f'The {self._side} Piper arm must report joints, gripper and motors '
          f'within {_FIRST_PACKETS_S} s of connecting: it is silent.'
        )
      time.sleep(0.005)

  def _listen(self) -> None:
    while not self._stop.is_set():
      if self._bus.ReadCanMessage() != self._bus.CAN_STATUS.READ_CAN_MSG_OK:
        time.sleep(0.001)  # a channel that is down fails at once

  def _send_or_raise(self, *args, **kwargs):
    status = self._send(*args, **kwargs)
    if status is not self._bus.CAN_STATUS.SEND_MESSAGE_SUCCESS:
      raise ArmError(
        f'The {self._side} Piper arm must take every frame: {status}.'
      )
    return status
