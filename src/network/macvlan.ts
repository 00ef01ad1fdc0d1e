/**
 * The macvlan driver: each NIC is a child of an interface of the host's, with a MAC address of its own on that wire. The
 * interface stays the host's: no port of anything, its addresses and settings as they are. By the kernel's rule the host
 * and its children do not hear each other.
 */
import { ConflictError, InvalidInputError } from '../errors.ts';
import type { NicSpec } from '../spec/container.ts';
import type { NetworkRecord } from '../state/network.ts';
import type { Step } from '../step.ts';
import type { DriverRequest, NetworkDriver, NicDriver, Owner, Settled } from './driver.ts';
import { FIND, findDamageInside, planInnerPort } from './inner-port.ts';
import { ip } from './ip.ts';
import { linkStepId, mtuWords, netChain, nicPart, nicStep, refuseBeyond } from './parts.ts';

type MacvlanNic = Extract<NicSpec, { kind: 'macvlan' }>;

/** By either name; what is of another kind stays. */
const REMOVE = `${FIND}
for name in "$2" "$3"; do
  link=$(named "$name" "$links") || continue
  case $link in *" macvlan "*) ip -n "$1" link del dev "$name" ;; esac
done`;

const MODES = ['bridge', 'private', 'vepa'] as const;

/** The uplink of a new network, or of one that comes back. */
async function requireUplink(name: string) {
  const found = await (await import('../host/interfaces.ts')).readInterface(name);
  const refuse = (cause: string, hint: string) => new ConflictError(`cannot use interface ${name}: ${cause}`, { hint });
  if (found.isLoopback) throw refuse('it is the loopback', 'ip link');
  if (found.master !== undefined) {
    throw refuse(`it is a port of ${found.master}`, `ip link set dev ${name} nomaster; or --uplink ${found.master}`);
  }
  return found;
}

async function settle({ uplink, mtuBytes, options }: DriverRequest): Promise<Settled> {
  if (uplink === undefined) {
    throw new InvalidInputError('cannot make a macvlan network without --uplink', {
      hint: "--uplink eth1: the host's interface whose wire the containers share",
    });
  }
  const wanted = options?.get('mode') ?? 'bridge';
  const mode = MODES.find((each) => each === wanted);
  if (mode === undefined) {
    throw new InvalidInputError(`cannot use option mode=${wanted}: no such mode`, { hint: MODES.join(', ') });
  }
  const found = await requireUplink(uplink);
  if (!found.isUp) {
    throw new ConflictError(`cannot use interface ${uplink}: it is down`, { hint: `ip link set dev ${uplink} up` });
  }
  refuseBeyond(found, mtuBytes);
  const mtu = mtuBytes === undefined ? {} : { mtuBytes };
  return { settings: { link: uplink, foreign: true, macvlan: { mode }, ...mtu }, gateways: [], isOpen: true };
}

async function validate({ link }: NetworkRecord): Promise<void> {
  await requireUplink(link);
}

function planNic(nic: MacvlanNic, { container }: Owner): Step[] {
  const { name, hostLink, uplink, mode, mac } = nic;
  const common = { chain: netChain(container), part: nicPart(nic) };
  return [
    {
      ...common,
      id: linkStepId(nic),
      why: "a child of the host's interface, made inside the container; not yet by its name, which the host may have",
      run: ip(
        `link add link ${uplink} name ${hostLink} address ${mac}${mtuWords(nic)} netns ${container} ` +
          `type macvlan mode ${mode}`,
      ),
      undo: { kind: 'run', argv: ['sh', '-c', REMOVE, 'sh', container, name, hostLink] },
      // Not with the namespace: until the kernel's worker gets to it nobody else could have its MAC address.
      leaves: true,
    },
    nicStep(nic, container, 'name', 'its name', `link set dev ${hostLink} name ${name}`, container),
  ];
}

export const macvlanDriver: NetworkDriver & NicDriver<MacvlanNic> = {
  flags: ['uplink'],
  options: { mode: MODES.join('|') },
  settle,
  validate,
  planNetwork: () => [],
  nic: ({ link, macvlan }, hostLink) => ({ kind: 'macvlan', uplink: link, mode: macvlan?.mode ?? 'bridge', hostLink }),
  planNic,
  planInside: planInnerPort,
  findDamage: findDamageInside,
};
