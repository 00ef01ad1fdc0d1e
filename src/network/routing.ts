/** A container's settings as a router: steps inside its network namespace alone. Pure. */
import type { ContainerSpec, NicSpec } from '../spec/container.ts';
import { interfaceOfSysctl, nicOfRoute, sysctlPath } from '../spec/routing.ts';
import type { Step } from '../step.ts';
import { nicDriver } from './driver.ts';
import { netChain, nicPart, nicStep, portPart } from './parts.ts';

/** All of an address family come before others': the first resets the rest of them (ip-sysctl.rst, ip_forward). */
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

type Settings = Pick<ContainerSpec, 'name' | 'nics' | 'router' | 'routes' | 'sysctls'>;

function settingsOf(spec: Settings, nic: NicSpec | undefined): [string, string][] {
  const nicOf = (key: string) => spec.nics.find(({ name }) => name === interfaceOfSysctl(key));
  return Object.entries(spec.sysctls ?? {}).filter(([key]) => nicOf(key) === nic);
}

/** Before there is an interface: it begins with the settings of `default`. */
export function planSysctls(spec: Settings): Step[] {
  const all = [...(spec.router ? FORWARDING : []), ...settingsOf(spec, undefined)];
  if (all.length === 0) return [];
  return [
    {
      id: 'sysctls',
      why: spec.router ? 'it forwards, in its own namespace alone; settings' : 'settings of its network namespace',
      chain: netChain(spec.name),
      part: 'namespaces',
      run: write(all, spec.name),
      endsWith: 'netns',
    },
  ];
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
    ...routes.map(({ to, via }) => {
      const words = `route replace ${to}${via === undefined ? '' : ` via ${via}`} dev ${nic.name}`;
      const step = nicStep(nic, spec.name, `route ${to}`, 'static route', words, spec.name);
      return nicDriver(nic).planInside === undefined ? step : { ...step, part: portPart(nic) };
    }),
  ];
}
