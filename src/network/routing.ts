/** A container's settings as a router: steps inside its network namespace alone. Pure. */
import type { ContainerSpec, NicSpec } from '../spec/container.ts';
import { interfaceOfSysctl, nicOfRoute, sysctlPath } from '../spec/routing.ts';
import type { Step } from '../step.ts';
import { nicDriver } from './driver.ts';
import { ip } from './ip.ts';
import { netChain, nicPart, nicStep, portPart } from './parts.ts';

/** These come before others': the first resets the rest of them (ip-sysctl.rst, ip_forward). */
const FORWARDING: readonly (readonly [string, string])[] = [
  ['net.ipv4.ip_forward', '1'],
  ['net.ipv6.conf.all.forwarding', '1'],
];

/** sysctl(8) goes on after a value that the kernel refuses, and ends with 0. */
const WRITE = 'set -e; while [ $# -gt 1 ]; do printf "%s\\n" "$2" | tee "/proc/sys/$1" >/dev/null; shift 2; done';

function write(settings: readonly (readonly [string, string])[], netns: string): Step['run'] {
  const words = settings.flatMap(([key, value]) => [sysctlPath(key), value]);
  return { kind: 'run', argv: ['sh', '-c', WRITE, 'sh', ...words], netns };
}

type Settings = Pick<ContainerSpec, 'name' | 'nics' | 'router' | 'mptcp' | 'routes' | 'sysctls'>;

function settingsOf(spec: Settings, nic: NicSpec | undefined): [string, string][] {
  const nicOf = (key: string) => spec.nics.find(({ name }) => name === interfaceOfSysctl(key));
  return Object.entries(spec.sysctls ?? {}).filter(([key]) => nicOf(key) === nic);
}

/** Before there is an interface: it begins with the settings of `default`. */
export function planSysctls(spec: Settings): Step[] {
  const all = [...(spec.router ? FORWARDING : []), ...settingsOf(spec, undefined)];
  return [...(spec.mptcp ? [planPaths(spec)] : []), ...(all.length === 0 ? [] : [planSettings(spec, all)])];
}

/** The most that the kernel has; without it, the second path is neither made nor taken (ip-mptcp(8)). */
const MOST_PATHS = 8;

function planPaths({ name }: Settings): Step {
  return {
    id: 'mptcp limits',
    why: 'as many paths of a connection as can be',
    chain: netChain(name),
    part: 'namespaces',
    run: ip(`mptcp limits set subflows ${MOST_PATHS} add_addr_accepted ${MOST_PATHS}`, name),
    endsWith: 'netns',
  };
}

function planSettings({ name, router }: Settings, all: readonly (readonly [string, string])[]): Step {
  return {
    id: 'sysctls',
    why: router ? 'it forwards, in its own namespace alone; settings' : 'settings of its network namespace',
    chain: netChain(name),
    part: 'namespaces',
    run: write(all, name),
    endsWith: 'netns',
  };
}

/** The kernel keeps the endpoint of an interface that is gone, and tells others of it. */
const NO_ENDPOINT = `ip -n "$1" mptcp endpoint show 2>/dev/null | while read -r address _ number _; do
  [ "$address" != "$2" ] || ip -n "$1" mptcp endpoint delete id "$number"
done`;

const ENDPOINT = `${NO_ENDPOINT}
exec ip -n "$1" mptcp endpoint add "$2" dev "$3" subflow signal`;

/** A path from each address of its own, and to each that the other side tells of. */
function planEndpoints({ name, mptcp }: Settings, nic: NicSpec): Step[] {
  if (!mptcp) return [];
  return nic.addresses.map((cidr) => {
    const address = cidr.split('/')[0] as string;
    return {
      ...nicStep(nic, name, `path ${address}`, 'a path of Multipath TCP', ''),
      run: { kind: 'run', argv: ['sh', '-c', ENDPOINT, 'sh', name, address, nic.name] },
      undo: { kind: 'run', argv: ['sh', '-c', NO_ENDPOINT, 'sh', name, address] },
      endsWith: 'netns',
    };
  });
}

/** What goes and comes with one interface: its own settings, and the routes over it. */
export function planRouting(spec: Settings, nic: NicSpec): Step[] {
  const settings = settingsOf(spec, nic);
  const routes = (spec.routes ?? []).filter((route) => nicOfRoute(route, spec.nics) === nic);
  return [
    ...(settings.length === 0
      ? []
      : [
          {
            id: `${nic.name} sysctls`,
            why: 'settings of this interface',
            chain: netChain(spec.name),
            part: nicPart(nic),
            run: write(settings, spec.name),
            endsWith: 'netns',
          },
        ]),
    ...planEndpoints(spec, nic),
    ...routes.map(({ to, via }) => {
      const words = `route replace ${to}${via === undefined ? '' : ` via ${via}`} dev ${nic.name}`;
      const step = nicStep(nic, spec.name, `route ${to}`, 'static route', words, spec.name);
      return nicDriver(nic).planInside === undefined ? step : { ...step, part: portPart(nic) };
    }),
  ];
}
