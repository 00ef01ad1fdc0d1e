/**
 * A network card of the host's (or an SR-IOV virtual function) inside a container: moved in, and moved back as it was. It is
 * moved back before its namespace goes: the kernel would return hardware to the first namespace of the machine, under the name
 * that it has inside, and delete whatever is made of software.
 */
import type { NicSpec } from '../spec/container.ts';
import { passingName } from '../spec/name.ts';
import type { Step } from '../step.ts';
import type { NicDriver, Owner } from './driver.ts';
import { FIND, findDamageInside, planInnerPort } from './inner-port.ts';
import { linkStepId, netChain, nicPart } from './parts.ts';

type PhysNic = Extract<NicSpec, { kind: 'phys' }>;

/** Under a name that nobody has: where one is taken, the kernel moves it all the same, and then refuses the name. */
const TAKE = `${FIND}
if named "$2" "$links" >/dev/null; then echo "an interface $2 is there already" >&2; exit 1; fi
ip link set dev "$3" down
ip link set dev "$3" name "$4"
ip link set dev "$4" netns "$1"
ip -n "$1" link set dev "$4" name "$2"; shift 4
ip "$@"`;

/**
 * Goes on from where a killed one was; what has the card's name and another MAC address is not the card. Where its namespace
 * was removed by hand, the kernel has given it back under the name that it had inside.
 */
const GIVE_BACK = `${FIND}
isCard() { case $1 in *" $mac "* | *" $was "*) ;; *) false ;; esac; }
up() {
  dev=$3 state=$8; shift 8
  while [ $# -gt 1 ]; do [ ! -e "/proc/sys/$1" ] || printf '%s\\n' "$2" >"/proc/sys/$1" || :; shift 2; done
  ip link set dev "$dev" "$state"
}
mac=$5 was=$6
if card=$(named "$2" "$links") && isCard "$card"; then
  ip -n "$1" link set dev "$2" down
  ip -n "$1" link set dev "$2" name "$4"
  ip -n "$1" link set dev "$4" netns $$
elif named "$4" "$links" >/dev/null; then ip -n "$1" link set dev "$4" netns $$
fi
hosts=$(ip -o link show)
if named "$4" "$hosts" >/dev/null; then :
elif ! named "$3" "$hosts" >/dev/null && card=$(named "$2" "$hosts") && isCard "$card"; then
  ip link set dev "$2" down
  ip link set dev "$2" name "$4"
elif card=$(named "$3" "$hosts") && isCard "$card"; then
  ip link set dev "$3" address "$was" mtu "$7"
  up "$@"
  exit
else exit 0
fi
ip link set dev "$4" address "$was" mtu "$7"
if named "$3" "$hosts" >/dev/null; then echo "$3 is back as $4, since the host has another $3" >&2; exit 1; fi
ip link set dev "$4" name "$3"
up "$@"`;

function planNic(nic: PhysNic, { container, instance }: Owner): Step[] {
  const { name, device, mac, mtuBytes, was } = nic;
  const words = ['sh', container, name, device, passingName(instance, container, name)];
  const mtu = mtuBytes === undefined ? [] : ['mtu', String(mtuBytes)];
  const settings = ['-n', container, 'link', 'set', 'dev', name, 'address', mac, ...mtu];
  const before = [
    mac,
    was.mac,
    String(was.mtuBytes),
    was.isUp ? 'up' : 'down',
    ...Object.entries(was.sysctls ?? {}).flat(),
  ];
  return [
    {
      id: linkStepId(nic),
      why: `the host's interface ${device} moves in`,
      chain: netChain(container),
      part: nicPart(nic),
      run: { kind: 'run', argv: ['sh', '-c', TAKE, ...words, ...settings] },
      undo: { kind: 'run', argv: ['sh', '-c', GIVE_BACK, ...words, ...before] },
      leaves: true,
    },
  ];
}

export const physDriver: NicDriver<PhysNic> = { planNic, planInside: planInnerPort, findDamage: findDamageInside };
