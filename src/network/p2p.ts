/**
 * A cable: one veth pair between two containers, without a bridge. While one of them is not there, its end lies on the host
 * under the cable's name. Both sides plan alike: who comes first makes the pair, who comes second takes the loose end; who goes
 * first leaves its end, so that the other's interface stays, without carrier, and who goes last takes the pair along.
 */
import type { NicSpec } from '../spec/container.ts';
import type { Step } from '../step.ts';
import type { NicDriver, Owner } from './driver.ts';
import { FIND, findDamageInside, planInnerPort } from './inner-port.ts';
import { aliasWord, linkStepId, netChain, nicPart } from './parts.ts';

type CableNic = Extract<NicSpec, { kind: 'p2p' }>;

/** What all ends of a cable have as their alias. */
export function cableAlias(instance: string, container: string, { peer }: CableNic): string {
  return aliasWord(instance, 'p2p', ...[container, peer].sort());
}

/** Both containers may be made, or removed, at the same time: one looks and acts, then the other. */
const ONE_AT_A_TIME = ['flock', '/run/netns', 'sh', '-c'];

const PLUG = `${FIND}
if named "$2" "$links" >/dev/null; then echo "an interface $2 is there already" >&2; exit 1; fi
hosts=$(ip -o link show)
if named "$3" "$hosts" >/dev/null; then ip link set dev "$3" netns "$1" name "$2"
else ip link add name "$3" type veth peer name "$2" netns "$1"; ip link set dev "$3" alias "$4"; fi
ip -n "$1" link set dev "$2" alias "$4"; shift 4
ip "$@"`;

/** Whatever has that name and is no end of this cable stays. `$$` is a process of the host's: `netns 1` need not be. */
const UNPLUG = `${FIND}
link=$(named "$2" "$links") || exit 0
case $link in *" veth "*) ;; *) exit 0 ;; esac
case $link in *"alias $4"*) ;; *" alias "*) exit 0 ;; esac
hosts=$(ip -o link show)
if named "$3" "$hosts" >/dev/null; then ip -n "$1" link del dev "$2"
else ip -n "$1" link set dev "$2" netns $$ name "$3"; fi`;

function planNic(nic: CableNic, { container, instance }: Owner): Step[] {
  const { name, cable, mac, mtuBytes } = nic;
  const words = ['sh', container, name, cable, cableAlias(instance, container, nic)];
  const mtu = mtuBytes === undefined ? [] : ['mtu', String(mtuBytes)];
  const settings = ['-n', container, 'link', 'set', 'dev', name, 'address', mac, ...mtu];
  return [
    {
      id: linkStepId(nic),
      why: `a cable to ${nic.peer}: its loose end, or a new pair whose other end waits on the host`,
      chain: netChain(container),
      part: nicPart(nic),
      run: { kind: 'run', argv: [...ONE_AT_A_TIME, PLUG, ...words, ...settings] },
      undo: { kind: 'run', argv: [...ONE_AT_A_TIME, UNPLUG, ...words] },
      leaves: true,
    },
  ];
}

export const p2pDriver: NicDriver<CableNic> = { planNic, planInside: planInnerPort, findDamage: findDamageInside };
